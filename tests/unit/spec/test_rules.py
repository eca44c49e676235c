"""The rules that a schema cannot say: what breaks each, and where it is reported."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from helpers.config_corpus import EVERYTHING, corpus
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.spec import rules
from pyrunc.spec.rules_linux import bad_list, sysctl_path
from pyrunc.spec.template import default_config
from pyrunc.spec.validate import schema_violations, violations
from pyrunc.spec.version import refusal

MISSING = object()


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The starting configuration with values set, added ("-" at the end) or removed (MISSING)."""
    config = default_config()
    config["linux"]["namespaces"] = [
        {"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")
    ]
    for pointer, value in changes.items():
        *parents, last = pointer.split("/")[1:]
        node: Any = config
        for part in parents:
            node = (
                node[int(part)] if isinstance(node, list) else node.setdefault(unescape(part), {})
            )
        if value is MISSING:
            del node[int(last) if isinstance(node, list) else last]
        elif isinstance(node, list):
            node.append(value) if last == "-" else node.__setitem__(int(last), value)
        else:
            node[unescape(last)] = value
    return config


def unescape(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def bind(**members: Any) -> dict[str, Any]:
    return {"destination": "/data", "source": "/srv", "options": ["bind"], **members}


def ranges(*entries: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"containerID": c, "hostID": h, "size": s} for c, h, s in entries]


USER = {"/linux/namespaces/-": {"type": "user"}}
MAPPED = {
    **USER,
    "/linux/uidMappings": ranges((0, 1000, 10)),
    "/linux/gidMappings": ranges((0, 1000, 10)),
}
SECCOMP = "/linux/seccomp"
DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000, "period": 4000}


def notify(*names: str) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_NOTIFY"}


