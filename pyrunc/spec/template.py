"""The configuration to start from, as `pyrunc spec` writes it."""

from __future__ import annotations

from pyrunc.spec.version import OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")

_MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
    "/sys/devices/virtual/tpm",
)
_READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
    if options:
        mount["options"] = list(options)
    return mount


def _mounts(rootless: bool) -> list[dict[str, Any]]:
    # A rootless container can map one group only, so gid=5 (tty) does not exist in it; and it may
    # not mount a sysfs of a network namespace that it does not own, so it gets the host's by a bind
    # mount.
    devpts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if rootless:
        sys = _mount("/sys", "none", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro")
    else:
        devpts.append("gid=5")
        sys = _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro")
    return [
        _mount("/proc", "proc", "proc"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", *devpts),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        sys,
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
    ]


def _unified_cgroups() -> bool:
    # With cgroup v1 the container sees its own cgroups without a namespace, by bind mounts.
    from os.path import exists

    return exists("/sys/fs/cgroup/cgroup.controllers")


def default_config(rootless: bool = False) -> dict[str, Any]:
    """Return a new config.json document that runs `sh` in the root filesystem `rootfs`.

    It has the meaning of what `runc spec` writes on the same host.

    Args:
        rootless: for a caller without privileges: with a user namespace that maps the caller to
            root, without a network namespace, and with the mounts that such a container may make.
    """
    namespaces = ["pid", "network", "ipc", "uts", "mount"]
    if _unified_cgroups():
        namespaces.append("cgroup")
    linux: dict[str, Any] = {}
    if rootless:
        from os import getegid, geteuid

        namespaces.remove("network")
        namespaces.append("user")
        linux["uidMappings"] = [{"containerID": 0, "hostID": geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": getegid(), "size": 1}]
    else:
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    linux["namespaces"] = [{"type": name} for name in namespaces]
    linux["maskedPaths"] = list(_MASKED_PATHS)
    linux["readonlyPaths"] = list(_READONLY_PATHS)
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                kind: list(_CAPABILITIES) for kind in ("bounding", "effective", "permitted")
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyrunc",
        "mounts": _mounts(rootless),
        "linux": linux,
    }
