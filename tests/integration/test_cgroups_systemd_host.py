"""The systemd driver against systemd itself, on a host that it runs, with cgroup v2."""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.cgroups import Sleepers, devices_in, end
from helpers.leaks import Leaks, remove_tree
from helpers.runtime import Runtime
from helpers.systemd import show

from pyrunc.cgroups import Cgroup, compile_cgroup
from pyrunc.errors import CgroupError
from pyrunc.host.facts import HostFacts

pytest.importorskip("jeepney")

FACTS = HostFacts()

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(
        not os.path.isdir("/run/systemd/system"), reason="systemd does not run here"
    ),
    pytest.mark.skipif(FACTS.cgroup_mode != "v2", reason="needs cgroup v2 only"),
]

PREFIX = f"pyrunctest{os.getpid()}"
Make = Callable[..., Cgroup]


@pytest.fixture
def make() -> Make:
    def make(resources: dict[str, Any] | None = None, name: str = "box", **config: Any) -> Cgroup:
        linux = {
            "cgroupsPath": f"pyrunctest.slice:{PREFIX}:{name}",
            "resources": resources or {},
        }
        linux |= config.pop("linux", {})
        plan = compile_cgroup(
            config | {"linux": linux}, "box", FACTS, driver="systemd", rootless=False
        )
        return Cgroup(plan)

    return make


def listed_units() -> list[str]:
    """The names of the units of these tests, whatever their state."""
    listed = subprocess.check_output(
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", f"{PREFIX}-*"], text=True
    )
    return sorted(line.split()[0] for line in listed.splitlines())


@pytest.fixture(autouse=True)
def no_units() -> Iterator[None]:
    """Takes away what a test leaves, and says so if that is a unit."""
    yield
    left = listed_units()
    for unit in left:
        subprocess.run(["systemctl", "kill", "--signal=KILL", unit], check=False)
        subprocess.run(["systemctl", "stop", unit], check=False)
        subprocess.run(["systemctl", "reset-failed", unit], check=False)
    assert left == []


def value(cgroup: Cgroup, name: str) -> str:
    return Path(cgroup.directory, name).read_text().strip()


LIMITS: dict[str, Any] = {
    "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
    "cpu": {"shares": 512, "quota": 12345, "period": 100000, "cpus": "0"},
    "pids": {"limit": 9},
}


def test_life(make: Make, sleeper: Sleepers) -> None:
    cgroup = make(LIMITS)
    unit = f"{PREFIX}-box.scope"
    cgroup.create()
    pid = sleeper()
    cgroup.join(pid)
    cgroup.apply()
    assert show(
        unit,
        "ActiveState",
        "Slice",
        "MemoryMax",
        "TasksMax",
        "CPUWeight",
        "Delegate",
        "DevicePolicy",
    ) == {
        "ActiveState": "active",
        "Slice": "pyrunctest.slice",
        "MemoryMax": str(64 << 20),
        "TasksMax": "9",
        "CPUWeight": "59",
        "Delegate": "yes",
        "DevicePolicy": "strict",
    }
    assert cgroup.pids() == [pid]
    assert cgroup.directory == f"/sys/fs/cgroup/pyrunctest.slice/{unit}"
    assert value(cgroup, "memory.max") == str(64 << 20)
    assert value(cgroup, "memory.low") == str(32 << 20)
    assert value(cgroup, "memory.swap.max") == str(32 << 20)
    assert value(cgroup, "cpu.max") == "12345 100000"
    assert value(cgroup, "cpuset.cpus") == "0"
    assert value(cgroup, "pids.max") == "9"
    end(cgroup)
    assert show(unit, "LoadState") == {"LoadState": "not-found"}


def test_update_outlives_a_reload(make: Make, sleeper: Sleepers) -> None:
    cgroup = make(LIMITS)
    cgroup.join(sleeper())
    cgroup.apply()
    cgroup.update(
        {"memory": {"limit": 48 << 20, "swap": -1}, "cpu": {"quota": 20000}, "pids": {"limit": 5}},
        FACTS,
    )
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert value(cgroup, "memory.max") == str(48 << 20)
    assert value(cgroup, "memory.swap.max") == "max"
    assert value(cgroup, "cpu.max") == "20000 100000"
    assert value(cgroup, "pids.max") == "5"
    end(cgroup)