#: Changes to the starting configuration, and the pointers of what they break, each with words from
#: the message.
BROKEN: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"/ociVersion": "0.6.0"}, {"/ociVersion": "0.6.0 is not supported"}),
    ({"/root": MISSING}, {"/root": "required"}),
    ({"/root/path": ""}, {"/root/path": "empty"}),
    # mounts
    ({"/mounts/-": {"destination": "", "type": "tmpfs"}}, {"/mounts/7/destination": "empty"}),
    ({"/mounts/-": {"destination": "/a"}}, {"/mounts/7/type": "required"}),
    (
        {"/mounts/-": {"destination": "/a", "options": ["bind"]}},
        {"/mounts/7/source": "required for a bind mount"},
    ),
    (
        {"/mounts/-": {"destination": "/a", "type": "proc", "options": ["tmpcopyup"]}},
        {"/mounts/7/options/0": "type tmpfs"},
    ),
    (
        {"/mounts/-": bind(uidMappings=ranges((0, 1, 1)))},
        {"/mounts/7/gidMappings": "since the mount has uidMappings"},
    ),
    (
        {"/mounts/-": bind(gidMappings=ranges((0, 1, 1)))},
        {"/mounts/7/uidMappings": "since the mount has gidMappings"},
    ),
    (
        {"/mounts/-": bind(options=["rbind", "ridmap"])},
        {"/mounts/7/options/1": "no user namespace"},
    ),
    (
        {
            "/mounts/-": {
                "destination": "/a",
                "type": "tmpfs",
                "uidMappings": ranges((0, 1, 1)),
                "gidMappings": ranges((0, 1, 1)),
            }
        },
        {"/mounts/7": "bind mounts only"},
    ),
    (
        {"/mounts/-": bind(uidMappings=ranges((0, 1, 0)), gidMappings=ranges((0, 1, 1)))},
        {"/mounts/7/uidMappings/0/size": "at least 1"},
    ),
    # process
    ({"/process/cwd": "home"}, {"/process/cwd": "absolute"}),
    ({"/process/cwd": ""}, {"/process/cwd": "absolute"}),
    ({"/process/args": []}, {"/process/args": "program"}),
    ({"/process/args": MISSING}, {"/process/args": "program"}),
    ({"/process/env/-": "A"}, {"/process/env/2": 'NAME=VALUE, not "A"'}),
    ({"/process/env/-": "=A"}, {"/process/env/2": "NAME=VALUE"}),
    ({"/process/user/uid": 4294967295}, {"/process/user/uid": "is no id"}),
    ({"/process/user/gid": 4294967295}, {"/process/user/gid": "is no id"}),
    (
        {"/process/user/additionalGids": [1, 4294967295]},
        {"/process/user/additionalGids/1": "is no id"},
    ),
    (
        {"/process/rlimits/-": {"type": "RLIMIT_FOO", "soft": 1, "hard": 1}},
        {"/process/rlimits/1/type": "RLIMIT_FOO is not a limit"},
    ),
    (
        {"/process/rlimits/-": {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}},
        {"/process/rlimits/1/type": "twice"},
    ),
    (
        {"/process/rlimits/-": {"type": "RLIMIT_CPU", "soft": 2, "hard": 1}},
        {"/process/rlimits/1/soft": "hard limit, 1"},
    ),
    (
        {"/process/consoleSize": {"height": 65536, "width": 65535}},
        {"/process/consoleSize/height": "65535"},
    ),
    ({"/process/oomScoreAdj": 1001}, {"/process/oomScoreAdj": "-1000 to 1000"}),
    ({"/process/oomScoreAdj": -1001}, {"/process/oomScoreAdj": "-1000 to 1000"}),
    (
        {"/process/ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}},
        {"/process/ioPriority/priority": "0 (highest) to 7"},
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_OTHER", "nice": 20}},
        {"/process/scheduler/nice": "-20 to 19"},
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_BATCH", "priority": 1}},
        {"/process/scheduler/priority": "not for SCHED_BATCH"},
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_FIFO"}},
        {"/process/scheduler/priority": "1 to 99"},
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_RR", "priority": 100, "period": 1}},
        {
            "/process/scheduler/priority": "1 to 99",
            "/process/scheduler/period": "SCHED_DEADLINE",
        },
    ),
    (
        {"/process/scheduler": {**DEADLINE, "runtime": 1023}},
        {"/process/scheduler/runtime": "1024 ns"},
    ),
    (
        {"/process/scheduler": {**DEADLINE, "deadline": 1999}},
        {"/process/scheduler/deadline": "below runtime"},
    ),
    (
        {"/process/scheduler": {**DEADLINE, "period": 2999}},
        {"/process/scheduler/period": "below deadline"},
    ),
    (
        {"/process/execCPUAffinity": {"initial": "3-1", "final": "1024"}},
        {
            "/process/execCPUAffinity/initial": "wrong way round",
            "/process/execCPUAffinity/final": "a CPU above 1023",
        },
    ),
    # names, hooks, annotations
    ({"/hostname": "h" * 65}, {"/hostname": "64 bytes"}),
    ({"/hostname": "é" * 33}, {"/hostname": "64 bytes"}),
    ({"/linux/namespaces/3": MISSING}, {"/hostname": "uts namespace"}),
    (
        {"/hostname": "", "/domainname": "d", "/linux/namespaces/3": MISSING},
        {"/domainname": "uts namespace"},
    ),
    ({"/hooks": {"poststop": [{"path": "hook"}]}}, {"/hooks/poststop/0/path": "absolute"}),
    ({"/hooks": {"startContainer": [{"path": ""}]}}, {"/hooks/startContainer/0/path": "absolute"}),
    ({"/annotations": {"": "a"}}, {"/annotations/": "name"}),
    # namespaces and mappings
    ({"/linux/namespaces/-": {"type": "pid"}}, {"/linux/namespaces/5/type": "pid namespace is"}),
    (
        {"/linux/namespaces/-": {"type": "cgroup", "path": "ns"}},
        {"/linux/namespaces/5/path": "absolute"},
    ),
    (
        {"/linux/uidMappings": ranges((0, 1000, 1))},
        {"/linux/uidMappings": "needs a user namespace"},
    ),
    (USER, {"/linux/uidMappings": "required", "/linux/gidMappings": "required"}),
    (
        {**MAPPED, "/linux/uidMappings": ranges((1, 1000, 1))},
        {"/linux/uidMappings": "map id 0"},
    ),
    (
        {**MAPPED, "/linux/uidMappings": ranges((0, 1000, 10), (9, 2000, 1))},
        {"/linux/uidMappings/1/containerID": "overlaps"},
    ),
    (
        {**MAPPED, "/linux/gidMappings": ranges((0, 1000, 10), (10, 995, 6))},
        {"/linux/gidMappings/1/hostID": "overlaps"},
    ),
    (
        {**MAPPED, "/linux/gidMappings": ranges((0, 4294967295, 1))},
        {"/linux/gidMappings/0/size": "hostID 4294967295 ends after"},
    ),
    (
        {**MAPPED, "/linux/uidMappings": ranges(*((i, i, 1) for i in range(341)))},
        {"/linux/uidMappings": "340 ranges"},
    ),
    # time
    ({"/linux/timeOffsets/monotonic": {"secs": 1}}, {"/linux/timeOffsets": "time namespace"}),
    (
        {
            "/linux/timeOffsets/boottime": {"secs": 1},
            "/linux/namespaces/-": {"type": "time", "path": "/run/t"},
        },
        {"/linux/timeOffsets": "keeps its own"},
    ),
    (
        {
            "/linux/timeOffsets": {"real/time": {}, "boottime": {"nanosecs": 1000000000}},
            "/linux/namespaces/-": {"type": "time"},
        },
        {
            "/linux/timeOffsets/real~1time": "no such clock",
            "/linux/timeOffsets/boottime/nanosecs": "below 1000000000",
        },
    ),
    # devices
    ({"/linux/devices": [{"type": "p", "path": "fifo"}]}, {"/linux/devices/0/path": "absolute"}),
    (
        {"/linux/devices": [{"type": "u", "path": "/a", "minor": 0}]},
        {"/linux/devices/0/major": "required for a device of type u"},
    ),
    (
        {"/linux/devices": [{"type": "b", "path": "/a", "major": 4096, "minor": -1}]},
        {"/linux/devices/0/major": "0 to 4095", "/linux/devices/0/minor": "0 to 1048575"},
    ),
    (
        {"/linux/netDevices": {"eth0": {}}, "/linux/namespaces/1": MISSING},
        {"/linux/netDevices": "network namespace"},
    ),
    (
        {"/linux/netDevices": {"a/b": {"name": "x"}}},
        {"/linux/netDevices/a~1b": "1 to 15 bytes"},
    ),
    (
        {"/linux/netDevices": {"eth0": {"name": "n" * 16}}},
        {"/linux/netDevices/eth0/name": "1 to 15 bytes"},
    ),
    (
        {"/linux/netDevices": {"eth0": {"name": "a%d%d"}}},
        {"/linux/netDevices/eth0/name": "one %d"},
    ),
    (
        {"/linux/netDevices": {"eth0": {"name": "a%s"}}},
        {"/linux/netDevices/eth0/name": "one %d"},
    ),
    (
        {"/linux/netDevices": {"eth0": {"name": "eth1"}, "eth1": {}}},
        {"/linux/netDevices/eth1/name": 'to be named "eth1"'},
    ),
    # paths
    ({"/linux/maskedPaths/-": "proc"}, {"/linux/maskedPaths/11": "absolute"}),
    ({"/linux/readonlyPaths/-": ""}, {"/linux/readonlyPaths/5": "absolute"}),
    (
        {"/linux/namespaces/4": MISSING},
        {
            "/linux/maskedPaths": "mount namespace",
            "/linux/readonlyPaths": "mount namespace",
        },
    ),
    # sysctl
    ({"/linux/sysctl": {"vm.swappiness": "1"}}, {"/linux/sysctl/vm.swappiness": "whole host"}),
    (
        {"/linux/sysctl": {"kernel/sem": "1"}, "/linux/namespaces/2": MISSING},
        {
            "/linux/sysctl/kernel~1sem": "type ipc",
        },
    ),
    (
        {"/linux/sysctl": {"fs.mqueue.msg_max": "1"}, "/linux/namespaces/2": MISSING},
        {"/linux/sysctl/fs.mqueue.msg_max": "type ipc"},
    ),
    (
        {"/linux/sysctl": {"net.a.b": "1"}, "/linux/namespaces/1": MISSING},
        {"/linux/sysctl/net.a.b": "type network"},
    ),
    ({"/linux/sysctl": {"kernel.hostname": "a"}}, {"/linux/sysctl/kernel.hostname": "/hostname"}),
    (
        {
            "/hostname": MISSING,
            "/linux/sysctl": {"kernel.domainname": "a"},
            "/linux/namespaces/3": MISSING,
        },
        {"/linux/sysctl/kernel.domainname": "type uts"},
    ),
    ({"/linux/sysctl": {"net/../kernel/x": "a"}}, {"/linux/sysctl/net~1..~1kernel~1x": "name of"}),
    ({"/linux/sysctl": {"": "a"}}, {"/linux/sysctl/": "name of"}),
    # others
    ({"/linux/intelRdt": {"closID": ".."}}, {"/linux/intelRdt/closID": "directory"}),
    ({"/linux/intelRdt": {"closID": "/a"}}, {"/linux/intelRdt/closID": "directory"}),
    (
        {"/linux/intelRdt": {"schemata": ["L3:0=1", "a\nb"]}},
        {"/linux/intelRdt/schemata/1": "one line"},
    ),
    ({"/linux/memoryPolicy": {}}, {"/linux/memoryPolicy/mode": "required"}),
    (
        {"/linux/memoryPolicy": {"mode": "MPOL_BIND", "nodes": " ,"}},
        {"/linux/memoryPolicy/nodes": "at least one node for MPOL_BIND"},
    ),
    (
        {"/linux/memoryPolicy": {"mode": "MPOL_LOCAL", "nodes": "0"}},
        {"/linux/memoryPolicy/nodes": "empty for MPOL_LOCAL"},
    ),
    (
        {"/linux/memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-x"}},
        {"/linux/memoryPolicy/nodes": "0-3,7"},
    ),
    (
        {
            "/linux/memoryPolicy": {
                "mode": "MPOL_PREFERRED",
                "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"],
            }
        },
        {"/linux/memoryPolicy/flags": "exclude each other"},
    ),
    (
        {"/linux/memoryPolicy": {"mode": "MPOL_LOCAL", "flags": ["MPOL_F_NUMA_BALANCING"]}},
        {"/linux/memoryPolicy/flags": "MPOL_BIND"},
    ),
    (
        {"/linux/personality": {"flags": ["ADDR_NO_RANDOMIZE"]}},
        {"/linux/personality/domain": "required", "/linux/personality/flags": "empty"},
    ),
    # seccomp
    (
        {SECCOMP: {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "a"}},
        {SECCOMP + "/listenerMetadata": "needs listenerPath"},
    ),
    (
        {SECCOMP: {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}},
        {SECCOMP + "/defaultErrnoRet": "not for SCMP_ACT_ALLOW"},
    ),
    (
        {SECCOMP: {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4095}},
        {SECCOMP + "/defaultErrnoRet": "at most 4094"},
    ),
    (
        {SECCOMP: {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/a"}},
        {SECCOMP + "/defaultAction": "cannot be the default"},
    ),
    (
        {SECCOMP: {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [notify("mkdir")]}},
        {SECCOMP + "/syscalls/0/action": "listenerPath"},
    ),
    (
        {
            SECCOMP: {
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": "/a",
                "syscalls": [notify("mkdir", "write")],
            }
        },
        {SECCOMP + "/syscalls/0/names/1": "write"},
    ),
    (
        {
            SECCOMP: {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {
                        "names": ["a", ""],
                        "action": "SCMP_ACT_TRACE",
                        "errnoRet": 65536,
                        "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}],
                    },
                    {"names": ["a"], "action": "SCMP_ACT_KILL", "errnoRet": 1},
                ],
            }
        },
        {
            SECCOMP + "/syscalls/0/names/1": "empty",
            SECCOMP + "/syscalls/0/errnoRet": "65535",
            SECCOMP + "/syscalls/0/args/0/index": "0 to 5",
            SECCOMP + "/syscalls/1/errnoRet": "not for SCMP_ACT_KILL",
        },
    ),
    # resources
    (
        {
            "/linux/resources/devices": [
                {"allow": True, "type": "p", "access": "r"},
                {"allow": True},
                {"allow": True, "access": "x", "major": -2, "minor": 1 << 32},
            ]
        },
        {
            "/linux/resources/devices/0/type": "expected a (all)",
            "/linux/resources/devices/1/access": "r, w and m",
            "/linux/resources/devices/2/access": 'not "x"',
            "/linux/resources/devices/2/major": "-1 (all)",
            "/linux/resources/devices/2/minor": "4294967295",
        },
    ),
    (
        {"/linux/resources/memory": {"limit": -2, "swappiness": 101}},
        {
            "/linux/resources/memory/limit": "-1 (no limit)",
            "/linux/resources/memory/swappiness": "0 to 100",
        },
    ),
    (
        {"/linux/resources/memory": {"limit": 2, "swap": 1}},
        {"/linux/resources/memory/swap": "below limit, 2"},
    ),
    (
        {"/linux/resources/cpu": {"quota": 10, "burst": 11, "idle": 2}},
        {
            "/linux/resources/cpu/burst": "above quota, 10",
            "/linux/resources/cpu/idle": "0 or 1",
        },
    ),
    ({"/linux/resources/pids": {"limit": -2}}, {"/linux/resources/pids/limit": "no limit"}),
    (
        {
            "/linux/resources/blockIO": {
                "weight": 9,
                "leafWeight": 1001,
                "weightDevice": [{"major": 1, "minor": -1}],
                "throttleReadBpsDevice": [{"major": 1, "minor": 1}],
                "throttleWriteIOPSDevice": [{"major": -1, "minor": 1, "rate": 1}],
            }
        },
        {
            "/linux/resources/blockIO/weight": "10 to 1000",
            "/linux/resources/blockIO/leafWeight": "10 to 1000",
            "/linux/resources/blockIO/weightDevice/0": "weight, leafWeight",
            "/linux/resources/blockIO/weightDevice/0/minor": "from 0",
            "/linux/resources/blockIO/throttleReadBpsDevice/0/rate": "required",
            "/linux/resources/blockIO/throttleWriteIOPSDevice/0/major": "from 0",
        },
    ),
    (
        {
            "/linux/resources/network": {"priorities": [{"name": "a b", "priority": 1}]},
            "/linux/resources/rdma": {"m/1": {}},
            "/linux/resources/unified": {"memory/high": "1", "cgroup": "1"},
        },
        {
            "/linux/resources/network/priorities/0/name": "network device",
            "/linux/resources/rdma/m~11": "hcaHandles",
            "/linux/resources/unified/memory~1high": "CONTROLLER.PARAMETER",
            "/linux/resources/unified/cgroup": "CONTROLLER.PARAMETER",
        },
    ),
    # text
    ({"/process/args": ["a\0"]}, {"/process/args/0": "NUL"}),
    ({"/linux/sysctl": {"net.a": "\0"}}, {"/linux/sysctl/net.a": "NUL"}),
    ({"/annotations": {"a\0b": "c"}}, {"/annotations": "NUL"}),
    ({"/unknown": [{"a": "\ud800"}]}, {"/unknown/0/a": "surrogate"}),
]


