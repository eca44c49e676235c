"""cgroup v2 on the kernel of this machine, also where it is mounted beside v1.

Beside v1 it has only the controllers that v1 does not use. Each test has cgroups of its own and
leaves nothing there.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.cgroups import Sleepers, devices_in, enter, python
from helpers.runtime import wait_until

from pyrunc.cgroups import Cgroup, compile_cgroup
from pyrunc.cgroups import tree as cgroup_tree
from pyrunc.errors import CgroupError
from pyrunc.host.facts import HostFacts

HOST = HostFacts()
MOUNT = HOST.cgroup_mounts.get("", "")
OWN = HOST.cgroup_own.get("", "/")
if HOST.cgroup_mode == "v2":
    OWN = os.path.dirname(OWN)  # our own has us in it: it cannot hand down controllers
FACTS = HostFacts(cgroup_mode="v2", cgroup_mounts={"": MOUNT}, cgroup_own={"": OWN})
# Beside our own cgroup, which has processes and so can hand no controllers down.
PARENT = (MOUNT + os.path.dirname(OWN)).rstrip("/")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not MOUNT, reason="needs cgroup v2"),
]

Make = Callable[..., Cgroup]


def available() -> list[str]:
    if not MOUNT:
        return []
    # On a host of v2 the runtime hands down all that the root has; elsewhere others are responsible for it.
    place = MOUNT if HOST.cgroup_mode == "v2" else PARENT
    return Path(place, "cgroup.controllers").read_text().split()


def needs(controller: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        controller not in available(), reason=f"no cgroup v2 controller {controller}"
    )


@pytest.fixture
def base() -> Iterator[str]:
    """A directory; what is handed down to it is taken back at the end."""
    control = Path(PARENT, "cgroup.subtree_control")
    before = control.read_text().split()
    name = f"pyrunc-test-{os.getpid()}-{time.monotonic_ns()}"
    yield name
    cgroup_tree.remove(f"{PARENT}/{name}", time.monotonic() + 5)
    for controller in control.read_text().split():
        if controller not in before:
            control.write_text(f"-{controller}")


@pytest.fixture
def make(base: str) -> Make:
    def make(resources: dict[str, Any] | None = None, path: str = "box", **config: Any) -> Cgroup:
        linux = config.pop("linux", {}) | {
            "cgroupsPath": f"{base}/{path}",
            "resources": resources or {},
        }
        config["linux"] = linux
        return Cgroup(compile_cgroup(config, "box", FACTS, driver="cgroupfs", rootless=False))

    return make


def value(cgroup: Cgroup, name: str) -> str:
    return Path(cgroup.directory, name).read_text().strip()


def test_life(make: Make, base: str, sleeper: Sleepers) -> None:
    cgroup = make()
    cgroup.create()
    pid = sleeper()
    cgroup.join(pid)
    cgroup.apply()
    assert cgroup.pids() == [pid]
    assert Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1].endswith(f"{base}/box")
    again = Cgroup.from_state(cgroup.plan.to_state())
    again.kill(signal.SIGKILL)
    os.waitpid(pid, 0)
    again.destroy()
    assert not cgroup.exists()
    again.destroy()
    again.kill(signal.SIGKILL)


def test_clone_into_cgroup(make: Make) -> None:
    cgroup = make()
    cgroup.create()
    fd = cgroup.open_dir_fd()
    try:
        assert os.path.samestat(os.fstat(fd), os.stat(cgroup.directory))
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_create_in_use_is_refused(make: Make, sleeper: Sleepers) -> None:
    inner = make({}, "box/inner")
    inner.create()
    inner.join(sleeper())
    with pytest.raises(CgroupError, match="in use by 1 processes"):
        make().create()


def test_frozen_is_refused(make: Make) -> None:
    first = make()
    first.create()
    first.freeze()
    with pytest.raises(CgroupError, match="is frozen"):
        make().create()


def test_freeze_and_thaw(make: Make, sleeper: Sleepers) -> None:
    cgroup = make()
    cgroup.create()
    pid = sleeper("lambda *_: os._exit(3)")
    cgroup.join(pid)
    cgroup.freeze()
    assert cgroup.frozen
    cgroup.kill(signal.SIGTERM)
    assert cgroup.frozen
    time.sleep(0.05)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    cgroup.thaw()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    wait_until(lambda: not cgroup.frozen, "the cgroup to be thawed", 10)


def test_kill_of_a_frozen_cgroup(make: Make, sleeper: Sleepers) -> None:
    cgroup = make()
    cgroup.create()
    pid = sleeper()
    cgroup.join(pid)
    cgroup.freeze()
    cgroup.kill(signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_signal_reaches_processes_below(make: Make, sleeper: Sleepers) -> None:
    outer, inner = make(), make({}, "box/inner")
    pids = [sleeper(), sleeper()]
    outer.create()
    outer.join(pids[0])
    inner.create()
    inner.join(pids[1])
    assert sorted(outer.pids()) == sorted(pids)
    outer.kill(signal.SIGTERM)
    wait_until(lambda: not outer.frozen, "the cgroup to be thawed", 10)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == signal.SIGTERM
    outer.destroy()


@needs("hugetlb")
def test_controllers_are_handed_down(make: Make) -> None:
    cgroup = make({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}, "a/b/c")
    cgroup.create()
    cgroup.apply()
    assert "hugetlb" in value(cgroup, "cgroup.controllers").split()
    assert value(cgroup, "cgroup.subtree_control") == ""
    assert value(cgroup, "hugetlb.2MB.max") == str(4 << 20)
    assert value(cgroup, "hugetlb.2MB.rsvd.max") == str(4 << 20)
    assert cgroup.stats()["hugetlb"]["2MB"] == {"failcnt": 0}


@needs("hugetlb")
def test_page_size_that_does_not_exist(make: Make) -> None:
    cgroup = make({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]})
    cgroup.create()
    with pytest.raises(CgroupError, match="this kernel does not have it") as caught:
        cgroup.apply()
    assert caught.value.pointer == "/linux/resources/hugepageLimits/0/limit"


@needs("hugetlb")
def test_failing_update_changes_nothing(make: Make) -> None:
    cgroup = make({"unified": {"hugetlb.2MB.max": str(4 << 20)}})
    cgroup.create()
    cgroup.apply()
    cgroup.update({"unified": {"hugetlb.2MB.max": str(8 << 20)}}, FACTS)
    assert value(cgroup, "hugetlb.2MB.max") == str(8 << 20)
    with pytest.raises(CgroupError) as caught:
        cgroup.update(
            {"unified": {"hugetlb.2MB.max": str(2 << 20), "cgroup.max.depth": "deep"}}, FACTS
        )
    assert caught.value.pointer == "/unified/cgroup.max.depth"
    assert value(cgroup, "hugetlb.2MB.max") == str(8 << 20)


@needs("hugetlb")
def test_controller_held_back_by_processes(make: Make, sleeper: Sleepers) -> None:
    outer = make({}, "outer")
    outer.create()
    outer.join(sleeper())
    inner = make({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, "outer/inner")
    inner.create()
    with pytest.raises(CgroupError, match="cannot as long as it has processes"):
        inner.apply()


def test_controller_that_is_not_available(make: Make) -> None:
    cgroup = make({"unified": {"nonesuch.max": "1"}})
    cgroup.create()
    with pytest.raises(CgroupError, match="controller nonesuch is not available in cgroup v2"):
        cgroup.apply()


@needs("hugetlb")
def test_process_joins_where_the_container_has_cgroups_itself(
    make: Make, sleeper: Sleepers
) -> None:
    outer, inner = make(), make({}, "box/init")
    outer.create()
    inner.create()
    first, second = sleeper(), sleeper()
    inner.join(first)
    assert "hugetlb" in value(outer, "cgroup.subtree_control").split()
    with pytest.raises(CgroupError, match=r"passes controllers \(.*hugetlb.*\) on"):
        outer.join(second)
    outer.join(second, beside=first)
    assert sorted(inner.pids()) == sorted([first, second])
    fd = outer.open_dir_fd(beside=first)
    try:
        assert os.path.samestat(os.fstat(fd), os.stat(inner.directory))
    finally:
        os.close(fd)


def test_place_below_a_threaded_cgroup(make: Make, sleeper: Sleepers) -> None:
    outer = make({}, "outer")
    os.makedirs(outer.directory)
    Path(outer.directory, "cgroup.type").write_text("threaded")
    with pytest.raises(CgroupError, match="its type is 'domain invalid'") as caught:
        make({"memory": {"limit": 1 << 20}}, "outer/inner").create()
    assert caught.value.pointer == "/linux/resources/memory/limit"
    assert not os.path.exists(f"{outer.directory}/inner")
    inner = make({}, "outer/inner")
    inner.create()
    assert value(inner, "cgroup.type") == "threaded"
    pid = sleeper()
    inner.join(pid)
    assert inner.pids() == [pid]
    inner.kill(signal.SIGKILL)
    os.waitpid(pid, 0)


def test_delegation(make: Make) -> None:
    config = {
        "mounts": [{"source": "cgroup", "destination": "/sys/fs/cgroup", "type": "cgroup"}],
        "linux": {
            "namespaces": [{"type": "cgroup"}, {"type": "user"}],
            "uidMappings": [{"containerID": 0, "hostID": 12345, "size": 10}],
        },
    }
    cgroup = make({}, "box", **config)
    cgroup.create()
    owned = {
        name
        for name in os.listdir(cgroup.directory)
        if os.stat(f"{cgroup.directory}/{name}").st_uid == 12345
    }
    delegated = set(Path("/sys/kernel/cgroup/delegate").read_text().split())
    assert os.stat(cgroup.directory).st_uid == 12345
    assert owned == delegated & set(os.listdir(cgroup.directory))
    assert "cgroup.procs" in owned


def test_delegation_without_the_list(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyrunc.cgroups import v2

    read = v2.read_or_empty
    monkeypatch.setattr(
        v2, "read_or_empty", lambda path: "" if "/sys/kernel" in path else read(path)
    )
    cgroup = make()
    cgroup.create()
    v2.delegate(cgroup.directory, 12345)
    for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        assert os.stat(f"{cgroup.directory}/{name}").st_uid == 12345
    assert os.stat(f"{cgroup.directory}/cgroup.freeze").st_uid == 0


KMSG = {"type": "c", "major": 1, "minor": 11}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], "rwrw--"),
        ([{"allow": True, "access": "rwm"}], "rwrwrw"),
        ([{"allow": True, **KMSG, "access": "r"}], "rwrwr-"),
        ([{"allow": True, "access": "rwm"}, {"allow": False, **KMSG, "access": "w"}], "rwrwr-"),
        (
            # What v1 cannot do: take a part out of a wider rule.
            [
                {"allow": True, "type": "c", "major": 1, "access": "rw"},
                {"allow": False, **KMSG, "access": "w"},
            ],
            "rwrwr-",
        ),
    ],
)
def test_device_rules(
    make: Make, tmp_path: Path, rules: list[dict[str, Any]], expected: str
) -> None:
    cgroup = make({"devices": rules})
    cgroup.create()
    cgroup.apply()
    assert devices_in(cgroup, tmp_path) == expected


def test_device_rules_are_replaced(make: Make, tmp_path: Path) -> None:
    from pyrunc.cgroups.filters import attached

    cgroup = make({"devices": [{"allow": True, **KMSG, "access": "rw"}]})
    cgroup.create()
    cgroup.apply()
    assert devices_in(cgroup, tmp_path) == "rwrwrw"
    cgroup.update({"devices": [{"allow": True, **KMSG, "access": "r"}]}, FACTS)
    assert devices_in(cgroup, tmp_path) == "rwrwr-"
    assert attached(cgroup.directory) == 1
    cgroup.update({"devices": []}, FACTS)
    assert devices_in(cgroup, tmp_path) == "rwrw--"
    assert attached(cgroup.directory) == 1


def test_device_rules_without_the_capability_to_lock_memory(make: Make) -> None:
    cgroup = make()
    cgroup.create()
    code = """