KMSG = {"allow": True, "type": "c", "major": 1, "minor": 11}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], "rwrw--"),
        ([KMSG | {"access": "r"}], "rwrwr-"),
        ([{"allow": True, "access": "rwm"}], "rwrwrw"),
        (
            # systemd cannot express it
            [{"allow": True, "access": "rwm"}, KMSG | {"allow": False, "access": "w"}],
            "rwrwr-",
        ),
    ],
)
def test_device_rules_outlive_a_reload(
    make: Make,
    sleeper: Sleepers,
    tmp_path: Path,
    rules: list[dict[str, Any]],
    expected: str,
) -> None:
    cgroup = make({"devices": rules})
    cgroup.join(sleeper())
    cgroup.apply()
    assert devices_in(cgroup, tmp_path) == expected
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert devices_in(cgroup, tmp_path) == expected
    cgroup.update({"devices": [KMSG | {"access": "w"}]}, FACTS)
    assert devices_in(cgroup, tmp_path) == "rwrw-w"
    end(cgroup)


def test_annotations(make: Make, sleeper: Sleepers) -> None:
    annotations = {
        "org.systemd.property.TimeoutStopSec": "uint64 7",
        "org.systemd.property.Description": "'a box'",
    }
    cgroup = make(annotations=annotations)
    cgroup.join(sleeper())
    shown = show(f"{PREFIX}-box.scope", "TimeoutStopUSec", "Description")
    assert shown == {"TimeoutStopUSec": "7s", "Description": "a box"}
    end(cgroup)


def test_wrong_property_is_an_error(make: Make, sleeper: Sleepers) -> None:
    cgroup = make(annotations={"org.systemd.property.Nonesuch": "1"})
    with pytest.raises(CgroupError, match="Nonesuch"):
        cgroup.join(sleeper())


def eat_memory(cgroup: Cgroup) -> None:
    """Have a process be the first in the scope and then use more memory than it may."""
    code = "input(); x = bytearray(b'1') * (256 << 20)"
    with subprocess.Popen([sys.executable, "-IS", "-c", code], stdin=subprocess.PIPE) as process:
        cgroup.join(process.pid)
        cgroup.apply()
        with cgroup.oom_events() as events:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            told: int | None = 0
            while told == 0:
                assert select.select([events], [], [], 20)[0] == [events]
                told = events.read()
        assert process.wait() == -signal.SIGKILL


SMALL = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}


def test_scope_that_ran_out_of_memory_leaves_no_unit(make: Make) -> None:
    cgroup = make(SMALL)
    eat_memory(cgroup)
    cgroup.destroy()


def test_name_of_a_failed_unit_is_free_again(make: Make, sleeper: Sleepers) -> None:
    keep = {"org.systemd.property.CollectMode": "'inactive'"}
    eat_memory(make(SMALL, annotations=keep))
    unit = f"{PREFIX}-box.scope"
    deadline = time.monotonic() + 10
    while show(unit, "ActiveState")["ActiveState"] != "failed":
        if time.monotonic() > deadline:
            pytest.skip("this systemd does not let the scope fail")
        time.sleep(0.05)
    cgroup = make()
    cgroup.create()
    cgroup.join(sleeper())
    assert show(unit, "ActiveState") == {"ActiveState": "active"}
    end(cgroup)


def test_running_unit_of_that_name_is_left_alone(make: Make, sleeper: Sleepers) -> None:
    first = make()
    pid = sleeper()
    first.join(pid)
    with pytest.raises(CgroupError, match="in use by 1 processes"):
        make().create()
    with pytest.raises(CgroupError, match=f"unit {PREFIX}-box.scope: .*already"):
        make().join(sleeper())
    assert first.pids() == [pid]
    end(first)


def test_freeze(make: Make, sleeper: Sleepers) -> None:
    cgroup = make()
    cgroup.join(sleeper())
    cgroup.freeze()
    assert cgroup.frozen
    cgroup.thaw()
    assert not cgroup.frozen
    end(cgroup)


def test_delegation(make: Make, sleeper: Sleepers) -> None:
    cgroup = make(
        mounts=[{"source": "cgroup", "destination": "/sys/fs/cgroup", "type": "cgroup"}],
        linux={
            "namespaces": [{"type": "cgroup"}, {"type": "user"}],
            "uidMappings": [{"containerID": 0, "hostID": 12345, "size": 10}],
        },
    )
    cgroup.join(sleeper())
    assert os.stat(cgroup.directory).st_uid == 12345
    assert os.stat(f"{cgroup.directory}/cgroup.procs").st_uid == 12345
    assert os.stat(f"{cgroup.directory}/memory.max").st_uid == 0
    end(cgroup)


