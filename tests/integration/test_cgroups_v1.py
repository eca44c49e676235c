"""cgroup v1 on the kernel of this machine.

Each test has cgroups of its own, below the one the tests run in, and leaves nothing there.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.cgroups import Sleepers, devices_in, enter, wait_gone
from helpers.command import closed_directory
from helpers.runtime import Runtime

from pyrunc.cgroups import Cgroup, compile_cgroup
from pyrunc.cgroups import tree as cgroup_tree
from pyrunc.errors import CgroupError
from pyrunc.host.facts import HostFacts

FACTS = HostFacts()

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(FACTS.cgroup_mode not in ("v1", "hybrid"), reason="needs cgroup v1"),
]

Make = Callable[..., Cgroup]


def needs(*controllers: str) -> pytest.MarkDecorator:
    missing = [name for name in controllers if name not in FACTS.cgroup_mounts]
    return pytest.mark.skipif(bool(missing), reason=f"no cgroup v1 controller {missing}")


@pytest.fixture
def base() -> Iterator[str]:
    """A cgroupsPath, relative to our own cgroup, below which all of a test takes place."""
    name = f"pyrunc-test-{os.getpid()}-{time.monotonic_ns()}"
    yield name
    for mount, own in zip(FACTS.cgroup_mounts.values(), FACTS.cgroup_own.values(), strict=True):
        cgroup_tree.remove(f"{mount}{own}/{name}", time.monotonic() + 5)


@pytest.fixture
def make(base: str) -> Make:
    def make(resources: dict[str, Any] | None = None, path: str = "box", **options: Any) -> Cgroup:
        linux = {"cgroupsPath": f"{base}/{path}", "resources": resources or {}}
        arguments = {"driver": "cgroupfs", "rootless": False} | options
        return Cgroup(compile_cgroup({"linux": linux}, "box", FACTS, **arguments))

    return make


def value(cgroup: Cgroup, controller: str, name: str) -> str:
    return Path(cgroup.plan.paths[controller], name).read_text().strip()


def directories(base: str) -> list[str]:
    """Which directories of a test there are, in all hierarchies."""
    return [
        path
        for mount, own in zip(FACTS.cgroup_mounts.values(), FACTS.cgroup_own.values(), strict=True)
        if os.path.exists(path := os.path.join(mount + own, base))
    ]


def test_join_apply_and_destroy(make: Make, base: str, sleeper: Sleepers) -> None:
    cgroup = make({"memory": {"limit": 64 << 20}, "pids": {"limit": 7}, "cpu": {"shares": 512}})
    cgroup.create()
    pid = sleeper()
    cgroup.join(pid)
    cgroup.apply()
    assert cgroup.pids() == [pid]
    assert value(cgroup, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert value(cgroup, "pids", "pids.max") == "7"
    assert value(cgroup, "cpu", "cpu.shares") == "512"
    hierarchies = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert len(hierarchies) >= len(FACTS.cgroup_mounts)
    for line in hierarchies:
        _, names, path = line.split(":", 2)
        assert path.endswith(f"/{base}/box") or names.split(",")[0] not in FACTS.cgroup_mounts
    cgroup.kill(signal.SIGKILL)
    wait_gone(pid)
    cgroup.destroy()
    assert not cgroup.exists()
    cgroup.destroy()
    assert directories(f"{base}/box") == []


def test_a_process_joins_by_itself(make: Make, sleeper: Sleepers) -> None:
    cgroup = make()
    cgroup.create()
    code = f"{enter(cgroup)}print(flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-IS", "-c", f"{code}\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        joined = Path(f"/proc/{process.pid}/cgroup").read_text()
        process.kill()
    for line in joined.splitlines():
        number, _, path = line.split(":", 2)
        assert number == "0" or path.endswith("/box")
    cgroup.destroy()


def test_state_finds_the_cgroup_again(make: Make, sleeper: Sleepers) -> None:
    cgroup = make()
    cgroup.create()
    pid = sleeper()
    cgroup.join(pid)
    again = Cgroup.from_state(json.loads(json.dumps(cgroup.plan.to_state())))
    assert again.pids() == [pid]
    again.kill(signal.SIGKILL)
    wait_gone(pid)
    again.destroy()
    assert not cgroup.exists()


@needs("cpuset")
def test_cpuset_is_inherited_through_new_levels(make: Make, sleeper: Sleepers) -> None:
    cgroup = make({}, "a/b/c")
    cgroup.create()
    cgroup.join(sleeper())
    for name in ("cpuset.cpus", "cpuset.mems"):
        root = Path(FACTS.cgroup_mounts["cpuset"] + FACTS.cgroup_own["cpuset"], name)
        assert value(cgroup, "cpuset", name) == root.read_text().strip()


@needs("cpuset")
def test_cpuset_of_the_config(make: Make, sleeper: Sleepers) -> None:
    cgroup = make({"cpu": {"cpus": "0", "mems": "0"}})
    cgroup.create()
    pid = sleeper()
    cgroup.join(pid)
    assert os.sched_getaffinity(pid) == {0}


@needs("cpuset")
def test_cpu_that_does_not_exist_leaves_nothing(make: Make, base: str) -> None:
    cgroup = make({"cpu": {"cpus": "1000"}})
    with pytest.raises(CgroupError) as caught:
        cgroup.create()
    assert caught.value.pointer == "/linux/resources/cpu/cpus"
    assert directories(base) == []


def test_create_in_use_is_refused(make: Make, base: str, sleeper: Sleepers) -> None:
    first = make()
    first.create()
    pid = sleeper()
    first.join(pid)
    with pytest.raises(CgroupError, match=f"in use by 1 processes \\({pid}\\)") as caught:
        make().create()
    assert caught.value.pointer == "/linux/cgroupsPath"
    assert first.pids() == [pid]


def test_processes_below_count_as_in_use(make: Make, sleeper: Sleepers) -> None:
    inner = make({}, "box/inner")
    inner.create()
    inner.join(sleeper())
    with pytest.raises(CgroupError, match="in use"):
        make().create()


def test_empty_cgroup_is_used_again(make: Make, sleeper: Sleepers) -> None:
    make().create()
    again = make({"pids": {"limit": 3}})
    again.create()
    again.join(sleeper())
    again.apply()
    assert value(again, "pids", "pids.max") == "3"


@needs("freezer")
def test_frozen_cgroup_is_refused(make: Make) -> None:
    first = make()
    first.create()
    first.freeze()
    with pytest.raises(CgroupError, match="is frozen"):
        make().create()
    first.thaw()


def test_failing_create_leaves_what_was_there(make: Make, base: str) -> None:
    make({}, "other").create()
    before = directories(f"{base}/other")
    with pytest.raises(CgroupError):
        make({"cpu": {"cpus": "1000"}}, "new/deep").create()
    assert directories(f"{base}/new") == []
    assert directories(f"{base}/other") == before


def test_path_that_is_a_file(make: Make, base: str) -> None:
    make({}, "a").create()
    with pytest.raises(CgroupError) as caught:
        make({}, "a/cgroup.procs").create()
    assert caught.value.pointer == "/linux/cgroupsPath"
    assert directories(f"{base}/a/cgroup.procs/box") == []


def test_join_of_a_process_that_is_gone(make: Make, sleeper: Sleepers) -> None:
    cgroup = make()
    cgroup.create()
    pid = sleeper()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(CgroupError, match="No such process"):
        cgroup.join(pid)


@needs("freezer")
def test_freeze_and_thaw(make: Make, sleeper: Sleepers) -> None:
    cgroup = make()
    cgroup.create()
    pid = sleeper()
    cgroup.join(pid)
    assert not cgroup.frozen
    cgroup.freeze()
    assert cgroup.frozen
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.05)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    cgroup.thaw()
    assert not cgroup.frozen
    wait_gone(pid)


FORKS = """
import os, sys, time
for _ in range(8):
    if os.fork() == 0:
        break
