"""A system container: Debian whose init is systemd, as LXC's users have it.

Its root filesystem is that of the host, a Debian with systemd, below a layer of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.command import wait_until
from helpers.leaks import CGROUPS, remove_tree
from helpers.runtime import Runtime

from pyrunc.host.facts import HostFacts

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not Path("/lib/systemd/systemd").exists(), reason="needs a host that has systemd installed"
    ),
]

#: In an emulated machine a boot takes long.
LIMIT = 300.0

#: Those of Docker's default set that systemd has a use for, and what it needs to be an init.
CAPABILITIES = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
    "CAP_SYS_ADMIN",
]

#: Written when it is started, and when it is stopped in good order.
UNIT = """\
[Unit]
Description=Says what happens
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo started >>/shared/said'
ExecStop=/bin/sh -c 'echo stopped >>/shared/said'
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def debian(workspace: Path) -> Iterator[Path]:
    """A root filesystem in which systemd is the init of a container."""
    place = workspace / "debian"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "upper", place], check=True)
    for name in ("upper", "work", "root"):
        (place / name).mkdir(mode=0o755)
    options = f"lowerdir=/,upperdir={place}/upper,workdir={place}/work"
    root = place / "root"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "debian", root], check=True)
    (root / "etc/fstab").write_text("")
    (root / "etc/hostname").write_text("system\n")
    (root / "etc/machine-id").unlink(missing_ok=True)
    units = root / "etc/systemd/system"
    shutil.rmtree(units)  # with the services that the host has
    (units / "multi-user.target.wants").mkdir(parents=True)
    (units / "says.service").write_text(UNIT)
    (units / "multi-user.target.wants" / "says.service").symlink_to("../says.service")
    (units / "default.target").symlink_to("/usr/lib/systemd/system/multi-user.target")
    (root / "shared").mkdir()
    yield root
    remove_tree(place)


@pytest.fixture
def shared(workspace: Path) -> Path:
    path = workspace / "shared-with-debian"
    path.mkdir()
    return path


def system_bundle(bundle: Bundle, debian: Path, shared: Path) -> Bundle:
    """The bundle of a container whose init is systemd."""
    config = bundle.config
    config["root"]["path"] = str(debian)
    config["hostname"] = "system"
    process = config["process"]
    process["args"] = ["/sbin/init"]
    process["env"] += ["container=oci"]
    process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    process["noNewPrivileges"] = False
    process["rlimits"] = []
    config["mounts"] += [
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "rw"],
        },
        *(
            {
                "destination": path,
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "nodev", "mode=755"],
            }
            for path in ("/run", "/run/lock")
        ),
        {
            "destination": "/shared",
            "type": "bind",
            "source": str(shared),
            "options": ["rbind", "rw"],
        },
    ]
    linux = config["linux"]
    linux["namespaces"].append({"type": "cgroup"})
    linux["resources"]["memory"] = {"limit": 512 << 20}
    linux["resources"]["pids"] = {"limit": 500}
    # of what is below /proc, only what its journal and services have no use for
    linux["readonlyPaths"] = ["/proc/bus", "/proc/sysrq-trigger"]
    return bundle.save()


@pytest.mark.usefixtures("no_leaks")
def test_systemd_boots_and_shuts_down(
    runtime: Runtime,
    make_bundle: Callable[[], Bundle],
    container_id: str,
    debian: Path,
    shared: Path,
) -> None:
    bundle = system_bundle(make_bundle(), debian, shared)
    runtime.detached("run", container_id, bundle.path, "--detach")

    def inside(*command: str, check: bool = True) -> str:
        return runtime("exec", container_id, *command, check=check, limit=LIMIT).stdout.strip()

    wait_until(
        lambda: inside("systemctl", "is-active", "multi-user.target", check=False) == "active",
        "multi-user.target",
        LIMIT,
    )
    assert inside("systemd-detect-virt", "--container") not in ("", "none")
    assert inside("cat", "/proc/1/comm") == "systemd"
    assert inside("hostname") == "system"
    assert (
        inside("systemctl", "is-active", "systemd-journald", "dbus.socket").split()
        == ["active"] * 2
    )
    assert (shared / "said").read_text() == "started\n"
    assert "Says what happens" in inside("journalctl", "--no-pager", "-u", "says.service")

    # services have cgroups of their own, with limits, in that of the container
    unit = ("systemd-run", "--unit=limited", "--property=MemoryMax=32M", "sleep", "1000")
    inside(*unit)
    v2 = HostFacts().cgroup_mode == "v2"
    file = "memory.max" if v2 else "memory.limit_in_bytes"
    top = "/sys/fs/cgroup" if v2 else "/sys/fs/cgroup/memory"
    service = f"system.slice/limited.service/{file}"
    assert inside("cat", f"{top}/{service}") == str(32 << 20)
    (outside,) = CGROUPS.glob(f"**/*{container_id}*/{service}")  # of systemd's driver too
    assert outside.read_text() == f"{32 << 20}\n"
    assert (outside.parents[2] / file).read_text() == f"{512 << 20}\n"

    runtime("kill", container_id, "SIGRTMIN+3")
    wait_until(lambda: runtime.status(container_id) == "stopped", "the shutdown", LIMIT)
    assert (shared / "said").read_text() == "started\nstopped\n"
    runtime("delete", container_id)
