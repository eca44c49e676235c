"""`update`: each of its flags on a real container, beside runc, and that it is all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.leaks import cgroups
from helpers.runtime import Runtime

from pyrunc.host.facts import HostFacts

pytestmark = pytest.mark.root

V2 = HostFacts().cgroup_mode == "v2"
MEMORY = "memory.max" if V2 else "memory.limit_in_bytes"

#: Files that hold limits, of both versions.
LIMITS = (
    *("cpu.max", "cpu.max.burst", "cpu.weight", "memory.max", "memory.swap.max", "memory.low"),
    *("io.weight", "io.bfq.weight"),
    *("cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.idle"),
    *("cpu.rt_period_us", "cpu.rt_runtime_us", "cpuset.cpus", "cpuset.mems"),
    *("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes"),
    *("memory.kmem.tcp.limit_in_bytes", "pids.max", "blkio.weight", "blkio.bfq.weight"),
)


def limits(container: str) -> dict[str, str]:
    """What the files of the container's cgroups say."""
    found = {}
    names = (container, f"pyrunc-{container}", f"runc-{container}")  # with systemd it is a scope
    for directory in (group for name in names for group in cgroups(name)):
        for name in LIMITS:
            path = Path(directory, name)
            if path.exists():
                found[name] = path.read_text().strip()
    return found


Started = Callable[[Runtime], str]


@pytest.fixture
def started(bundle: Bundle, container_id: str) -> Started:
    """Starts a container of a runtime; gives its id."""
    bundle.config["linux"]["resources"] = {
        "memory": {"limit": 100 << 20, "swap": 200 << 20},
        "cpu": {"quota": 40000, "period": 80000, "shares": 512},
        "pids": {"limit": 50},
    }
    bundle.args("sleep", "1000")

    def start(runtime: Runtime) -> str:
        name = f"{container_id}-{runtime.name}"
        runtime.create(name, bundle.path)
        runtime("start", name)
        return name

    return start


#: Command lines that runc has too, and those that this old runc lacks: (flags, file, value).
SHARED = [
    "--memory 64M",
    "--memory 300M --memory-swap 400M",
    "--memory-swap 300M",
    "--memory-swap -1",
    "--memory -1",
    "--memory-reservation 20m",
    "--memory 33554432 --memory-swap 64m --memory-reservation 16m",
    "--cpu-quota 20000",
    "--cpu-quota -1",
    "--cpu-period 50000",
    "--cpu-quota 30000 --cpu-period 60000",
    "--cpu-share 1024",
    "--cpuset-cpus 0",
    "--cpuset-mems 0",
    "--pids-limit 7",
    "--pids-limit -1",
]
if V2:  # this old runc changes no swap without the limit of memory, and no quota without the period
    SHARED = [
        line
        for line in SHARED
        if not line.startswith(
            ("--memory-swap", "--cpu-quota -1", "--cpu-quota 20000", "--cpu-period")
        )
    ]
else:  # where there is no such limit, ours says so
    SHARED.append("--kernel-memory 64M")
OURS = [
    ("--cpu-burst 10000", "cpu.max.burst" if V2 else "cpu.cfs_burst_us", "10000"),
    ("--cpu-idle 1", "cpu.idle", "1"),
]
#: Limits that few kernels have: they are set, or an error that names the file, or with v2 the limit.
SPECIAL = [
    ("--blkio-weight 300", "blkio.bfq.weight", "io.bfq.weight"),
    ("--cpu-rt-period 500000", "cpu.rt_period_us", "/cpu/realtimePeriod"),
    ("--cpu-rt-runtime 1000", "cpu.rt_runtime_us", "/cpu/realtimeRuntime"),
    ("--kernel-memory-tcp 8m", "memory.kmem.tcp.limit_in_bytes", "/memory/kernelTCP"),
]


def alike(container: str) -> dict[str, str]:
    """The limits that old versions of runc set to the same: shares become another weight since 2025."""
    return {name: value for name, value in limits(container).items() if name != "cpu.weight"}