def test_without_a_bus_systemd_itself_is_asked(
    make: Make, sleeper: Sleepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
    cgroup = make(LIMITS)
    cgroup.join(sleeper())
    cgroup.apply()
    cgroup.update({"pids": {"limit": 5}}, FACTS)
    assert show(f"{PREFIX}-box.scope", "TasksMax") == {"TasksMax": "5"}
    end(cgroup)


def test_many_at_once(make: Make, sleeper: Sleepers) -> None:
    pids = [sleeper() for _ in range(50)]

    def live(number: int) -> None:
        cgroup = make(LIMITS, f"box{number}")
        cgroup.create()
        cgroup.join(pids[number])
        cgroup.apply()
        assert cgroup.pids() == [pids[number]]
        end(cgroup)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(live, range(50)))


AS_USER = """
import json, os, subprocess, sys
sys.path[:0] = json.loads(sys.argv[1])
from pyrunc.cgroups import Cgroup, compile_cgroup
from pyrunc.host.facts import HostFacts
linux = json.loads(sys.argv[2])
plan = compile_cgroup({"linux": linux}, "box", HostFacts(), driver="systemd", rootless=True)
cgroup = Cgroup(plan)
cgroup.create()
first = subprocess.Popen(["sleep", "60"])
cgroup.join(first.pid)
cgroup.apply()
second = subprocess.Popen(["sleep", "60"])
cgroup.join(second.pid, beside=first.pid)
result = {
    "path": cgroup.directory,
    "pids": sorted(cgroup.pids()) == sorted([first.pid, second.pid]),
    "memory": open(cgroup.directory + "/memory.max").read(),
    "tasks": open(cgroup.directory + "/pids.max").read(),
}
cgroup.kill(9)
first.wait()
second.wait()
cgroup.destroy()
print(json.dumps(result))
"""