sys.stdout.write('.'); sys.stdout.flush()
while True:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
"""


def forking(cgroup: Cgroup) -> subprocess.Popen[bytes]:
    """A process in the cgroup whose children fork all the time."""
    process = subprocess.Popen(
        [sys.executable, "-IS", "-c", enter(cgroup) + FORKS], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(9):
        process.stdout.read(1)
    return process


def test_kill_leaves_no_process_that_forks(make: Make) -> None:
    cgroup = make()
    cgroup.create()
    with forking(cgroup) as process:
        assert len(cgroup.pids()) > 5
        cgroup.kill(signal.SIGKILL)
    cgroup.destroy()
    assert process.returncode == -signal.SIGKILL
    assert not cgroup.exists()


def test_kill_without_a_freezer(make: Make) -> None:
    cgroup = make()
    cgroup.create()
    paths = dict(cgroup.plan.paths)
    with forking(cgroup):
        for key in ("freezer", ""):
            cgroup.plan.paths.pop(key, None)
        cgroup.kill(signal.SIGKILL)
    cgroup.plan.paths.update(paths)
    cgroup.destroy()


@needs("freezer")
@pytest.mark.parametrize("frozen", [False, True])
def test_signal_reaches_processes_below(make: Make, sleeper: Sleepers, frozen: bool) -> None:
    outer, inner = make(), make({}, "box/inner")
    outer.create()
    inner.create()
    pids = [sleeper(), sleeper()]
    outer.join(pids[0])
    inner.join(pids[1])
    assert sorted(outer.pids()) == sorted(pids)
    assert outer.pids(recursive=False) == pids[:1]
    if frozen:
        outer.freeze()
    outer.kill(signal.SIGTERM)
    assert outer.frozen is frozen
    if frozen:
        outer.kill(signal.SIGKILL)
        assert not outer.frozen
    for pid in pids:
        wait_gone(pid)
    outer.destroy()
    assert not outer.exists()


def test_destroy_waits_for_processes_on_their_way_out(make: Make, sleeper: Sleepers) -> None:
    cgroup = make()
    cgroup.create()
    pid = sleeper()
    cgroup.join(pid)
    timer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
    timer.start()
    cgroup.destroy()
    timer.join()
    assert not cgroup.exists()


def test_destroy_in_use_names_the_processes(
    make: Make, sleeper: Sleepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup_tree, "REMOVE_TIMEOUT", 0.05)
    cgroup = make()
    cgroup.create()
    pid = sleeper()
    cgroup.join(pid)
    with pytest.raises(CgroupError, match=f"processes in it: {pid}"):
        cgroup.destroy()


@needs("memory")
def test_limits_change_together_in_either_direction(make: Make) -> None:
    cgroup = make({"memory": {"limit": 64 << 20, "swap": 64 << 20}})
    cgroup.create()
    if not os.path.exists(f"{cgroup.plan.paths['memory']}/memory.memsw.limit_in_bytes"):
        pytest.skip("this kernel has no swap accounting in cgroup v1")
    cgroup.apply()
    for size in (128 << 20, 32 << 20, 256 << 20):
        cgroup.update({"memory": {"limit": size, "swap": size}}, FACTS)
        assert value(cgroup, "memory", "memory.limit_in_bytes") == str(size)
        assert value(cgroup, "memory", "memory.memsw.limit_in_bytes") == str(size)
    cgroup.update({"memory": {"limit": -1}}, FACTS)
    unlimited = Path(FACTS.cgroup_mounts["memory"], "memory.memsw.limit_in_bytes").read_text()
    assert value(cgroup, "memory", "memory.memsw.limit_in_bytes") == unlimited.strip()


@needs("memory")
def test_limit_below_usage_tells_the_usage(make: Make, sleeper: Sleepers) -> None:
    cgroup = make({"memory": {"limit": 64 << 20, "swap": 64 << 20}})
    cgroup.create()
    cgroup.apply()
    pid = sleeper_in(cgroup, "x = bytearray(b'1') * (16 << 20)")
    try:
        with pytest.raises(CgroupError, match=r"more is in use: [0-9]+ bytes now") as caught:
            cgroup.update({"memory": {"limit": 1 << 20}, "pids": {"limit": 3}}, FACTS)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert caught.value.pointer == "/memory/limit"


def sleeper_in(cgroup: Cgroup, code: str) -> int:
    code = f"{enter(cgroup)}{code}\nprint(flush=True)\nimport time\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-IS", "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.returncode = 0  # the test waits for it
    return process.pid


@needs("cpu", "pids", "memory")
def test_failing_update_changes_nothing(make: Make) -> None:
    resources = {
        "memory": {"limit": 64 << 20},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000},
        "pids": {"limit": 7},
    }
    cgroup = make(resources)
    cgroup.create()
    cgroup.apply()
    with pytest.raises(CgroupError) as caught:
        cgroup.update(
            {
                "memory": {"limit": 32 << 20},
                "cpu": {"shares": 1024, "quota": 60000, "period": 5},
                "pids": {"limit": 8},
            },
            FACTS,
        )
    assert caught.value.pointer == "/cpu/period"
    assert "resources: /cpu/period" in str(caught.value)
    assert value(cgroup, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert value(cgroup, "cpu", "cpu.shares") == "512"
    assert value(cgroup, "cpu", "cpu.cfs_quota_us") == "50000"
    assert value(cgroup, "pids", "pids.max") == "7"


@needs("cpu")
def test_period_that_only_fits_the_new_quota(make: Make) -> None:
    outer = make({"cpu": {"quota": 50000, "period": 100000}}, "outer")
    outer.create()
    outer.apply()
    inner = make({"cpu": {"quota": 50000, "period": 100000}}, "outer/inner")
    inner.create()
    inner.apply()
    inner.update({"cpu": {"quota": 5000, "period": 10000}}, FACTS)
    assert value(inner, "cpu", "cpu.cfs_period_us") == "10000"
    assert value(inner, "cpu", "cpu.cfs_quota_us") == "5000"


@needs("memory")
@pytest.mark.parametrize(
    ("memory", "file", "text"),
    [
        ({"reservation": 32 << 20}, "memory.soft_limit_in_bytes", str(32 << 20)),
        ({"swappiness": 7}, "memory.swappiness", "7"),
        ({"disableOOMKiller": True}, "memory.oom_control", "oom_kill_disable 1"),
        ({"useHierarchy": True}, "memory.use_hierarchy", "1"),
        ({"kernel": -1, "kernelTCP": -1}, "memory.use_hierarchy", "1"),
        ({"kernelTCP": 8 << 20}, "memory.kmem.tcp.limit_in_bytes", str(8 << 20)),
    ],
)
def test_memory(make: Make, memory: dict[str, Any], file: str, text: str) -> None:
    cgroup = make({"memory": memory})
    cgroup.create()
    cgroup.apply()
    assert value(cgroup, "memory", file).startswith(text)


@needs("memory")
def test_accounting_that_is_not_hierarchical_is_an_error(make: Make, base: str) -> None:
    with pytest.raises(CgroupError, match="always accounted hierarchically") as caught:
        make({"memory": {"useHierarchy": False}}).create()
    assert caught.value.pointer == "/linux/resources/memory/useHierarchy"
    assert directories(base) == []


def block_device() -> str:
    for name in sorted(os.listdir("/sys/block")):
        if int(Path(f"/sys/block/{name}/size").read_text()):
            return Path(f"/sys/block/{name}/dev").read_text().strip()
    pytest.skip("no block device")


@needs("blkio")
def test_block_throttling(make: Make) -> None:
    device = block_device()
    major, minor = map(int, device.split(":"))
    keys = {
        "throttleReadBpsDevice": "blkio.throttle.read_bps_device",
        "throttleWriteBpsDevice": "blkio.throttle.write_bps_device",
        "throttleReadIOPSDevice": "blkio.throttle.read_iops_device",
        "throttleWriteIOPSDevice": "blkio.throttle.write_iops_device",
    }
    rates = {
        key: [{"major": major, "minor": minor, "rate": 1000 + index}]
        for index, key in enumerate(keys)
    }
    cgroup = make({"blockIO": rates})
    cgroup.create()
    cgroup.apply()
    for index, file in enumerate(keys.values()):
        assert value(cgroup, "blkio", file) == f"{device} {1000 + index}"
    with pytest.raises(CgroupError) as caught:
        cgroup.update(
            {
                "blockIO": {
                    "throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 5}],
                    "throttleWriteBpsDevice": [{"major": 4094, "minor": 1, "rate": 5}],
                }
            },
            FACTS,
        )
    assert caught.value.pointer == "/blockIO/throttleWriteBpsDevice/0"
    assert value(cgroup, "blkio", "blkio.throttle.read_bps_device") == f"{device} 1000"


@needs("blkio")
def test_block_weight(make: Make) -> None:
    cgroup = make({"blockIO": {"weight": 200}})
    cgroup.create()
    files = [
        name
        for name in ("blkio.weight", "blkio.bfq.weight")
        if os.path.exists(f"{cgroup.plan.paths['blkio']}/{name}")
    ]
    if files:
        cgroup.apply()
        assert value(cgroup, "blkio", files[0]).split()[-1] == "200"
    else:
        with pytest.raises(CgroupError, match="this kernel does not have it"):
            cgroup.apply()


def test_what_the_kernel_does_not_have(make: Make) -> None:
    cgroup = make({"blockIO": {"leafWeight": 200}})
    cgroup.create()
    if os.path.exists(f"{cgroup.plan.paths['blkio']}/blkio.leaf_weight"):
        pytest.skip("this kernel has leaf weights")
    with pytest.raises(CgroupError, match="this kernel does not have it") as caught:
        cgroup.apply()
    assert caught.value.pointer == "/linux/resources/blockIO/leafWeight"


@needs("pids")
def test_pids_limit_is_in_force(make: Make) -> None:
    cgroup = make({"pids": {"limit": 1}})
    cgroup.create()
    cgroup.apply()
    code = f"{enter(cgroup)}import os\ntry: os.fork()\nexcept BlockingIOError: print('refused')"
    result = subprocess.run(
        [sys.executable, "-IS", "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "refused\n"


@needs("devices")
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], "rwrw--"),
        ([{"allow": False, "access": "rwm"}], "rwrw--"),
        ([{"allow": True, "access": "rwm"}], "rwrwrw"),
        ([{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}], "rwrwr-"),
        (
            [
                {"allow": True, "access": "rwm"},
                {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "w"},
            ],
            "rwrwr-",
        ),
        ([{"allow": True, "type": "a", "major": 1, "access": "w"}], "rwrw-w"),
    ],
)
def test_device_rules(
    make: Make, tmp_path: Path, rules: list[dict[str, Any]], expected: str
) -> None:
    cgroup = make({"devices": rules})
    cgroup.create()
    cgroup.apply()
    assert devices_in(cgroup, tmp_path) == expected


@needs("devices")
def test_device_rules_are_updated(make: Make, tmp_path: Path) -> None:
    kmsg = {"type": "c", "major": 1, "minor": 11}
    cgroup = make({"devices": [{"allow": True, **kmsg, "access": "rw"}]})
    cgroup.create()
    cgroup.apply()
    assert devices_in(cgroup, tmp_path) == "rwrwrw"
    cgroup.update({"devices": [{"allow": True, **kmsg, "access": "r"}]}, FACTS)
    assert devices_in(cgroup, tmp_path) == "rwrwr-"
    before = value(cgroup, "devices", "devices.list")
    with pytest.raises(CgroupError):
        cgroup.update({"devices": [], "cpu": {"cpus": "1000"}}, FACTS)
    assert value(cgroup, "devices", "devices.list") == before


@needs("devices")
def test_rules_wider_than_the_parents_are_an_error(make: Make) -> None:
    outer = make({}, "outer")
    outer.create()
    outer.apply()
    inner = make(
        {"devices": [{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]},
        "outer/inner",
    )
    inner.create()
    with pytest.raises(CgroupError) as caught:
        inner.apply()
    assert caught.value.pointer == "/linux/resources/devices"


@needs("memory")
def test_oom_events(make: Make) -> None:
    cgroup = make({"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    cgroup.create()
    cgroup.apply()
    with cgroup.oom_events() as events:
        assert select.select([events], [], [], 0)[0] == []
        result = subprocess.run(
            [sys.executable, "-IS", "-c", f"{enter(cgroup)}bytearray(b'1') * (64 << 20)"],
            check=False,
        )
        assert result.returncode == -signal.SIGKILL
        assert select.select([events], [], [], 10)[0] == [events]
        assert events.read()
        cgroup.destroy()
        assert select.select([events], [], [], 10)[0] == [events]
        assert events.read() is None


def shape(value: Any) -> Any:
    """The members of a JSON document, without its numbers."""
    if isinstance(value, dict):
        return {key: shape(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_stats(make: Make, sleeper: Sleepers) -> None:
    cgroup = make({"memory": {"limit": 64 << 20}, "pids": {"limit": 9}})
    cgroup.create()
    cgroup.join(sleeper())
    cgroup.apply()
    stats = cgroup.stats()
    assert stats["pids"] == {"current": 1, "limit": 9}
    assert stats["memory"]["usage"]["limit"] == 64 << 20
    assert stats["cpuset"]["cpus"] == sorted(os.sched_getaffinity(0))


@pytest.fixture
def runc(base: str, make_runtime: Callable[[Path], Runtime]) -> Runtime:
    """Debian's runc, as the reference; its containers end before `base` does."""
    binary = shutil.which("runc")
    if binary is None:
        pytest.skip("needs runc")
    return make_runtime(Path(binary))


