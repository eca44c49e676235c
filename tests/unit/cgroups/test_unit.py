"""The systemd unit of a container: names, slices, properties, annotations."""

from __future__ import annotations

from typing import Any

import pytest

from pyrunc.cgroups import CgroupPlan, compile_cgroup
from pyrunc.cgroups.bus import addresses, socket_paths
from pyrunc.cgroups.devices import device_rules
from pyrunc.cgroups.gvariant import parse
from pyrunc.cgroups.unit import (
    INFINITY,
    UnitProperty,
    annotated,
    device_properties,
    list_bits,
    parse_path,
    slice_path,
    v1_properties,
    v2_properties,
)
from pyrunc.errors import CgroupError
from pyrunc.host.facts import HostFacts


@pytest.mark.parametrize(
    ("path", "user", "expected"),
    [
        ("", False, ("system.slice", "pyrunc-box.scope")),
        ("", True, ("user.slice", "pyrunc-box.scope")),
        ("system.slice:docker:1", False, ("system.slice", "docker-1.scope")),
        ("kube-pod.slice:crio:1", False, ("kube-pod.slice", "crio-1.scope")),
        (":docker:1", False, ("system.slice", "docker-1.scope")),
        ("-.slice::1", False, ("-.slice", "-1.scope")),
    ],
)
def test_path(path: str, user: bool, expected: tuple[str, str]) -> None:
    assert parse_path(path, "box", user=user) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/a/b",
        "a",
        "a:b",
        "a:b:c:d",
        "system.slice:x:",
        "a.slice:x:y.slice",
        "a:b:c",
        "a/b.slice:c:d",
    ],
)
def test_other_paths(path: str) -> None:
    with pytest.raises(CgroupError) as caught:
        parse_path(path, "box", user=False)
    assert caught.value.pointer == "/linux/cgroupsPath"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("system.slice", "/system.slice"),
        ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
        ("-.slice", ""),
    ],
)
def test_slice(name: str, path: str) -> None:
    assert slice_path(name) == path


@pytest.mark.parametrize(
    "name", [".slice", "a--b.slice", "-a.slice", "a-.slice", "a.scope", "slice"]
)
def test_not_a_slice(name: str) -> None:
    with pytest.raises(CgroupError, match="not the name of a slice"):
        slice_path(name)


def plan(config: dict[str, Any], *, rootless: bool = False, **facts: Any) -> CgroupPlan:
    known: dict[str, Any] = {
        "cgroup_mode": "v2",
        "cgroup_mounts": {"": "/sys/fs/cgroup"},
        "cgroup_own": {"": "/"},
        "user_namespace": False,
        "euid": 0,
        "host_euid": 1000,
    }
    return compile_cgroup(
        config, "box", HostFacts(**(known | facts)), driver="systemd", rootless=rootless
    )


def test_directory() -> None:
    config = {"linux": {"cgroupsPath": "a-b.slice:docker:1"}}
    result = plan(config)
    assert result.paths == {"": "/sys/fs/cgroup/a.slice/a-b.slice/docker-1.scope"}
    assert result.late


@pytest.mark.parametrize(
    ("own", "manager"),
    [
        ("/", "/user.slice/user-1000.slice/user@1000.service"),
        (
            "/user.slice/user-7.slice/session-1.scope",
            "/user.slice/user-1000.slice/user@1000.service",
        ),
        ("/x/user@7.service/app.slice/a.scope", "/x/user@7.service"),
    ],
)
def test_directory_of_a_user(own: str, manager: str) -> None:
    result = plan({}, rootless=True, cgroup_own={"": own})
    assert result.paths == {"": f"/sys/fs/cgroup{manager}/user.slice/pyrunc-box.scope"}
    assert result.unit is not None
    assert result.unit.user


def test_directories_on_v1() -> None:
    mounts = {name: f"/cg/{name}" for name in ("devices", "memory")} | {
        "name=systemd": "/cg/systemd"
    }
    facts = {"cgroup_mode": "v1", "cgroup_mounts": mounts, "cgroup_own": dict.fromkeys(mounts, "/")}
    result = plan({"linux": {"resources": {"memory": {"limit": 5}}}}, **facts)
    assert set(result.paths.values()) == {
        f"{mount}/system.slice/pyrunc-box.scope" for mount in mounts.values()
    }
    assert result.unit is not None
    assert UnitProperty("MemoryLimit", "t", 5) in result.unit.properties
    with pytest.raises(CgroupError, match="needs cgroup v2"):
        plan({}, rootless=True, **facts)