def test_unit_of_a_user() -> None:
    buses = sorted(Path("/run/user").glob("*/bus"))
    users = [int(bus.parent.name) for bus in buses if bus.parent.name != "0"]
    if not users:
        pytest.skip("no user has a service manager")
    import pyrunc

    uid = users[0]
    packages = [os.path.dirname(os.path.dirname(pyrunc.__file__)), *sys.path]
    linux = {
        "cgroupsPath": f":{PREFIX}:box",
        "resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 9}},
    }
    result = subprocess.run(
        [sys.executable, "-I", "-c", AS_USER, json.dumps(packages), json.dumps(linux)],
        user=uid,
        group=pwd.getpwuid(uid).pw_gid,
        extra_groups=[],
        env={"XDG_RUNTIME_DIR": f"/run/user/{uid}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    manager = f"/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service"
    assert found["path"] == f"{manager}/user.slice/{PREFIX}-box.scope"
    assert found["pids"]
    assert found["memory"] == f"{64 << 20}\n"
    assert found["tasks"] == "9\n"
    assert not os.path.exists(found["path"])


@pytest.mark.root
def test_many_containers_at_once(
    systemd_runtime: Runtime,
    bundle: Bundle,
    new_id: Callable[[], str],
    leaks: Leaks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Started together and then deleted together, they leave no unit, cgroup, process or state."""
    # each takes as long as all of them
    limit = 300.0
    monkeypatch.setattr("helpers.runtime.LIMIT", limit)
    runtime = systemd_runtime
    bundle.config["linux"]["cgroupsPath"] = f"pyrunctest.slice:{PREFIX}:%s"
    bundle.args("sleep", "1000")
    names = [new_id() for _ in range(50)]
    bundles = [bundle.path.with_name(f"{bundle.path.name}-{name}") for name in names]
    units = [f"{PREFIX}-{name}.scope" for name in names]
    slice_directory = Path("/sys/fs/cgroup/pyrunctest.slice")
    for name, path in zip(names, bundles, strict=True):
        path.mkdir()
        document = json.dumps(bundle.config | {"root": {"path": str(bundle.path / "rootfs")}})
        (path / "config.json").write_text(document.replace(":%s", f":{name}"))

    def start(name: str, path: Path) -> None:
        runtime.detached("run", name, path, "--detach")

    def delete(name: str) -> None:
        runtime("delete", "--force", name, limit=limit)

    try:
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(start, names, bundles))
            assert sorted(path.name for path in slice_directory.glob(f"{PREFIX}-*")) == sorted(
                units
            )
            assert listed_units() == sorted(units)
            pids = [runtime.state(name)["pid"] for name in names]
            list(pool.map(delete, names))
    finally:
        for path in bundles:
            remove_tree(path)
    assert listed_units() == []
    assert list(slice_directory.glob(f"{PREFIX}-*")) == []
    assert leaks.found(runtime.root) == []
    # orphans come to the tests, which have only to take them away
    assert [pid for pid in pids if os.waitpid(pid, os.WNOHANG)[0] != pid] == []


@pytest.mark.root
def test_container(systemd_runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    runtime = systemd_runtime
    bundle.config["linux"]["cgroupsPath"] = f"pyrunctest.slice:{PREFIX}:{container_id}"
    bundle.config["linux"]["resources"] |= {"pids": {"limit": 20}, "memory": {"limit": 64 << 20}}
    bundle.args("sleep", "60")
    runtime.detached("run", container_id, bundle.path, "--detach")
    scope = f"{PREFIX}-{container_id}.scope"
    path = f"/pyrunctest.slice/{scope}"
    assert show(scope, "TasksMax", "MemoryMax") == {"TasksMax": "20", "MemoryMax": str(64 << 20)}
    assert runtime("exec", container_id, "cat", "/proc/self/cgroup").stdout == f"0::{path}\n"
    runtime("update", "--pids-limit", "30", container_id)
    assert show(scope, "TasksMax") == {"TasksMax": "30"}
    assert Path(f"/sys/fs/cgroup{path}/pids.max").read_text() == "30\n"
    runtime("pause", container_id)
    assert runtime.status(container_id) == "paused"
    runtime("resume", container_id)
    stats = json.loads(runtime("events", "--stats", container_id).stdout)["data"]
    assert stats["pids"]["limit"] == 30
    runtime("delete", "--force", container_id)
    assert show(scope, "LoadState") == {"LoadState": "not-found"}
    assert not os.path.exists(f"/sys/fs/cgroup{path}")


HIDE_SYSTEMD = """
mount -t tmpfs hidden /run/dbus
mount --bind /dev/null /run/systemd/private
exec "$@"
"""


class CutOff(Runtime):
    """The runtime where neither the bus nor systemd's own socket is there."""

    def command(self, *arguments: str | Path) -> list[str]:
        words = super().command("--systemd-cgroup", *arguments)
        return ["unshare", "--mount", "sh", "-e", "-c", HIDE_SYSTEMD, "sh", *words]


@pytest.mark.root
def test_systemd_that_is_out_of_reach(
    systemd_runtime: Runtime, bundle: Bundle, container_id: str, leaks: Leaks
) -> None:
    runtime = systemd_runtime
    cut_off = CutOff(runtime.binary, runtime.root)
    bundle.config["linux"]["cgroupsPath"] = f"pyrunctest.slice:{PREFIX}:{container_id}"
    bundle.config["linux"]["resources"]["pids"] = {"limit": 20}
    bundle.args("sleep", "60").save()
    done = cut_off.run(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert (
        "cannot reach systemd over D-Bus: /run/dbus/system_bus_socket: No such file" in done.stderr
    )
    assert "/run/systemd/private: Connection refused" in done.stderr
    assert leaks.found(runtime.root) == []

    runtime.detached("run", container_id, bundle.path, "--detach")
    done = cut_off("update", "--pids-limit", "30", container_id, check=False)
    assert "cannot reach systemd over D-Bus" in done.stderr
    directory = Path(f"/sys/fs/cgroup/pyrunctest.slice/{PREFIX}-{container_id}.scope")
    assert (directory / "pids.max").read_text() == "20\n"
    assert cut_off("exec", container_id, "echo", "there").stdout == "there\n"
    cut_off("pause", container_id)
    cut_off("resume", container_id)
    cut_off("delete", "--force", container_id)
    assert not directory.exists()


NEST = """
mkdir /sys/fs/cgroup/inner
echo 1 > /sys/fs/cgroup/inner/cgroup.procs
echo +pids > /sys/fs/cgroup/cgroup.subtree_control
touch /tmp/ready
sleep 60
"""


@pytest.mark.root
@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_exec_where_the_container_has_cgroups_itself(
    runtime: Runtime, systemd_runtime: Runtime, bundle: Bundle, container_id: str, driver: str
) -> None:
    runtime = systemd_runtime if driver == "systemd" else runtime
    if driver == "systemd":
        bundle.config["linux"]["cgroupsPath"] = f"pyrunctest.slice:{PREFIX}:{container_id}"
    bundle.config["linux"]["namespaces"].append({"type": "cgroup"})
    bundle.config["mounts"].append(
        {"source": "cgroup", "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["rw"]}
    )
    bundle.sh(NEST)
    runtime.detached("run", container_id, bundle.path, "--detach")
    for _ in range(200):
        if runtime("exec", container_id, "test", "-e", "/tmp/ready", check=False).returncode == 0:
            break
        time.sleep(0.05)
    assert runtime("exec", container_id, "cat", "/proc/self/cgroup").stdout == "0::/inner\n"
    runtime("delete", "--force", container_id)