def test_stats_are_those_of_runc(
    runc: Runtime, bundle: Bundle, container_id: str, base: str
) -> None:
    bundle.config["linux"]["cgroupsPath"] = f"{base}/box"
    bundle.config["linux"]["resources"] |= {
        "memory": {"limit": 64 << 20},
        "cpu": {"quota": 10000, "period": 50000},
    }
    bundle.sh("while :; do :; done")
    runc.detached("run", container_id, bundle.path, "--detach")
    time.sleep(0.5)  # for the quota to have been used up
    plan = compile_cgroup(bundle.config, base, FACTS, driver="cgroupfs", rootless=False)
    state = json.loads((runc.root / container_id / "state.json").read_text())
    assert plan.paths == state["cgroup_paths"]
    theirs = json.loads(runc("events", "--stats", container_id).stdout)["data"]
    ours = Cgroup(plan).stats()
    assert shape(ours) == shape(theirs)
    for path in (("memory", "usage", "limit"), ("memory", "swap", "limit"), ("cpuset", "cpus")):
        here, there = ours, theirs
        for key in path:
            here, there = here[key], there[key]
        assert here == there


KMSG_RULE = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "wr"}


@needs("memory", "cpu", "cpuset", "pids", "devices")
@pytest.mark.parametrize(
    "resources",
    [
        {},
        {
            "memory": {
                "limit": 64 << 20,
                "swap": 128 << 20,
                "reservation": 32 << 20,
                "swappiness": 5,
                "disableOOMKiller": True,
            },
            "cpu": {"shares": 300, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 77},
        },
        {"cpu": {"quota": -1, "period": 60000}, "pids": {"limit": -1}, "memory": {"limit": -1}},
        {"memory": {"limit": 0, "swap": 0}, "cpu": {"shares": 0, "quota": 0}},
        {"devices": [{"allow": False, "access": "rwm"}, KMSG_RULE]},
        {"devices": [{"allow": True, "access": "rwm"}]},
        {
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "b", "major": 8, "access": "m"},
                {"allow": True, "type": "b", "major": 8, "minor": 1, "access": "rw"},
                {"allow": False, "type": "b", "major": 8, "minor": 1, "access": "w"},
            ]
        },
    ],
)
def test_files_are_as_runc_leaves_them(
    runc: Runtime,
    bundle: Bundle,
    container_id: str,
    base: str,
    make: Make,
    resources: dict[str, Any],
) -> None:
    bundle.config["linux"]["cgroupsPath"] = f"{base}/theirs"
    bundle.config["linux"]["resources"] = resources
    bundle.args("sleep", "60")
    runc.detached("create", container_id, bundle.path)
    ours = make(resources, "ours")
    ours.create()
    ours.apply()
    compared = 0
    for directory in ours.plan.directories:
        other = f"{directory.removesuffix('/ours')}/theirs"
        for name in sorted(os.listdir(directory)):
            if name.endswith(SETTINGS):
                compared += 1
                here, there = Path(directory, name), Path(other, name)
                assert (name, setting(here)) == (name, setting(there))
    assert compared > 10