def test_limits(runtime: Runtime, runc: Runtime, started: Started) -> None:
    runc.options = runtime.options
    ours, theirs = started(runtime), started(runc)
    assert alike(ours) == alike(theirs)
    assert limits(ours)[MEMORY] == str(100 << 20)
    for line in SHARED:
        runtime("update", *line.split(), ours)
        runc("update", *line.split(), theirs)
        assert alike(ours) == alike(theirs), line


@pytest.mark.parametrize(("line", "file", "value"), OURS)
def test_limits_of_later_versions(
    runtime: Runtime, started: Started, line: str, file: str, value: str
) -> None:
    name = started(runtime)
    if file not in limits(name):
        pytest.skip(f"this kernel has no {file}")
    runtime("update", *line.split(), name)
    assert limits(name)[file] == value


@pytest.mark.parametrize(("line", "v1", "v2"), SPECIAL)
def test_limits_that_few_kernels_have(
    runtime: Runtime, started: Started, line: str, v1: str, v2: str
) -> None:
    file = v2 if V2 else v1
    name = started(runtime)
    before = limits(name)
    done = runtime("update", "--pids-limit", "9", *line.split(), name, check=False)
    if done.returncode == 0:
        assert limits(name)[file] != before.get(file)
        assert limits(name)["pids.max"] == "9"
    else:
        assert file in done.stderr
        assert limits(name) == before


def test_it_is_remembered(runtime: Runtime, started: Started) -> None:
    name = started(runtime)
    runtime("update", "--memory", "64M", "--pids-limit", "9", name)
    throttle = {"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 1000}]}}
    runtime("update", "-r", "-", name, stdin=json.dumps({"cpu": {"shares": 77}}))
    runtime("update", "-r", "-", name, stdin=json.dumps(throttle), check=False)
    stored = json.loads((runtime.root / name / "config.json").read_text())
    resources = stored["linux"]["resources"]
    assert resources["memory"] == {"limit": 64 << 20, "swap": 200 << 20}
    assert resources["cpu"] == {"quota": 40000, "period": 80000, "shares": 77}
    assert resources["pids"] == {"limit": 9}


def test_a_file(runtime: Runtime, started: Started, tmp_path: Path) -> None:
    name = started(runtime)
    path = tmp_path / "resources.json"
    path.write_text(json.dumps({"pids": {"limit": 11}}))
    runtime("update", "--memory", "1G", "--resources", path, name)
    assert limits(name)["pids.max"] == "11"
    assert limits(name)[MEMORY] == str(100 << 20)  # not of the other flags


@pytest.mark.parametrize(
    "resources",
    [
        {"pids": {"limit": 9}, "cpu": {"cpus": "999"}},
        pytest.param(
            {"cpu": {"shares": 99}, "memory": {"limit": 4096}},
            marks=pytest.mark.skipif(V2, reason="v2 takes such a limit, and kills for it"),
        ),
        {"pids": {"limit": 9}, "memory": {"swap": 1 << 20}},
        {"memory": {"limit": 50 << 20, "swap": 60 << 20}, "cpu": {"quota": 1}},
        {"pids": {"limit": 9}, "unified": {"memory.high": "much"}},
    ],
)
def test_all_or_nothing(runtime: Runtime, started: Started, resources: dict[str, Any]) -> None:
    name = started(runtime)
    before = limits(name)
    stored = (runtime.root / name / "config.json").read_text()
    done = runtime("update", "-r", "-", name, stdin=json.dumps(resources), check=False)
    if done.returncode == 0 and resources.get("memory", {}).get("limit") == 4096:
        pytest.skip("this kernel takes a limit of memory below the use")
    assert done.returncode == 1
    assert limits(name) == before
    assert json.loads((runtime.root / name / "config.json").read_text()) == json.loads(stored)


def test_paused_and_created_containers(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    runtime("update", "--pids-limit", "30", container_id)
    assert limits(container_id)["pids.max"] == "30"
    runtime("start", container_id)
    runtime("pause", container_id)
    runtime("update", "--pids-limit", "31", container_id)
    assert limits(container_id)["pids.max"] == "31"
    assert runtime.status(container_id) == "paused"
    runtime("kill", container_id, "KILL")
    runtime.wait(container_id, "stopped")
    done = runtime("update", "--pids-limit", "32", container_id, check=False)
    assert (done.returncode, "it is stopped" in done.stderr) == (1, True)