import resource, sys
sys.path.insert(0, sys.argv[2])
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
from pyrunc.cgroups.devices import device_rules
from pyrunc.cgroups.filters import DeviceProgram
with DeviceProgram(device_rules({}, ""), "/x") as program:
    program.attach(sys.argv[1])
"""
    import pyrunc

    source = os.path.dirname(os.path.dirname(pyrunc.__file__))
    subprocess.run([sys.executable, "-c", code, cgroup.directory, source], check=True)


def test_verifier_has_its_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyrunc.cgroups import filters

    monkeypatch.setattr(filters, "device_program", lambda _: bytes([0x95, 0, 0, 0, 0, 0, 0, 0]))
    with pytest.raises(CgroupError, match="R0 !read_ok") as caught:
        filters.DeviceProgram([], "/linux/resources/devices")
    assert caught.value.pointer == "/linux/resources/devices"


def test_device_program_without_privilege() -> None:
    code = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pyrunc.cgroups.filters import DeviceProgram
from pyrunc.errors import CgroupError
os.setresuid(65534, 65534, 65534)
try:
    DeviceProgram([], "/x")
except CgroupError as error:
    print(error)
"""
    import pyrunc

    source = os.path.dirname(os.path.dirname(pyrunc.__file__))
    result = subprocess.run(
        [sys.executable, "-c", code, source], capture_output=True, text=True, check=True
    )
    assert "CAP_BPF" in result.stdout