# Files that hold what was set, not what is used.
SETTINGS = (
    "limit_in_bytes",
    "memory.swappiness",
    "memory.oom_control",
    "cpu.shares",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.cfs_burst_us",
    "cpu.idle",
    "cpuset.cpus",
    "cpuset.mems",
    "pids.max",
    "devices.list",
)


def setting(path: Path) -> list[str]:
    return sorted(line for line in path.read_text().splitlines() if "under_oom" not in line)


UNPRIVILEGED = """
import json, os, sys
sys.path.insert(0, {source!r})
os.setgid(65534)
os.setuid(65534)
from pyrunc.cgroups import Cgroup, compile_cgroup
from pyrunc.errors import CgroupError
from pyrunc.host.facts import HostFacts
try:
    options = {{"driver": "cgroupfs", "rootless": True}}
    plan = compile_cgroup({config!r}, "pyrunc-test-rootless", HostFacts(), **options)
    cgroup = Cgroup(plan)
    cgroup.create()
    cgroup.join(os.getpid())
    cgroup.apply()
    print(json.dumps([plan.paths, None]))
except CgroupError as error:
    print(json.dumps([str(error), error.pointer]))
"""


def unprivileged(linux: dict[str, Any]) -> Any:
    import pyrunc

    source = os.path.dirname(os.path.dirname(pyrunc.__file__))
    if closed := closed_directory(Path(pyrunc.__file__)):
        pytest.skip(f"{closed} cannot be searched by another user, so the package not be read")
    code = UNPRIVILEGED.format(source=source, config={"linux": linux})
    result = subprocess.run(
        ["/usr/bin/python3", "-IS", "-c", code], capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def test_rootless_without_limits_goes_without_cgroups() -> None:
    assert unprivileged({}) == [{}, None]


def test_rootless_with_a_limit_is_told() -> None:
    message, pointer = unprivileged({"resources": {"pids": {"limit": 5}}})
    assert pointer == "/linux/resources/pids/limit"
    assert "no permission to have a cgroup there" in message


def test_rootless_with_a_path_is_told(base: str) -> None:
    message, pointer = unprivileged({"cgroupsPath": f"/{base}"})
    assert pointer == "/linux/cgroupsPath"
    assert "Permission denied" in message


@needs("memory")
def test_kernel_memory_that_the_kernel_does_not_limit(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    if FACTS.kernel < (5, 16):
        pytest.skip("this kernel limits kernel memory")
    make({"memory": {"kernel": 32 << 20}}).create()
    warning = capfd.readouterr().err
    assert "memory.kmem.limit_in_bytes has no effect on this kernel" in warning
    assert "config.json: /linux/resources/memory/kernel" in warning
