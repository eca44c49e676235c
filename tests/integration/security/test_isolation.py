"""What a container with the configuration that Docker writes can reach: no more than with runc, nor with crun."""

from __future__ import annotations

import copy
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeBundle, NewId
from helpers.attacker import Attackers
from helpers.bundle import Bundle, default_config
from helpers.differential.workshop import crun_wrapper
from helpers.runtime import Runtime
from helpers.seccomp_profiles import engine_profile
from helpers.tally import count

pytestmark = pytest.mark.root

NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time")
CAPABILITIES = [
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW"),
    *("CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE"),
    *("CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"),
]
_STRICT = ["nosuid", "noexec", "nodev"]
MOUNTS: list[dict[str, Any]] = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": _STRICT},
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
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_STRICT, "ro"]},
    {
        "destination": "/sys/fs/cgroup",
        "type": "cgroup",
        "source": "cgroup",
        "options": ["ro", *_STRICT],
    },
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": _STRICT},
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": [*_STRICT, "mode=1777", "size=67108864"],
    },
]
DEVICES: list[dict[str, Any]] = [
    {"allow": False, "access": "rwm"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
    ),
    {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
]


#: What is seen in ours alone, and why it is nothing that is reached.
EXPLAINED = {
    "mount / receives those of the host": "where / is shared, as with runc; crun's does not",
    "mount /sys/fs/cgroup/unified cgroup2": "beside v1: the container's own group, read-only",
    "cgroup path of the host in :/": "beside v1: crun leaves the container in the group of its caller",
}


def docker_config(*, seccomp: bool) -> dict[str, Any]:
    """The configuration of a container for which Docker was told nothing."""
    config = default_config()
    process = config["process"]
    process["capabilities"] = {
        name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")
    }
    del process["rlimits"]
    process["noNewPrivileges"] = False
    process["oomScoreAdj"] = 0
    config["mounts"] = copy.deepcopy(MOUNTS)
    linux = config["linux"]
    linux["resources"] = {"devices": DEVICES}
    linux["maskedPaths"] = [
        *("/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
        *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi"),
        *("/sys/firmware", "/sys/devices/virtual/powercap"),
    ]
    linux["readonlyPaths"] = [
        *("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"),
    ]
    if seccomp:
        linux["seccomp"] = engine_profile()
    return config


class Audit:
    """Runs the program that looks, under any runtime."""

    def __init__(self, attackers: Attackers, make_bundle: MakeBundle, new_id: NewId) -> None:
        self._attackers = attackers
        self._make_bundle = make_bundle
        self._new_id = new_id
        self._host = [f"{name}={os.readlink(f'/proc/self/ns/{name}')}" for name in NAMESPACES]

    def bundle(self, config: dict[str, Any]) -> tuple[Bundle, list[str]]:
        bundle = self._make_bundle(config)
        return bundle, [self._attackers.install("audit", bundle.rootfs), *self._host]

    def program(self, runtime: Runtime, config: dict[str, Any]) -> set[str]:
        """What the container's program can reach."""
        bundle, command = self.bundle(config)
        return found(runtime.run(self._new_id(), bundle.args(*command).path, stdin="").stdout)

    def executed(self, runtime: Runtime, config: dict[str, Any]) -> set[str]:
        """What a program that is executed in it can."""
        bundle, command = self.bundle(config)
        name = self._new_id()
        bundle.args("sleep", "1000")
        runtime.detached("run", name, bundle.path, "--detach")
        said = runtime("exec", name, *command, stdin="").stdout
        runtime("delete", "--force", name)
        return found(said)


def found(said: str) -> set[str]:
    lines = said.splitlines()
    assert lines[-1] == "done"
    return set(lines)


@pytest.fixture(autouse=True)
def open_files() -> Iterator[None]:
    """One limit of open files, soft and hard, as services of engines have: runtimes in Go raise the soft one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def audit(attackers: Attackers, make_bundle: MakeBundle, new_id: NewId) -> Audit:
    return Audit(attackers, make_bundle, new_id)


@pytest.fixture
def others(make_runtime: Callable[[Path], Runtime], tmp_path: Path) -> list[Runtime]:
    """Debian's runc and crun."""
    paths = [Path("/usr/sbin/runc"), Path("/usr/bin/crun")]
    if missing := [path for path in paths if not path.exists()]:
        pytest.fail(f"no {missing}: scripts/install-deps test")
    return [make_runtime(paths[0]), make_runtime(crun_wrapper(tmp_path))]


@pytest.mark.parametrize("seccomp", [True, False], ids=["seccomp", "no-seccomp"])
@pytest.mark.parametrize("how", [Audit.program, Audit.executed], ids=["run", "exec"])
def test_nothing_is_reached_that_is_not_with_others(
    how: Callable[[Audit, Runtime, dict[str, Any]], set[str]],
    seccomp: bool,
    runtime: Runtime,
    others: list[Runtime],
    audit: Audit,
) -> None:
    config = docker_config(seccomp=seccomp)
    ours = how(audit, runtime, config)
    for other in others:
        count("audits of a container compared with another runtime")
        assert sorted(ours - how(audit, other, config) - EXPLAINED.keys()) == [], other.name


def test_the_audit_sees_what_is_open(runtime: Runtime, audit: Audit) -> None:
    """It can find something: a configuration with less of everything is told from Docker's."""
    config = docker_config(seccomp=False)
    before = audit.program(runtime, config)
    for entry in config["mounts"]:
        if entry["destination"] in ("/sys", "/sys/fs/cgroup"):
            entry["options"].remove("ro")
    config["process"]["capabilities"]["bounding"].append("CAP_SYS_ADMIN")
    config["linux"]["readonlyPaths"] = []
    config["linux"]["namespaces"] = [
        n for n in config["linux"]["namespaces"] if n["type"] not in ("pid", "ipc")
    ]
    more = audit.program(runtime, config) - before
    for kind in (
        "writable /proc/sys/",
        "writable /sys/",
        "capability CapBnd 21",
        "namespace of the host: pid",
    ):
        assert any(line.startswith(kind) for line in more), kind