def test_describe() -> None:
    config = {"linux": {"cgroupsPath": "a.slice:b:c", "resources": {"pids": {"limit": -1}}}}
    first, *others = plan(config).describe()
    assert first.startswith(
        "start unit b-c.scope in a.slice: TasksMax=infinity, DevicePolicy=strict"
    )
    assert "write 'max' to /sys/fs/cgroup/a.slice/b-c.scope/pids.max" in others


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (
            {"memory": {"limit": 1000, "swap": 3000, "reservation": 500}},
            [("MemoryMax", 1000), ("MemoryLow", 500), ("MemorySwapMax", 2000)],
        ),
        ({"memory": {"limit": 1000, "swap": 1000}}, [("MemoryMax", 1000), ("MemorySwapMax", 0)]),
        ({"memory": {"limit": -1}}, [("MemoryMax", INFINITY), ("MemorySwapMax", INFINITY)]),
        (
            {"memory": {"limit": 1000, "swap": -1}},
            [("MemoryMax", 1000), ("MemorySwapMax", INFINITY)],
        ),
        ({"cpu": {"shares": 1024}}, [("CPUWeight", 100)]),
        ({"cpu": {"shares": 1024, "idle": 1}}, [("CPUWeight", 0)]),
        (
            {"cpu": {"quota": 25500, "period": 50000}},
            [("CPUQuotaPeriodUSec", 50000), ("CPUQuotaPerSecUSec", 510000)],
        ),
        ({"cpu": {"quota": 12345}}, [("CPUQuotaPerSecUSec", 130000)]),
        ({"cpu": {"quota": -1}}, [("CPUQuotaPerSecUSec", INFINITY)]),
        (
            {"cpu": {"period": 50000}},
            [("CPUQuotaPeriodUSec", 50000), ("CPUQuotaPerSecUSec", INFINITY)],
        ),
        (
            {"cpu": {"cpus": "0-1,9", "mems": "0"}},
            [("AllowedCPUs", b"\3\2"), ("AllowedMemoryNodes", b"\1")],
        ),
        ({"pids": {"limit": 0}}, [("TasksMax", 1)]),
        ({"pids": {"limit": -1}}, [("TasksMax", INFINITY)]),
        ({"blockIO": {"weight": 1000}}, [("IOWeight", 10000)]),
        (
            {
                "unified": {
                    "memory.high": "5",
                    "memory.min": "max",
                    "cpu.max": "50000 100000",
                    "cpuset.cpus": "1",
                    "pids.max": "7",
                    "memory.oom.group": "1",
                    "io.max": "8:0 rbps=1",
                }
            },
            [
                ("MemoryHigh", 5),
                ("MemoryMin", INFINITY),
                ("CPUQuotaPeriodUSec", 100000),
                ("CPUQuotaPerSecUSec", 500000),
                ("AllowedCPUs", b"\2"),
                ("TasksMax", 7),
                ("OOMPolicy", "kill"),
            ],
        ),
        ({"unified": {"cpu.idle": "1", "cpu.weight": "50"}}, [("CPUWeight", 0)]),
        (
            {"unified": {"cpu.max": "max"}},
            [("CPUQuotaPeriodUSec", 100000), ("CPUQuotaPerSecUSec", INFINITY)],
        ),
        ({}, []),
    ],
)
def test_properties_on_v2(resources: dict[str, Any], expected: list[tuple[str, object]]) -> None:
    assert [(item.name, item.value) for item in v2_properties(resources)] == expected


def test_properties_on_v1() -> None:
    resources = {
        "memory": {"limit": 1000, "swap": 2000},
        "cpu": {"shares": 512, "quota": 5000, "period": 10000},
        "blockIO": {"weight": 100},
        "pids": {"limit": 5},
    }
    assert [(item.name, item.value) for item in v1_properties(resources)] == [
        ("MemoryLimit", 1000),
        ("CPUShares", 512),
        ("CPUQuotaPeriodUSec", 10000),
        ("CPUQuotaPerSecUSec", 500000),
        ("BlockIOWeight", 100),
        ("TasksMax", 5),
    ]


@pytest.mark.parametrize(
    ("unified", "pointer"),
    [
        ({"memory.max": "much"}, "memory.max"),
        ({"cpu.max": "1 2 3"}, "cpu.max"),
        ({"memory.oom.group": "2"}, "memory.oom.group"),
    ],
)
def test_unified_value_that_is_none(unified: dict[str, str], pointer: str) -> None:
    with pytest.raises(CgroupError) as caught:
        v2_properties({"unified": unified})
    assert caught.value.pointer == f"/linux/resources/unified/{pointer}"


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("0", b"\1"),
        ("0-3,7", b"\x8f"),
        ("8", b"\0\1"),
        ("0, 2", b"\5"),
        ("63", b"\0" * 7 + b"\x80"),
    ],
)
def test_list_bits(text: str, bits: bytes) -> None:
    assert list_bits(text, "/x") == bits


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1-", "0,,1", "99999"])
def test_not_a_list(text: str) -> None:
    with pytest.raises(CgroupError, match="not a list of numbers"):
        list_bits(text, "/x")


def rules(*entries: dict[str, Any]) -> list[tuple[str, object]]:
    found = device_properties(device_rules({"resources": {"devices": list(entries)}}, ""))
    return [(item.name, item.value) for item in found]


