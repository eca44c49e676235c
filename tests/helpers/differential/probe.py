"""What a process in the container sees: a shell script that tells it, and its output made
comparable.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

SCRIPT = Path(__file__).with_name("probe.sh")

# The fields of /proc/self/status that a runtime decides.
_STATUS = """
Name Umask Uid Gid Groups SigBlk SigIgn SigCgt CapInh CapPrm CapEff CapBnd CapAmb
NoNewPrivs Seccomp Seccomp_filters Speculation_Store_Bypass Cpus_allowed_list Mems_allowed_list
CoreDumping
"""

APPLETS = "sh cat tr readlink id find sort xargs stat mkdir rm rmdir chroot true sleep"

Sections = dict[str, list[str]]


def make_rootfs(path: Path, busybox: Path) -> None:
    """A root filesystem of busybox (a hard link to a copy that tests own) and a few files."""
    for directory in (
        "bin",
        "dev",
        "etc",
        "proc",
        "sys",
        "tmp",
        "data/sub",
        "mnt",
        "opt/real",
        "run",
    ):
        (path / directory).mkdir(parents=True)
    (path / "tmp").chmod(0o1777)
    os.link(busybox, path / "bin/busybox")
    for applet in APPLETS.split():
        (path / "bin" / applet).symlink_to("busybox")
    (path / "link").symlink_to("opt/real")
    (path / "up").symlink_to("../../../opt")
    (path / "data/secret").write_text("secret\n")
    (path / "data/sub/file").write_text("below\n")
    (path / "data").chmod(0o751)
    (path / "etc/file").write_text("of the image\n")
    (path / "probe").write_bytes(SCRIPT.read_bytes())


def tree(path: Path) -> list[str]:
    """What a root filesystem holds after the run: each path with type, mode and owner."""
    lines = []
    for at, directories, files in os.walk(path):
        for name in [*directories, *files]:
            full = os.path.join(at, name)
            status = os.lstat(full)
            lines.append(
                f"{os.path.relpath(full, path)} {status.st_mode:o} {status.st_uid}:{status.st_gid}"
            )
    return sorted(lines)


def sections(output: str) -> Sections:
    """The sections of the script's output."""
    found: Sections = {}
    lines = found.setdefault("before", [])
    for line in output.splitlines():
        if line.startswith("== "):
            lines = found.setdefault(line[3:], [])
        else:
            lines.append(line)
    return found


def normalise(found: Sections, bundle: Path, container_id: str) -> Sections:
    """Replace what must differ from run to run: the bundle, the id, numbers given by the kernel."""
    result = {}
    for name, lines in found.items():
        plain = [
            line.replace(str(bundle), "<bundle>").replace(container_id, "<id>") for line in lines
        ]
        result[name] = _NORMALISERS.get(name, list)(plain)
    return result


def _status(lines: list[str]) -> list[str]:
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return [
        f"{name}: {' '.join(fields[name].split())}" for name in _STATUS.split() if name in fields
    ]


def _namespaces(lines: list[str]) -> list[str]:
    """Whether each namespace is the host's."""
    result = []
    for link in lines:
        kind = link.partition(":")[0]
        host = os.readlink(f"/proc/self/ns/{kind}")
        result.append(f"{kind} {'host' if link == host else 'own'}")
    return result


def mounts(lines: list[str]) -> list[str]:
    """mountinfo without what the kernel numbers: one line a mount, by mount point, then by order.

    See proc_pid_mountinfo(5): id, parent, device, root, mount point, options, optional fields,
    "-", type, source, options of the filesystem.
    """
    points = {fields[0]: fields[4] for fields in (line.split(" ") for line in lines)}
    found: list[tuple[str, str]] = []
    for line in lines:
        left, _, right = line.partition(" - ")
        _, parent, _, root, point, options, *optional = left.split(" ")
        kind, source, *more = right.split(" ")
        if kind == "cgroup2":
            more = ["rw"]  # the rest is the whole system's, and other runtimes take it away
        peers = sorted({field.split(":")[0] for field in optional})
        found.append(
            (
                point,
                f"{point} on {points.get(parent, '(none)')}: {kind} {source} root={root}"
                f" [{_options(options)}] [{_options(','.join(more))}] {' '.join(peers)}".rstrip(),
            )
        )
    return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def _options(text: str) -> str:
    return ",".join(sorted(text.split(",")))


def _pid(lines: list[str]) -> list[str]:
    return ["1" if line == "1" else "of the host" for line in lines]


_NORMALISERS: dict[str, Callable[[list[str]], list[str]]] = {
    "status": _status,
    "environment": sorted,
    "namespaces": _namespaces,
    "mountinfo": mounts,
    "pid": _pid,
    "resources": sorted,
}