@pytest.mark.parametrize(("changes", "expected"), BROKEN, ids=",".join)
def test_a_broken_rule_is_reported_where_it_is_broken(
    changes: dict[str, Any], expected: dict[str, str]
) -> None:
    config = changed(changes)
    assert schema_violations(config) == [], "a matter for the schema, not for a rule"
    found = violations(config)
    assert {v.pointer for v in found} == set(expected), found
    for violation in found:
        assert expected[violation.pointer] in violation.message
    assert len(found) == len(expected)


#: What might be taken for wrong, and is not.
ALLOWED: list[dict[str, Any]] = [
    {},
    {"/process": MISSING},
    {"/linux": MISSING, "/hostname": MISSING},
    {"/mounts/-": {"destination": "relative", "type": "tmpfs"}},
    {"/mounts/-": {"destination": "/a", "options": ["remount", "ro"]}},
    {"/mounts/-": {"destination": "/a", "type": "tmpfs", "options": ["size=1k", "tmpcopyup"]}},
    {"/mounts/-": bind(options=["rbind", "rro", "rslave", "copy-symlink", "defaults"])},
    {**MAPPED, "/mounts/-": bind(options=["bind", "idmap"])},
    {"/mounts/-": bind(uidMappings=ranges((0, 1, 1)), gidMappings=ranges((0, 1, 1)))},
    {"/mounts/-": bind(uidMappings=[], gidMappings=[])},
    MAPPED,
    {"/linux/namespaces/-": {"type": "user", "path": "/proc/1/ns/user"}},
    {**MAPPED, "/linux/namespaces/-": {"type": "user", "path": "/proc/1/ns/user"}},
    {"/linux/uidMappings": []},
    {"/linux/namespaces/0": {"type": "pid", "path": ""}},
    {"/linux/timeOffsets": {}},
    {"/process/env/-": "A="},
    {"/process/env/-": "A=b=c"},
    {"/process/terminal": False, "/process/consoleSize": {"height": 1 << 20, "width": 0}},
    {"/process/capabilities/bounding/-": "CAP_UNKNOWN"},
    {"/process/scheduler": DEADLINE},
    {"/process/scheduler": {**DEADLINE, "period": 0}},
    {"/process/scheduler": {"policy": "SCHED_FIFO", "priority": 99, "nice": -20}},
    {"/process/execCPUAffinity": {"initial": "", "final": " 0-3, 7,"}},
    {"/linux/netDevices": {"eth0": {"name": "net%d"}, "eth1": {"name": "net%d"}}},
    {"/linux/sysctl": {"net/ipv4/conf/eth0.1/forwarding": "1", "kernel.domainname": "a"}},
    {"/linux/intelRdt": {"closID": "/"}},
    {"/linux/memoryPolicy": {"mode": "MPOL_PREFERRED"}},
    {"/linux/memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1,3"}},
    {"/linux/personality": {"domain": "LINUX", "flags": []}},
    {"/linux/devices": [{"type": "p", "path": "/run/fifo", "major": -1}]},
    {"/linux/resources/devices": [{"allow": True, "type": "a", "access": "mrw", "major": -1}]},
    {"/linux/resources/memory": {"limit": -1, "swap": -1}},
    {"/linux/resources/memory": {"limit": 2, "swap": 0}},
    {"/linux/resources/cpu": {"quota": -1, "burst": 5}},
    {"/linux/resources/blockIO": {"weight": 0}},
    {"/linux/resources/unified": {"hugetlb.1GB.max": "1"}},
    {"/windows": {"layerFolders": ["C:\\a"]}},
    {"/ociVersion": "1.0.2-dev"},
]


