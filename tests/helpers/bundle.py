"""Bundles of busybox, and the configuration that they start from."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")
Config = dict[str, Any]

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def default_config() -> Config:
    """A configuration like that of `runc spec`, without a terminal, running `true`."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": list(_CAPABILITIES),
                "effective": list(_CAPABILITIES),
                "permitted": list(_CAPABILITIES),
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "container",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            },
            {
                "destination": "/sys",
                "type": "sysfs",
                "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"],
            },
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"},
                {"type": "network"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "mount"},
            ],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def make_rootfs(target: Path) -> Path:
    """A root filesystem with every applet of busybox, some users, and empty mount points.

    Args:
        target: directory to make. Its busybox is a copy: writing to it cannot harm the host's.
    """
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "root", "home", "mnt", "var", "data"):
        (target / name).mkdir(parents=True)
    (target / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, target / "bin" / "busybox")
    applets = subprocess.run(
        [BUSYBOX, "--list"], capture_output=True, text=True, check=True
    ).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (target / "bin" / applet).symlink_to("busybox")
    for alias in ("sbin", "usr"):
        (target / alias).symlink_to("bin" if alias == "sbin" else ".")
    (target / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n"
    )
    (target / "etc" / "group").write_text("root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")
    (target / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    return target


class Bundle:
    """A bundle on disk.

    Attributes:
        path: the bundle's directory.
        config: what `save` writes to config.json; change it freely.
    """

    def __init__(self, path: Path, rootfs: Path, config: Config | None = None) -> None:
        """Make the bundle at `path`, with a copy of the root filesystem `rootfs`."""
        self.path = path
        self.config: Config = copy.deepcopy(config) if config is not None else default_config()
        path.mkdir(mode=0o755)
        # Symbolic links and directories are copied, the one large file is shared.
        shutil.copytree(rootfs, self.rootfs, symlinks=True, copy_function=_link_busybox)
        self.save()

    @property
    def rootfs(self) -> Path:
        """The root filesystem of this bundle."""
        return self.path / "rootfs"

    def save(self) -> Bundle:
        """Write config.json."""
        (self.path / "config.json").write_text(json.dumps(self.config, indent=2))
        return self

    def args(self, *args: str) -> Bundle:
        """Set what the container runs, and save."""
        self.config["process"]["args"] = list(args)
        return self.save()

    def sh(self, script: str) -> Bundle:
        """Make the container run a shell script, and save."""
        return self.args("sh", "-c", script)

    def namespaces(self, *add: dict[str, str], drop: tuple[str, ...] = ()) -> Bundle:
        """Add namespaces (replacing those of the same type), remove those of type `drop`, save."""
        replaced = {*drop, *(entry["type"] for entry in add)}
        kept = [n for n in self.config["linux"]["namespaces"] if n["type"] not in replaced]
        self.config["linux"]["namespaces"] = [*kept, *add]
        return self.save()


def _link_busybox(source: str, target: str) -> None:
    if source.endswith("/bin/busybox"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)
