"""What this build of pyrunc can do, whatever the host can do (features.md, features-linux.md)."""

from __future__ import annotations

from importlib.util import find_spec

from pyrunc import __version__
from pyrunc.spec import schema
from pyrunc.spec.tables import CAPABILITIES, HOOKS, MOUNT_OPTIONS, NAMESPACES
from pyrunc.spec.version import OCI_VERSION, OCI_VERSION_MIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Annotations of config.json that change what the runtime does; with a dot at the end, prefixes.
_ACTED_UPON = ("org.systemd.property.",)


def features() -> dict[str, Any]:
    """Return the features document."""
    linux = {
        "namespaces": sorted(NAMESPACES),
        "capabilities": list(CAPABILITIES),
        "cgroup": _cgroup(),
        "seccomp": _seccomp(),
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
        "memoryPolicy": _memory_policy(),
        "mountExtensions": {"idmap": {"enabled": True}},
        "netDevices": {"enabled": True},
    }
    return {
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": sorted(MOUNT_OPTIONS),
        "linux": linux,
        "annotations": _annotations(),
        "potentiallyUnsafeConfigAnnotations": list(_ACTED_UPON),
    }


def _cgroup() -> dict[str, bool]:
    # Each has its module in pyrunc.cgroups.
    systemd = _has("pyrunc.cgroups.systemd")
    return {
        "v1": _has("pyrunc.cgroups.v1"),
        "v2": _has("pyrunc.cgroups.v2"),
        "systemd": systemd,
        "systemdUser": systemd,
        "rdma": True,
    }


def _seccomp() -> dict[str, object]:
    if not _has("pyrunc.host._seccomp"):
        return {"enabled": False}
    from pyrunc.plan.seccomp_tables import supported

    return supported()


def _memory_policy() -> dict[str, list[str]]:
    policy = schema.load("config")["properties"]["linux"]["properties"]["memoryPolicy"][
        "properties"
    ]
    return {"modes": policy["mode"]["enum"], "flags": policy["flags"]["items"]["enum"]}


def _annotations() -> dict[str, str]:
    annotations = {
        "pyrunc.version": __version__,
        # The name by which engines ask; runc and crun answer to it too.
        "org.opencontainers.runc.checkpoint.enabled": "true",
    }
    if _has("pyrunc.host._seccomp"):
        from pyrunc.host.libseccomp import version

        annotations["io.github.seccomp.libseccomp.version"] = version()
    return annotations


def _has(module: str) -> bool:
    return find_spec(module) is not None