@pytest.mark.parametrize("changes", ALLOWED, ids=",".join)
def test_what_is_allowed_is_not_reported(changes: dict[str, Any]) -> None:
    assert violations(changed(changes)) == []


def test_all_violations_are_reported_those_of_the_schema_and_those_of_rules() -> None:
    config = changed(
        {
            "/process/rlimits/-": {"type": "RLIMIT_CPU", "soft": "1", "hard": 1},
            "/process/rlimits/0": {"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1},
            "/linux/devices": [{"type": "c", "path": "a", "major": "1", "minor": 1}],
            "/mounts/-": {"destination": 1},
        }
    )
    assert [v.pointer for v in violations(config)] == [
        "/mounts/7/destination",
        "/process/rlimits/1/soft",
        "/linux/devices/0/major",
        "/process/rlimits/0/soft",
        "/linux/devices/0/path",
    ]


def test_the_rules_are_applied_though_what_is_required_at_the_top_is_missing() -> None:
    config = changed({"/ociVersion": MISSING, "/hostname": "h" * 65})
    assert [v.pointer for v in violations(config)] == ["/ociVersion", "/hostname"]
    process = {"args": []}
    assert [v.pointer for v in violations(process, "process")] == ["/cwd", "/args"]


def test_a_rule_does_not_miss_what_broke_the_schema() -> None:
    config = changed({"/linux/namespaces": 1})
    assert [v.pointer for v in violations(config)] == ["/linux/namespaces"]


def test_a_process_document_has_pointers_of_its_own() -> None:
    process = {"cwd": "a", "args": ["sh"], "env": ["x"], "user": {"uid": "0"}}
    assert [v.pointer for v in violations(process, "process")] == ["/user/uid", "/cwd", "/env/0"]


def test_no_document_is_too_strange_for_words() -> None:
    for config in corpus(EVERYTHING, 1500, seed=19):
        assert bool(schema_violations(config)) <= bool(violations(config))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*EVERYTHING, *EVERYTHING["linux"], *EVERYTHING["process"], "a"]),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
