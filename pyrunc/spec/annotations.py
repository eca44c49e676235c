"""What annotations of crun (`run.oci.…`) ask for; docs/annotations.md has them all.

Those that say what config.json has a field for are moved there before it is checked; the others are
looked up where they take effect. What cannot be done is an error, since the container would not be
what was asked for.
"""

from __future__ import annotations

PREFIX = "run.oci."

RECEIVER = "run.oci.seccomp.receiver"
TIMENS_OFFSET = "run.oci.timens_offset"
CONTEXT_TYPE = "run.oci.mount_context_type"
PIDFD_RECEIVER = "run.oci.pidfd_receiver"
FORCE_CGROUP_V1 = "run.oci.systemd.force_cgroup_v1"
BPF_DATA = "run.oci.seccomp_bpf_data"
HOOKS_STDOUT = "run.oci.hooks.stdout"
HOOKS_STDERR = "run.oci.hooks.stderr"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Add = Callable[[str, str], None]

#: Largest seccomp filter, in instructions of 8 bytes (BPF_MAXINSNS).
_FILTER_MAX = 4096
_CLOCKS = {"monotonic": "monotonic", "1": "monotonic", "boottime": "boottime", "7": "boottime"}
_PATHS = (RECEIVER, PIDFD_RECEIVER, FORCE_CGROUP_V1, HOOKS_STDOUT, HOOKS_STDERR)
_CONTEXT_TYPES = ("context", "fscontext", "defcontext", "rootcontext")

#: Why these cannot be had.
_REFUSED = {
    "run.oci.handler": "pyrunc runs programs itself: it has no libkrun, and no WebAssembly",
    "run.oci.seccomp.plugins": "pyrunc loads no plugins; an agent at linux.seccomp.listenerPath"
    " can do what they do",
}
#: What makes no difference to what the container may do; told unless it is empty.
_WITHOUT_EFFECT = {
    "run.oci.systemd.subgroup": "the container is in the scope itself, and in no cgroup below it",
    "run.oci.delegate-cgroup": "the container's cgroup is delegated as a whole, by a cgroup"
    " namespace and a writable mount of it",
}


def moved(config: Any) -> Any:
    """A document with the annotations that fields of config.json are there for in these fields.

    The document is not checked yet. What is no such annotation, or a wrong one, stays for `check`.
    """
    annotations = config.get("annotations")
    linux = config.get("linux")
    if not isinstance(annotations, dict) or not isinstance(linux, dict):
        return config
    changed = dict(linux)
    seccomp = linux.get("seccomp")
    path = annotations.get(RECEIVER)
    if isinstance(seccomp, dict) and path and "listenerPath" not in seccomp and _notifies(seccomp):
        changed["seccomp"] = {**seccomp, "listenerPath": path}
    offsets = annotations.get(TIMENS_OFFSET)
    fields = linux.get("timeOffsets", {})
    if isinstance(offsets, str) and isinstance(fields, dict) and _has_time(linux):
        parsed = _offsets(offsets)
        if parsed is not None:
            changed["timeOffsets"] = {**parsed, **fields}
    return {**config, "linux": changed}


def _notifies(seccomp: dict[str, Any]) -> bool:
    rules = seccomp.get("syscalls")
    return isinstance(rules, list) and any(
        isinstance(rule, dict) and rule.get("action") == "SCMP_ACT_NOTIFY" for rule in rules
    )


def _has_time(linux: dict[str, Any]) -> bool:
    namespaces = linux.get("namespaces")
    return isinstance(namespaces, list) and any(
        isinstance(namespace, dict) and namespace.get("type") == "time" for namespace in namespaces
    )


def _offsets(text: str) -> dict[str, Any] | None:
    """Lines CLOCK SECONDS NANOSECONDS, as /proc/PID/timens_offsets has them (time_namespaces(7))."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) != 3 or words[0] not in _CLOCKS:
            return None
        try:
            seconds, nanoseconds = int(words[1]), int(words[2])
        except ValueError:
            return None
        found[_CLOCKS[words[0]]] = {"secs": seconds, "nanosecs": nanoseconds}
    return found or None


def filter_of(text: str) -> bytes | None:
    """The seccomp filter that an annotation has in base64, or None where it has none."""
    import binascii

    try:
        program = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    size, rest = divmod(len(program), 8)
    return program if 0 < size <= _FILTER_MAX and rest == 0 else None


def check(config: dict[str, Any], add: Add) -> None:
    """Report what is wrong with the annotations of a configuration, or cannot be done."""
    for name, text in config["annotations"].items():
        if not name.startswith(PREFIX):
            continue
        message = _REFUSED.get(name)
        if name in _PATHS and not text.startswith("/"):
            message = "must be an absolute path"
        elif name == TIMENS_OFFSET and _offsets(text) is None:
            message = 'must be lines of a clock and its offset, such as "boottime 86400 0"'
        elif name == TIMENS_OFFSET and not _has_time(config.get("linux") or {}):
            message = "needs a time namespace in /linux/namespaces"
        elif name == CONTEXT_TYPE and text not in _CONTEXT_TYPES:
            message = f"must be one of {', '.join(_CONTEXT_TYPES)}"
        elif name == BPF_DATA and filter_of(text) is None:
            message = f"must be a filter of 1 to {_FILTER_MAX} instructions, in base64"
        if message:
            add(f"/annotations/{name}", message)


def without_effect(annotations: dict[str, str]) -> list[tuple[str, str]]:
    """Name of each annotation that does nothing here, and why."""
    return [(name, why) for name, why in _WITHOUT_EFFECT.items() if annotations.get(name)]
