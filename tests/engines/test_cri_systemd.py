"""containerd whose runtimes have systemd make the cgroups, as kubeadm sets nodes up; runc beside us."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.command import wait_until
from helpers.cri import Cri
from helpers.engines import IMAGE, Containerd
from helpers.leaks import CGROUPS
from helpers.systemd import show

from pyrunc.host.facts import HostFacts

pytestmark = [
    pytest.mark.root,
    pytest.mark.engines,
    pytest.mark.skipif(
        HostFacts().cgroup_mode != "v2" or not Path("/run/systemd/system").is_dir(),
        reason="needs cgroup v2 and systemd",
    ),
]

HANDLERS = ("tested", "runc")
PROPERTIES = (
    # not CollectMode: runc 1.1 leaves units behind that failed
    *("ActiveState", "DefaultDependencies", "Delegate", "KillMode", "Slice"),
    *("CPUAccounting", "IOAccounting", "MemoryAccounting", "TasksAccounting"),
    *("AllowedCPUs", "CPUQuotaPerSecUSec", "MemoryMax", "MemorySwapMax", "TasksMax"),
)
FILES = ("cpu.max", "cpuset.cpus", "memory.max", "memory.swap.max", "pids.max")
RESOURCES = {
    "memory_limit_in_bytes": 64 << 20,
    "memory_swap_limit_in_bytes": 96 << 20,
    "cpu_period": 50000,
    "cpu_quota": 25000,
    "cpu_shares": 512,
    "cpuset_cpus": "0",
    "unified": {"pids.max": "33"},
}


@pytest.fixture
def containers(cri: Cri) -> dict[str, str]:
    """A container with limits of each handler."""
    resources = {"resources": RESOURCES}
    return {
        handler: cri.container(cri.pod(handler), IMAGE, "sleep", "1000", linux=resources)
        for handler in HANDLERS
    }


def unit(cri: Cri, container: str) -> str:
    return Path(cri.cgroup(container)).name


def same(cri: Cri, containers: dict[str, str]) -> dict[str, str]:
    """Properties and files of the cgroups of the containers, in which they must not differ."""

    def found(container: str) -> dict[str, str]:
        directory = CGROUPS / cri.cgroup(container)
        files = {name: (directory / name).read_text().strip() for name in FILES}
        return show(unit(cri, container), *PROPERTIES) | files

    ours, theirs = (found(containers[handler]) for handler in HANDLERS)
    assert ours == theirs
    return ours


def test_limits_become_properties_of_the_unit(cri: Cri, containers: dict[str, str]) -> None:
    found = same(cri, containers)
    assert found["ActiveState"] == "active"
    assert found["Slice"] == cri.slice
    assert found["MemoryMax"] == found["memory.max"] == str(64 << 20)
    assert found["memory.swap.max"] == str(32 << 20)
    assert found["CPUQuotaPerSecUSec"] == "500ms"
    assert found["cpu.max"] == "25000 50000"
    assert found["TasksMax"] == found["pids.max"] == "33"
    assert found["cpuset.cpus"] == "0"


def test_limits_outlive_a_reload_of_systemd(cri: Cri, containers: dict[str, str]) -> None:
    before = same(cri, containers)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert same(cri, containers) == before


def test_update(cri: Cri, containers: dict[str, str]) -> None:
    for container in containers.values():
        cri("update", f"--memory={80 << 20}", "--cpu-quota=30000", container)
    found = same(cri, containers)
    assert found["MemoryMax"] == found["memory.max"] == str(80 << 20)
    assert found["CPUQuotaPerSecUSec"] == "600ms"
    assert found["pids.max"] == "33"


def test_units_are_gone_with_their_containers(cri: Cri, containers: dict[str, str]) -> None:
    pods = cri("pods", "--quiet").stdout.split()
    names = [unit(cri, name) for name in (*containers.values(), *pods)]
    assert {show(name, "LoadState")["LoadState"] for name in names} == {"loaded"}
    cri.clean()
    gone = {"LoadState": "not-found"}
    for name in names:
        wait_until(lambda name=name: show(name, "LoadState") == gone, f"{name} to be gone")  # type: ignore[misc]


def test_a_unit_that_is_stopped_ends_its_container(cri: Cri, containers: dict[str, str]) -> None:
    for container in containers.values():
        subprocess.run(["systemctl", "stop", unit(cri, container)], check=True)
    ours, theirs = (cri.wait(containers[handler]) for handler in HANDLERS)
    assert (ours["exitCode"], ours["reason"]) == (theirs["exitCode"], theirs["reason"])


def test_exec_is_in_the_unit(cri: Cri, containers: dict[str, str]) -> None:
    for container in containers.values():
        # seen from the container's own cgroup namespace
        assert cri("exec", container, "cat", "/proc/self/cgroup").stdout == "0::/\n"
        pid = cri.json("inspect", container)["info"]["pid"]
        assert Path(f"/proc/{pid}/cgroup").read_text() == f"0::/{cri.cgroup(container)}\n"


def test_ctr_with_systemd(containerd: Containerd, new_id: Callable[[], str]) -> None:
    name = new_id()
    flags = ("--detach", "--memory-limit", str(32 << 20), "--runc-systemd-cgroup")
    path = f"system.slice:ctr:{name}"
    containerd(*containerd.run_arguments(*flags, "--cgroup", path), name, "sleep", "1000")
    scope = f"ctr-{name}.scope"
    assert show(scope, "MemoryMax", "Slice") == {
        "MemoryMax": str(32 << 20),
        "Slice": "system.slice",
    }
    assert "memory" in containerd("task", "metrics", name).stdout
    containerd("task", "kill", "--signal", "SIGKILL", name)
    containerd.wait(name, "STOPPED")
    containerd("task", "delete", name, check=False)
    assert show(scope, "LoadState") == {"LoadState": "not-found"}