def test_stats(make: Make, sleeper: Sleepers) -> None:
    cgroup = make()
    cgroup.create()
    python(enter(cgroup) + "sum(range(3 * 10**6))")
    stats = cgroup.stats()
    assert stats["cpu"]["usage"]["total"] >= stats["cpu"]["usage"]["user"] > 0
    if Path("/proc/pressure/cpu").exists():
        assert set(stats["cpu"]["psi"]) == {"some", "full"}
        assert stats["cpu"]["psi"]["some"]["total"] >= 0


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
        told: list[int | None] = []
        while not any(told):
            assert select.select([events], [], [], 10)[0] == [events]
            told.append(events.read())
        assert None not in told
        cgroup.destroy()
        assert select.select([events], [], [], 10)[0] == [events]
        assert events.read() is None


@needs("memory")
@needs("cpu")
@needs("pids")
def test_limits(make: Make, sleeper: Sleepers, tmp_path: Path) -> None:
    cgroup = make(
        {
            "memory": {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20},
            "cpu": {"shares": 512, "quota": 20000, "period": 100000},
            "pids": {"limit": 9},
        }
    )
    cgroup.create()
    cgroup.join(sleeper())
    cgroup.apply()
    assert value(cgroup, "memory.max") == str(64 << 20)
    assert value(cgroup, "memory.low") == str(32 << 20)
    assert value(cgroup, "memory.swap.max") == str(64 << 20)
    assert value(cgroup, "cpu.weight") == "59"
    assert value(cgroup, "cpu.max") == "20000 100000"
    assert value(cgroup, "pids.max") == "9"
    cgroup.update({"cpu": {"period": 50000}, "memory": {"swap": 96 << 20}}, FACTS)
    assert value(cgroup, "cpu.max") == "20000 50000"
    assert value(cgroup, "memory.swap.max") == str(32 << 20)
    cgroup.update({"cpu": {"quota": 10000}}, FACTS)
    assert value(cgroup, "cpu.max") == "10000 50000"
    python(enter(cgroup) + f"open({str(tmp_path / 'file')!r}, 'w').write('x' * (8 << 20))")
    with pytest.raises(CgroupError, match="less than what is in use") as caught:
        cgroup.update({"memory": {"limit": 4096, "checkBeforeUpdate": True}}, FACTS)
    assert caught.value.pointer == "/memory/limit"
    stats = cgroup.stats()
    assert stats["memory"]["usage"]["limit"] == 64 << 20
    assert stats["memory"]["swap"]["limit"] == 96 << 20
    assert stats["pids"] == {"current": 1, "limit": 9}


@needs("cpu")
@needs("memory")
def test_below_processes_there_are_limits_for_threads_only(make: Make, sleeper: Sleepers) -> None:
    outer = make({}, "outer")
    outer.create()
    outer.join(sleeper())
    inner = make({"memory": {"limit": 64 << 20}, "cpu": {"shares": 512}}, "outer/inner")
    inner.create()
    with pytest.raises(CgroupError, match="cannot as long as it has processes") as caught:
        inner.apply()
    assert caught.value.pointer == "/linux/resources/memory/limit"
    assert value(outer, "cgroup.type") == "domain"
    inner = make({"cpu": {"shares": 512}}, "outer/inner")
    inner.create()
    inner.apply()
    pid = sleeper()
    inner.join(pid)
    assert value(inner, "cpu.weight") == "59"
    assert value(inner, "cgroup.type") == "threaded"
    assert inner.pids() == [pid]