def test_no_json_is_too_strange_for_words(document: Any) -> None:
    for name in ("config", "process", "state", "features"):
        violations(copy.deepcopy(document), name)


def test_rules_are_for_documents_that_may_not_be_changed() -> None:
    config = changed({})
    before = copy.deepcopy(config)
    violations(config)
    rules.broken(config)
    assert config == before


@pytest.mark.parametrize(
    "version",
    ["1.0.0", "1.0.2-dev", "1.0.0-rc5", "1.1.0-rc.1", "1.2.1+dev", "1.3.0", "1.3.9", "1.0.10"],
)
def test_versions_that_are_accepted(version: str) -> None:
    assert refusal(version) is None


@pytest.mark.parametrize("version", ["0.6.0", "0.0.0", "1.4.0", "1.10.0-dev", "2.0.0", "10.0.0"])
def test_versions_that_are_not_supported(version: str) -> None:
    assert "1.0 to 1.3" in str(refusal(version))


@pytest.mark.parametrize(
    "version",
    [
        *("", "1", "1.0", "1.0.0.0", "v1.0.0", "1.0.0-", "1.0.0+", "01.0.0", "1.0.x", "1.-1.0"),
        *("1.٣.0", "1.0.0\n", " 1.0.0", "1.0.0-a..b", "1.0.0-é", "1.0." + "1" * 5000),
    ],
)
def test_versions_that_are_none(version: str) -> None:
    assert "such as 1.3.0" in str(refusal(version))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("kernel", "kernel"),
        ("net/..", None),
        ("net.//.x", None),
        ("/etc/passwd", None),
        ("", None),
        ("net.", None),
    ],
)
def test_names_of_kernel_parameters(name: str, path: str | None) -> None:
    assert sysctl_path(name) == path


