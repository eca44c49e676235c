"""The rules of the specification that a schema cannot say, and those that runc adds to them.

They are applied to documents that follow the schema, so types need no tests here; only what the
schema requires at the top may be missing, since the document is still looked at then. Each rule is
a function that reads a part of the configuration and reports what breaks it; RULES lists them. The
sentences say what is expected at the pointer that they are reported for.

Rules here are pure: whether files exist, and what the host can do, is seen by others.
"""

from __future__ import annotations

from pyrunc.errors import Violation
from pyrunc.spec import rules_linux, rules_resources
from pyrunc.spec.tables import HOOKS, MOUNT_OPTIONS, RLIMITS
from pyrunc.spec.version import OCI_VERSION, refusal
from pyrunc.spec.words import entries, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Add = Callable[[str, str], None]
    Rule = Callable[[dict[str, Any], Add], None]

_ABSOLUTE = "must be an absolute path"
#: The kernel's limit for host and domain names (__NEW_UTS_LEN).
_NAME_SIZE = 64
#: setuid(2) and its kin read this id as "do not change".
_NO_ID = 0xFFFFFFFF


def _version(config: dict[str, Any], add: Add) -> None:
    if message := refusal(config.get("ociVersion", OCI_VERSION)):
        add("/ociVersion", message)


def _root(config: dict[str, Any], add: Add) -> None:
    root = config.get("root")
    if root is None:
        add("/root", "required, and missing")
    elif not root["path"]:
        add("/root/path", "must not be empty")


def _names(config: dict[str, Any], add: Add) -> None:
    namespaces = rules_linux.namespaces(config)
    for name in ("hostname", "domainname"):
        value = config.get(name)
        if not value:
            continue
        if len(value.encode("utf-8", "replace")) > _NAME_SIZE:
            add("/" + name, f"must not be longer than {_NAME_SIZE} bytes")
        if "uts" not in namespaces:
            add("/" + name, "needs a uts namespace in /linux/namespaces")


def _annotations(config: dict[str, Any], add: Add) -> None:
    if "" in config.get("annotations", ()):
        add("/annotations/", "the name of an annotation must not be empty")
    if has_crun_annotations(config):
        from pyrunc.spec.annotations import check

        check(config, add)


def has_crun_annotations(config: dict[str, Any]) -> bool:
    """Whether there are annotations that crun heeds, and therefore pyrunc (pyrunc.spec.annotations)."""
    return any(name.startswith("run.oci.") for name in config.get("annotations") or ())


def _hooks(config: dict[str, Any], add: Add) -> None:
    hooks = config.get("hooks")
    if not hooks:
        return
    for kind in HOOKS:
        for i, hook in entries(hooks.get(kind)):
            if hook["path"][:1] != "/":
                add(f"/hooks/{kind}/{i}/path", _ABSOLUTE)


def _mounts(config: dict[str, Any], add: Add) -> None:
    user = rules_linux.namespaces(config).get("user")
    for i, mount in entries(config.get("mounts")):
        at = f"/mounts/{i}"
        options = mount.get("options", ())
        bind = "bind" in options or "rbind" in options
        if not mount["destination"]:
            add(at + "/destination", "must not be empty")
        if bind:
            if not mount.get("source"):
                add(at + "/source", "required for a bind mount")
        elif not mount.get("type") and "remount" not in options:
            add(at + "/type", "required for a mount that is neither a bind mount nor a remount")
        if "tmpcopyup" in options and mount.get("type") != "tmpfs":
            add(_option(options, "tmpcopyup", at), "needs a mount of type tmpfs")
        mapped = [name for name in ("uidMappings", "gidMappings") if mount.get(name)]
        if not mapped and "idmap" not in options and "ridmap" not in options:
            continue
        if len(mapped) == 1:
            other = "gidMappings" if mapped[0] == "uidMappings" else "uidMappings"
            add(f"{at}/{other}", f"required, since the mount has {mapped[0]}")
        elif not mapped and user is None:
            name = "idmap" if "idmap" in options else "ridmap"
            add(
                _option(options, name, at),
                "needs uidMappings and gidMappings, since the container has no user namespace",
            )
        if not bind:
            add(at, "ids can be mapped for bind mounts only")
        for name in mapped:
            rules_linux.mapping(mount[name], f"{at}/{name}", add)


def _option(options: list[str], name: str, at: str) -> str:
    return f"{at}/options/{options.index(name)}"


def _process(config: dict[str, Any], add: Add) -> None:
    process = config.get("process")
    if process is not None:
        process_rules(process, "/process", add)


def process_rules(process: dict[str, Any], at: str, add: Add) -> None:
    """Apply the rules of a process document, whose pointer is `at`."""
    if process.get("cwd", "/")[:1] != "/":
        add(at + "/cwd", _ABSOLUTE)
    if not process.get("args"):
        add(at + "/args", "required: at least the program to run")
    for i, variable in entries(process.get("env")):
        name, equals, _ = variable.partition("=")
        if not equals or not name:
            add(f"{at}/env/{i}", f"expected NAME=VALUE, not {quoted(variable)}")
    if user := process.get("user"):
        _user(user, at + "/user", add)
    if rlimits := process.get("rlimits"):
        _rlimits(rlimits, at + "/rlimits", add)
    if process.get("terminal") and (size := process.get("consoleSize")):
        for side in ("height", "width"):
            if size[side] > 0xFFFF:
                add(f"{at}/consoleSize/{side}", "must be at most 65535")
    if not -1000 <= process.get("oomScoreAdj", 0) <= 1000:
        add(at + "/oomScoreAdj", "must be from -1000 to 1000")
    if not 0 <= process.get("ioPriority", {}).get("priority", 0) <= 7:
        add(at + "/ioPriority/priority", "must be from 0 (highest) to 7 (lowest)")
    if scheduler := process.get("scheduler"):
        _scheduler(scheduler, at + "/scheduler", add)
    for when, cpus in process.get("execCPUAffinity", {}).items():
        if when in ("initial", "final") and (message := rules_linux.bad_list(cpus, "CPU")):
            add(f"{at}/execCPUAffinity/{when}", message)