def test_devices() -> None:
    policy, clear, allow = rules({"allow": True, "type": "b", "major": 8, "access": "rw"})
    assert policy == ("DevicePolicy", "strict")
    assert clear == ("DeviceAllow", [])
    assert allow[0] == "DeviceAllow"
    assert isinstance(allow[1], list)
    assert set(allow[1]) >= {
        ("block-8", "rw"),
        ("block-*", "m"),
        ("char-*", "m"),
        ("/dev/char/1:3", "rwm"),
        ("char-136", "rwm"),
    }


@pytest.mark.parametrize(
    "entries",
    [
        [{"allow": True, "access": "rwm"}],
        [{"allow": True, "type": "c", "minor": 3, "access": "r"}],
        [
            {"allow": True, "type": "c", "major": 1, "access": "r"},
            {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "r"},
        ],
    ],
    ids=["everything", "minor of any major", "part of a wider rule"],
)
def test_devices_that_systemd_cannot_express(entries: list[dict[str, Any]]) -> None:
    assert rules(*entries) == [("DevicePolicy", "auto"), ("DeviceAllow", [])]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("TimeoutStopUSec", "uint64 5", UnitProperty("TimeoutStopUSec", "t", 5)),
        ("TimeoutStopSec", "uint64 5", UnitProperty("TimeoutStopUSec", "t", 5000000)),
        ("TimeoutStopSec", "1.5", UnitProperty("TimeoutStopUSec", "t", 1500000)),
        ("CollectMode", "'inactive'", UnitProperty("CollectMode", "s", "inactive")),
        ("Before", "['a.service']", UnitProperty("Before", "as", ["a.service"])),
        ("SendSIGHUP", "true", UnitProperty("SendSIGHUP", "b", True)),
    ],
)
def test_annotations(name: str, text: str, expected: UnitProperty) -> None:
    assert annotated({f"org.systemd.property.{name}": text, "other": "x"}) == [expected]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("X", "1"),
        ("A-B-C", "1"),
        ("Description", "unquoted text"),
        ("TimeoutStopSec", "'a'"),
        ("Étéé", "1"),
    ],
)
def test_wrong_annotations(name: str, text: str) -> None:
    with pytest.raises(CgroupError) as caught:
        annotated({f"org.systemd.property.{name}": text})
    assert caught.value.pointer == f"/annotations/org.systemd.property.{name}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", ("i", 5)),
        ("-0x10", ("i", -16)),
        ("010", ("i", 8)),
        ("1e3", ("d", 1000.0)),
        ("byte 0xff", ("y", 255)),
        ("int64 -5", ("x", -5)),
        ("uint64 18446744073709551615", ("t", 2**64 - 1)),
        ("double 5", ("d", 5.0)),
        ("true", ("b", True)),
        ("'it'", ("s", "it")),
        (r"'a\'b\n\u00e9\\'", ("s", "a'b\né\\")),
        ('"it\'s"', ("s", "it's")),
        ("objectpath '/a'", ("o", "/a")),
        ("signature 'as'", ("g", "as")),
        ("b'hi'", ("ay", b"hi\0")),
        ("[1, 2]", ("ai", [1, 2])),
        ("[uint64 1, 2]", ("at", [1, 2])),
        ("[byte 1, 2]", ("ay", b"\1\2")),
        ("@as []", ("as", [])),
        ("@at [1]", ("at", [1])),
        ("[('a', 1), ('b', 2)]", ("a(si)", [("a", 1), ("b", 2)])),
        ("@(st) ('a', 1)", ("(st)", ("a", 1))),
        ("{'a': 1, 'b': 2}", ("a{si}", {"a": 1, "b": 2})),
        ("@a{sv} {}", ("a{sv}", {})),
        ("<uint32 5>", ("v", ("u", 5))),
        ("{'a': <5>}", ("a{sv}", {"a": ("i", 5)})),
        (" 7 ", ("i", 7)),
    ],
)
def test_gvariant(text: str, expected: tuple[str, object]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5 6",
        "'open",
        "[1, 'a']",
        "[]",
        "{}",
        "()",
        "byte 256",
        "uint64 -1",
        "2147483648",
        "word",
        "@z 1",
        "@ai ['a']",
        "[1",
        r"'\uzzzz'",
        "[" * 100,
        "@(ss) ('a', 'b', 'c')",
    ],
)
def test_not_gvariant(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (each has words of its own)
        parse(text)


def test_bus_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/s")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)
    assert addresses(user=True) == [
        ("unix:path=/s", True),
        ("unix:path=/run/user/7/bus", True),
        ("unix:path=/run/user/7/systemd/private", False),
    ]
    assert addresses(user=False) == [
        ("unix:path=/run/dbus/system_bus_socket", True),
        ("unix:path=/run/systemd/private", False),
    ]


@pytest.mark.parametrize(
    ("address", "paths"),
    [
        ("unix:path=/a%20b,guid=1", ["/a b"]),
        ("unix:abstract=x;unix:path=/y", ["\0x", "/y"]),
        ("tcp:host=localhost,port=1", []),
    ],
)
def test_socket_paths(address: str, paths: list[str]) -> None:
    assert socket_paths(address) == paths