@given(st.text(alphabet="ab./", max_size=12))
def test_a_kernel_parameter_never_leads_out(name: str) -> None:
    path = sysctl_path(name)
    if path is not None:
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))


@pytest.mark.parametrize("text", ["", "0", "0-3,7", " 1 , 2 ", ",", "1023", "007"])
def test_lists_of_numbers_that_are_right(text: str) -> None:
    assert bad_list(text, "CPU") is None


@pytest.mark.parametrize(
    "text", ["-", "1-", "-1", "a", "1-2-3", "3-2", "1024", "1 2", "1;2", "٣", "9" * 5000, "0 - 1"]
)
def test_lists_of_numbers_that_are_wrong(text: str) -> None:
    assert bad_list(text, "CPU") is not None


def test_warnings_are_about_what_is_allowed_and_will_not_be_as_written() -> None:
    config = changed(
        {
            "/mounts/-": {"destination": "a", "type": "tmpfs", "options": ["size=1k"]},
            "/mounts/0": bind(options=["ro", "size=1k", "rbind"]),
            "/process/capabilities/effective/-": "CAP_UNKNOWN",
        }
    )
    assert violations(config) == []
    assert [v.pointer for v in rules.warnings(config)] == [
        "/mounts/0/options/1",
        "/mounts/7/destination",
        "/process/capabilities/effective/3",
    ]
    assert rules.warnings(changed({"/process": MISSING})) == []
