"""The systemd driver against a service manager that speaks real D-Bus.

On the v2 hierarchy of this machine, also where it is mounted beside v1. What systemd itself does
with the units is tested where it runs.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jeepney")

from helpers.bundle import Bundle
from helpers.cgroups import Sleepers
from helpers.fake_systemd import FakeSystemd
from helpers.runtime import Runtime

from pyrunc.cgroups import Cgroup, compile_cgroup
from pyrunc.cgroups import bus as bus_module
from pyrunc.cgroups import tree as cgroup_tree
from pyrunc.cgroups.bus import Manager
from pyrunc.errors import CgroupError, HostError
from pyrunc.host.facts import HostFacts

HOST = HostFacts()
MOUNT = HOST.cgroup_mounts.get("", "")
OWN = HOST.cgroup_own.get("", "/").rstrip("/")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not MOUNT, reason="needs cgroup v2"),
    pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="needs dbus-daemon"),
]

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bus of our own, in place of the system's."""
    socket = tmp_path / "bus"
    (tmp_path / "bus.conf").write_text(CONFIG.format(path=socket))
    command = ["dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork", "--nopidfile"]
    daemon = subprocess.Popen([*command, "--print-address"], stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    assert daemon.stdout.readline()
    address = f"unix:path={socket}"
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    yield address
    daemon.terminate()
    daemon.wait()
    daemon.stdout.close()


@pytest.fixture
def base() -> Iterator[str]:
    """A cgroup that is the root of the hierarchy for the test."""
    directory = f"{MOUNT}{OWN}/pyrunc-test-{os.getpid()}-{time.monotonic_ns()}"
    os.mkdir(directory)
    yield directory
    cgroup_tree.remove(directory, time.monotonic() + 5)


@pytest.fixture
def systemd(bus: str, base: str) -> Iterator[FakeSystemd]:
    fake = FakeSystemd(base)
    fake.on_bus(bus)
    yield fake
    fake.close()


@pytest.fixture
def make(base: str) -> Callable[..., Cgroup]:
    facts = HostFacts(cgroup_mode="v2", cgroup_mounts={"": base}, cgroup_own={"": "/"})

    def make(resources: dict[str, Any] | None = None, **config: Any) -> Cgroup:
        linux = {"cgroupsPath": "test.slice:test:box", "resources": resources or {}}
        config = {"linux": linux} | config
        return Cgroup(compile_cgroup(config, "box", facts, driver="systemd", rootless=False))

    return make


def members(systemd: FakeSystemd) -> list[str]:
    return [member for member, _ in systemd.calls]


def test_life(
    systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers, base: str
) -> None:
    cgroup = make({"unified": {"cgroup.max.depth": "7"}, "pids": None})
    cgroup.create()
    assert cgroup.open_dir_fd() == -1
    pid = sleeper()
    cgroup.join(pid)
    cgroup.apply()
    properties = systemd.units["test-box.scope"]
    assert properties["Slice"] == "test.slice"
    assert properties["PIDs"] == [pid]
    assert properties["Delegate"] is True
    assert properties["DevicePolicy"] == "strict"
    assert ("/dev/char/1:3", "rwm") in properties["DeviceAllow"]
    assert Path(base, "test.slice/test-box.scope/cgroup.max.depth").read_text() == "7\n"

    again = Cgroup.from_state(cgroup.plan.to_state())
    assert again.pids() == [pid]
    second = sleeper()
    again.join(second)
    assert sorted(again.pids()) == sorted([pid, second])
    assert members(systemd).count("StartTransientUnit") == 1
    fd = again.open_dir_fd()
    assert os.path.samestat(os.fstat(fd), os.stat(again.directory))
    os.close(fd)

    again.kill(signal.SIGKILL)
    for each in (pid, second):
        os.waitpid(each, 0)
    again.destroy()
    assert systemd.units == {}
    assert not again.exists()
    again.destroy()


def test_limits_are_properties(
    systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers
) -> None:
    cgroup = make({"memory": {"limit": 64 << 20}, "cpu": {"shares": 512, "idle": 1}})
    cgroup.join(sleeper())
    properties = systemd.units["test-box.scope"]
    assert properties["MemoryMax"] == 64 << 20
    assert properties["CPUWeight"] == 0


def test_limit_of_one_process_is_for_the_program_alone(
    systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers
) -> None:
    # an annotation, because this hierarchy may have no controller for it
    cgroup = make(annotations={"org.systemd.property.TasksMax": "uint64 1"})
    cgroup.join(sleeper())
    assert "TasksMax" not in systemd.units["test-box.scope"]
    cgroup.apply()
    assert systemd.units["test-box.scope"]["TasksMax"] == 1


def test_property_that_this_systemd_lacks_is_left_out(
    systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers
) -> None:
    systemd.version = "249.11-0ubuntu3"
    make({"cpu": {"idle": 1}}).join(sleeper())
    assert "CPUWeight" not in systemd.units["test-box.scope"]


def test_annotations(systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers) -> None:
    annotations = {
        "org.systemd.property.TimeoutStopSec": "7",
        "org.systemd.property.After": "['a.service', 'b.service']",
    }
    make(annotations=annotations).join(sleeper())
    properties = systemd.units["test-box.scope"]
    assert properties["TimeoutStopUSec"] == 7000000
    assert properties["After"] == ["a.service", "b.service"]


def test_failed_unit_is_cleared_away(
    systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers
) -> None:
    systemd.failed.add("test-box.scope")
    make().join(sleeper())
    assert members(systemd).count("StartTransientUnit") == 2
    assert "test-box.scope" in systemd.units


def test_unit_of_another_is_left_alone(
    systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers
) -> None:
    systemd.units["test-box.scope"] = {"Slice": "test.slice"}
    with pytest.raises(CgroupError, match="already exists") as caught:
        make().join(sleeper())
    assert caught.value.pointer == "/linux/cgroupsPath"
    assert "test-box.scope" in systemd.units


def test_scope_in_use_is_refused(
    systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers
) -> None:
    make().join(sleeper())
    with pytest.raises(CgroupError, match="in use by 1 processes"):
        make().create()


def test_job_that_fails(
    systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers
) -> None:
    systemd.result = "failed"
    with pytest.raises(CgroupError, match="the job's result is 'failed'"):
        make().join(sleeper())
    assert members(systemd)[-1] == "ResetFailedUnit"


def test_job_that_does_not_end(
    systemd: FakeSystemd,
    make: Callable[..., Cgroup],
    sleeper: Sleepers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus_module, "TIMEOUT", 0.3)
    systemd.silent = True
    with pytest.raises(CgroupError, match=r"the job for unit test-box.scope did not end"):
        make().join(sleeper())


def test_update(systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers) -> None:
    cgroup = make({"unified": {"cgroup.max.depth": "7"}})
    cgroup.join(sleeper())
    cgroup.apply()
    facts = HostFacts(user_namespace=False)
    cgroup.update({"unified": {"cgroup.max.depth": "8"}, "devices": []}, facts)
    assert Path(cgroup.directory, "cgroup.max.depth").read_text() == "8\n"
    unit, runtime, properties = systemd.calls[-1][1]
    assert (unit, runtime) == ("test-box.scope", True)
    assert [name for name, _ in properties] == ["DevicePolicy", "DeviceAllow", "DeviceAllow"]


def test_update_that_systemd_refuses_changes_nothing(
    systemd: FakeSystemd,
    make: Callable[..., Cgroup],
    sleeper: Sleepers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pyrunc.cgroups import unit

    cgroup = make({"unified": {"cgroup.max.depth": "7"}})
    cgroup.join(sleeper())
    cgroup.apply()
    unlucky = [unit.UnitProperty("TasksMax", "t", 13)]
    monkeypatch.setattr(unit, "v2_properties", lambda _: unlucky)
    with pytest.raises(CgroupError, match="13 is an unlucky number"):
        cgroup.update({"unified": {"cgroup.max.depth": "8"}}, HostFacts())
    assert Path(cgroup.directory, "cgroup.max.depth").read_text() == "7\n"


def test_without_a_bus(
    make: Callable[..., Cgroup], sleeper: Sleepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    if os.path.exists("/run/systemd/private"):
        pytest.skip("systemd runs here")
    with pytest.raises(HostError, match="/nonexistent/bus: No such file or directory"):
        make().join(sleeper())
    make().destroy()


def test_without_a_user_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(HostError, match="neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR"):
        Manager(user=True)


def test_bus_that_goes_away(
    systemd: FakeSystemd, make: Callable[..., Cgroup], sleeper: Sleepers, bus: str
) -> None:
    cgroup = make()
    pid = sleeper()
    cgroup.join(pid)
    os.unlink(bus.removeprefix("unix:path="))
    if os.path.exists("/run/systemd/private"):
        pytest.skip("systemd runs here")
    with pytest.raises(HostError, match="cannot reach systemd"):
        cgroup.destroy()
    cgroup.kill(signal.SIGKILL)
    os.waitpid(pid, 0)
    cgroup.destroy()
    assert not cgroup.exists()


def test_systemd_without_a_bus(
    make: Callable[..., Cgroup],
    sleeper: Sleepers,
    base: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeSystemd(base)
    fake.on_socket(f"{tmp_path}/private")
    monkeypatch.setattr(
        bus_module,
        "addresses",
        lambda user: [("unix:path=/nonexistent", True), (f"unix:path={tmp_path}/private", False)],
    )
    cgroup = make()
    pid = sleeper()
    cgroup.join(pid)
    assert cgroup.pids() == [pid]
    cgroup.kill(signal.SIGKILL)
    os.waitpid(pid, 0)
    fake.hang_up = "StopUnit"
    cgroup.destroy()
    assert not cgroup.exists()
    with pytest.raises(CgroupError, match="systemd closed the connection"):
        Manager(user=False).stop("test-box.scope")
    fake.close()


def test_process_is_followed_to_where_systemd_put_it(
    systemd: FakeSystemd,
    sleeper: Sleepers,
    base: str,
    bus: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus)
    facts = HostFacts(
        cgroup_mode="v2", cgroup_mounts={"": MOUNT}, cgroup_own={"": "/"}, host_euid=12345
    )
    linux = {
        "cgroupsPath": "user.slice:test:box",
        "resources": {"unified": {"cgroup.max.depth": "7"}},
    }
    plan = compile_cgroup({"linux": linux}, "box", facts, driver="systemd", rootless=True)
    assert "user@12345.service" in plan.paths[""]
    cgroup = Cgroup(plan)
    cgroup.create()
    cgroup.join(sleeper())
    cgroup.apply()
    assert cgroup.directory == f"{base}/user.slice/test-box.scope"
    assert Path(cgroup.directory, "cgroup.max.depth").read_text() == "7\n"


def test_process_that_may_not_be_moved_is_moved_by_systemd(
    systemd: FakeSystemd,
    make: Callable[..., Cgroup],
    sleeper: Sleepers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pyrunc.cgroups import cgroup as module

    cgroup = make()
    cgroup.join(sleeper())

    def refuse(path: str, value: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(module, "write_text", refuse)
    pid = sleeper()
    cgroup.join(pid)
    assert systemd.calls[-1] == ("AttachProcessesToUnit", ("test-box.scope", "", [pid]))


@pytest.fixture
def v1_root() -> Iterator[str]:
    """Where systemd has its hierarchy on v1; the slice of the test is taken away everywhere."""
    if HOST.cgroup_mode not in ("v1", "hybrid") or "name=systemd" not in HOST.cgroup_mounts:
        pytest.skip("needs cgroup v1")
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd runs here")
    yield HOST.cgroup_mounts["name=systemd"]
    for mount in HOST.cgroup_mounts.values():
        cgroup_tree.remove(f"{mount}/pyrunctest.slice", time.monotonic() + 5)


@pytest.mark.root
def test_container_on_v1(
    systemd_runtime: Runtime, bundle: Bundle, container_id: str, bus: str, v1_root: str
) -> None:
    runtime = systemd_runtime
    fake = FakeSystemd(v1_root)
    fake.on_bus(bus)
    bundle.config["linux"]["cgroupsPath"] = f"pyrunctest.slice:x:{container_id}"
    bundle.config["linux"]["resources"] = {"pids": {"limit": 20}, "cpu": {"cpus": "0"}}
    bundle.args("sleep", "60")
    runtime.detached("run", container_id, bundle.path, "--detach")
    scope = f"x-{container_id}.scope"
    assert fake.units[scope]["TasksMax"] == 20
    listed = runtime("exec", container_id, "cat", "/proc/self/cgroup").stdout
    for line in listed.splitlines():
        _, names, path = line.split(":", 2)
        if names.split(",")[0] in HOST.cgroup_mounts:
            assert path == f"/pyrunctest.slice/{scope}"
    runtime("update", "--pids-limit", "30", container_id)
    assert fake.units[scope]["TasksMax"] == 30
    limit = Path(HOST.cgroup_mounts["pids"], "pyrunctest.slice", scope, "pids.max")
    assert limit.read_text() == "30\n"
    runtime("delete", "--force", container_id)
    assert fake.units == {}
    assert not limit.parent.exists()
    fake.close()