def _user(user: dict[str, Any], at: str, add: Add) -> None:
    for name in ("uid", "gid"):
        if user.get(name) == _NO_ID:
            add(f"{at}/{name}", f"{_NO_ID} is no id, but the kernel's sign for none")
    for i, gid in entries(user.get("additionalGids")):
        if gid == _NO_ID:
            add(f"{at}/additionalGids/{i}", f"{_NO_ID} is no id, but the kernel's sign for none")


def _rlimits(rlimits: list[dict[str, Any]], at: str, add: Add) -> None:
    seen = set()
    for i, limit in entries(rlimits):
        kind = limit["type"]
        if kind not in RLIMITS:
            add(f"{at}/{i}/type", f"{kind} is not a limit of Linux")
        elif kind in seen:
            add(f"{at}/{i}/type", f"{kind} is there twice")
        seen.add(kind)
        if limit["soft"] > limit["hard"]:
            add(f"{at}/{i}/soft", f"must not be above the hard limit, {limit['hard']}")


def _scheduler(scheduler: dict[str, Any], at: str, add: Add) -> None:
    # sched(7) and sched_setattr(2).
    policy = scheduler["policy"]
    if not -20 <= scheduler.get("nice", 0) <= 19:
        add(at + "/nice", "must be from -20 to 19")
    priority = scheduler.get("priority", 0)
    if policy in ("SCHED_FIFO", "SCHED_RR"):
        if not 1 <= priority <= 99:
            add(at + "/priority", f"must be from 1 to 99 for {policy}")
    elif priority:
        add(at + "/priority", f"is for SCHED_FIFO and SCHED_RR, not for {policy}")
    runtime, deadline, period = (scheduler.get(n, 0) for n in ("runtime", "deadline", "period"))
    if policy != "SCHED_DEADLINE":
        for name in ("runtime", "deadline", "period"):
            if scheduler.get(name):
                add(f"{at}/{name}", f"is for SCHED_DEADLINE, not for {policy}")
    elif runtime < 1024:
        add(at + "/runtime", "must be at least 1024 ns for SCHED_DEADLINE")
    elif deadline < runtime:
        add(at + "/deadline", "must not be below runtime")
    elif period and period < deadline:
        add(at + "/period", "must not be below deadline")


_NAMESPACES = "/linux/namespaces"

#: (pointers of the other parts that the rule reads, the rule). A rule is not applied when one of
#: those parts broke the schema, since it would then report what is not so.
RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    ((), _version),
    ((), _root),
    ((_NAMESPACES,), _mounts),
    ((), _process),
    ((_NAMESPACES,), _names),
    ((), _hooks),
    ((), _annotations),
    *rules_linux.RULES,
    *rules_resources.RULES,
)


def broken(config: dict[str, Any], damaged: Iterable[str] = ()) -> list[Violation]:
    """Return what breaks the rules in a config.json document that follows the schema.

    Args:
        config: the document.
        damaged: pointers of parts that were taken out, since they did not follow the schema.
    """
    found: list[Violation] = []

    def add(pointer: str, message: str) -> None:
        found.append(Violation(pointer, message))

    for reads, rule in RULES:
        if not damaged or not _touched(reads, damaged):
            rule(config, add)
    return found


def broken_process(process: dict[str, Any]) -> list[Violation]:
    """Return what breaks the rules in a process document that follows the schema."""
    found: list[Violation] = []
    process_rules(process, "", lambda pointer, message: found.append(Violation(pointer, message)))
    return found


def _touched(reads: tuple[str, ...], damaged: Iterable[str]) -> bool:
    return any(
        part == other or part.startswith(other + "/") or other.startswith(part + "/")
        for part in reads
        for other in damaged
    )


def warnings(config: dict[str, Any]) -> list[Violation]:
    """Return what is allowed, but is deprecated or has no effect, for the log.

    Source: config.md asks for a warning about capabilities that the kernel does not know, and calls
    relative destinations of mounts deprecated.
    """
    from pyrunc.spec.tables import CAPABILITIES

    found = []
    for i, mount in entries(config.get("mounts")):
        if mount["destination"][:1] != "/":
            text = "a relative path is deprecated; it is taken from /"
            found.append(Violation(f"/mounts/{i}/destination", text))
        options = mount.get("options", ())
        if "bind" not in options and "rbind" not in options:
            continue
        for j, option in entries(options):
            if option not in MOUNT_OPTIONS:
                text = f"{quoted(option)} is for a filesystem, and has no effect on a bind mount"
                found.append(Violation(f"/mounts/{i}/options/{j}", text))
    if "\n" in config.get("linux", {}).get("intelRdt", {}).get("l3CacheSchema", ""):
        text = "should be one line; other lines belong into schemata"
        found.append(Violation("/linux/intelRdt/l3CacheSchema", text))
    if has_crun_annotations(config):
        from pyrunc.spec.annotations import without_effect

        for name, why in without_effect(config["annotations"]):
            found.append(Violation(f"/annotations/{name}", f"has no effect: {why}"))
    capabilities = config.get("process", {}).get("capabilities", {})
    for kind in ("bounding", "permitted", "effective", "inheritable", "ambient"):
        for i, name in entries(capabilities.get(kind)):
            if name not in CAPABILITIES:
                text = f"{quoted(name)} is not a known capability, and is ignored"
                found.append(Violation(f"/process/capabilities/{kind}/{i}", text))
    return found
