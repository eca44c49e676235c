"""Many configurations, right and wrong, for tests that compare verdicts; always the same ones."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

_HOOK = {"path": "/bin/hook", "args": ["hook", "a"], "env": ["A=b"], "timeout": 5}
_RANGES = [{"containerID": 0, "hostID": 1000, "size": 10}]
_RATES = [{"major": 8, "minor": 0, "rate": 600}]

#: A configuration with every property of the specification. What one runtime could not take
#: together (the sections of all platforms) is together here: only schemas look at it.
EVERYTHING: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "host",
    "domainname": "domain",
    "annotations": {"org.example.key": "value"},
    "hooks": {
        kind: [copy.deepcopy(_HOOK)]
        for kind in (
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        )
    },
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/data",
            "source": "/srv",
            "options": ["rbind", "ro", "idmap"],
            "uidMappings": copy.deepcopy(_RANGES),
            "gidMappings": copy.deepcopy(_RANGES),
        },
    ],
    "process": {
        "args": ["sh"],
        "commandLine": "cmd",
        "consoleSize": {"height": 24, "width": 80},
        "cwd": "/",
        "env": ["PATH=/bin"],
        "terminal": True,
        "user": {
            "uid": 1,
            "gid": 1,
            "umask": 18,
            "additionalGids": [5, 6],
            "username": "someone",
        },
        "capabilities": {
            kind: ["CAP_KILL"]
            for kind in ("bounding", "permitted", "effective", "inheritable", "ambient")
        },
        "apparmorProfile": "profile",
        "oomScoreAdj": 100,
        "selinuxLabel": "label",
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "noNewPrivileges": True,
        "scheduler": {
            "policy": "SCHED_DEADLINE",
            "nice": 1,
            "priority": 0,
            "flags": ["SCHED_FLAG_RESET_ON_FORK"],
            "runtime": 1024,
            "deadline": 2048,
            "period": 4096,
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 2048}],
        "execCPUAffinity": {"initial": "0-1", "final": "0, 2"},
    },
    "linux": {
        "devices": [
            {
                "type": "c",
                "path": "/dev/fuse",
                "major": 10,
                "minor": 229,
                "fileMode": 438,
                "uid": 0,
                "gid": 0,
            },
            {"type": "p", "path": "/dev/fifo"},
        ],
        "netDevices": {"eth0": {"name": "net0"}},
        "uidMappings": copy.deepcopy(_RANGES),
        "gidMappings": copy.deepcopy(_RANGES),
        "namespaces": [
            {"type": kind} for kind in ("pid", "mount", "ipc", "uts", "user", "cgroup", "time")
        ]
        + [{"type": "network", "path": "/run/netns/a"}],
        "timeOffsets": {
            "monotonic": {"secs": 1, "nanosecs": 2},
            "boottime": {"secs": -1, "nanosecs": 0},
        },
        "cgroupsPath": "/a/b",
        "resources": {
            "unified": {"memory.high": "1000000"},
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            ],
            "pids": {"limit": 100},
            "blockIO": {
                "weight": 10,
                "leafWeight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
                "throttleReadBpsDevice": copy.deepcopy(_RATES),
                "throttleWriteBpsDevice": copy.deepcopy(_RATES),
                "throttleReadIOPSDevice": copy.deepcopy(_RATES),
                "throttleWriteIOPSDevice": copy.deepcopy(_RATES),
            },
            "cpu": {
                "shares": 1024,
                "quota": 1000000,
                "burst": 1000,
                "period": 500000,
                "realtimeRuntime": 950000,
                "realtimePeriod": 1000000,
                "cpus": "0-1",
                "mems": "0",
                "idle": 1,
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 63}],
            "memory": {
                "limit": 1 << 29,
                "reservation": 1 << 29,
                "swap": 1 << 30,
                "kernel": -1,
                "kernelTCP": -1,
                "swappiness": 0,
                "disableOOMKiller": False,
                "useHierarchy": True,
                "checkBeforeUpdate": True,
            },
            "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 5}]},
            "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
        },
        "rootfsPropagation": "slave",
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/agent",
            "listenerMetadata": "data",
            "syscalls": [
                {"names": ["getcwd", "chmod"], "action": "SCMP_ACT_ALLOW"},
                {
                    "names": ["personality"],
                    "action": "SCMP_ACT_TRACE",
                    "errnoRet": 2,
                    "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}],
                },
            ],
        },
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "label",
        "intelRdt": {
            "closID": "group",
            "schemata": ["L3:0=f"],
            "l3CacheSchema": "L3:0=f",
            "memBwSchema": "MB:0=20",
            "enableMonitoring": True,
        },
        "memoryPolicy": {
            "mode": "MPOL_BIND",
            "nodes": "0",
            "flags": ["MPOL_F_STATIC_NODES"],
        },
        "personality": {"domain": "LINUX32", "flags": ["a"]},
    },
    "windows": {
        "layerFolders": ["C:\\layer"],
        "devices": [{"id": "24E552D7", "idType": "class"}],
        "resources": {
            "memory": {"limit": 1},
            "cpu": {
                "count": 1,
                "shares": 1,
                "maximum": 1,
                "affinity": {"mask": 1, "group": 1},
            },
            "storage": {"iops": 1, "bps": 1, "sandboxSize": 1},
        },
        "network": {
            "endpointList": ["a"],
            "allowUnqualifiedDNSQuery": True,
            "DNSSearchList": ["a"],
            "networkSharedContainerName": "a",
            "networkNamespace": "a",
        },
        "credentialSpec": {},
        "servicing": True,
        "ignoreFlushesDuringBoot": True,
        "hyperv": {"utilityVMPath": "a"},
    },
    "solaris": {
        "milestone": "a",
        "limitpriv": "a",
        "maxShmMemory": "a",
        "cappedCPU": {"ncpus": "1"},
        "cappedMemory": {"physical": "1", "swap": "1"},
        "anet": [
            {
                "linkname": "a",
                "lowerLink": "a",
                "allowedAddress": "a",
                "configureAllowedAddress": "a",
                "defrouter": "a",
                "macAddress": "a",
                "linkProtection": "a",
            }
        ],
    },
    "freebsd": {
        "devices": [{"path": "null", "mode": 438}],
        "jail": {
            "parent": "a",
            "host": "new",
            "ip4": "disable",
            "ip4Addr": ["a"],
            "ip6": "inherit",
            "ip6Addr": ["a"],
            "vnet": "inherit",
            "interface": "a",
            "vnetInterfaces": ["a"],
            "sysvmsg": "new",
            "sysvsem": "new",
            "sysvshm": "new",
            "enforceStatfs": 1,
            "allow": {
                "setHostname": True,
                "rawSockets": True,
                "chflags": True,
                "mount": ["a"],
                "quotas": True,
                "socketAf": True,
                "mlock": True,
                "reservedPorts": True,
                "suser": True,
            },
        },
    },
    "zos": {"namespaces": [{"type": "pid", "path": "/a"}]},
    "vm": {
        "hypervisor": {"path": "/a", "parameters": ["a"]},
        "kernel": {"path": "/a", "parameters": ["a"], "initrd": "/a"},
        "image": {"path": "/a", "format": "raw"},
        "hwConfig": {
            "deviceTree": "/a",
            "vcpus": 1,
            "memory": 1,
            "dtdevs": ["a"],
            "iomems": [{"firstGFN": 1, "firstMFN": 1, "nrMFNs": 1}],
            "irqs": [1],
        },
    },
}

STATE: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "id": "a",
    "status": "running",
    "pid": 1,
    "bundle": "/b",
    "annotations": {"a": "b"},
}

FEATURES: dict[str, Any] = {
    "ociVersionMin": "1.0.0",
    "ociVersionMax": "1.3.0",
    "hooks": ["prestart"],
    "mountOptions": ["ro"],
    "annotations": {"a": "b"},
    "potentiallyUnsafeConfigAnnotations": ["a."],
    "linux": {
        "namespaces": ["pid"],
        "capabilities": ["CAP_SYS_ADMIN"],
        "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": True},
        "seccomp": {
            "enabled": True,
            "actions": ["SCMP_ACT_ALLOW"],
            "operators": ["SCMP_CMP_EQ"],
            "archs": ["SCMP_ARCH_ARM"],
            "knownFlags": ["SECCOMP_FILTER_FLAG_LOG"],
            "supportedFlags": ["SECCOMP_FILTER_FLAG_TSYNC"],
        },
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "intelRdt": {"enabled": True},
        "mountExtensions": {"idmap": {"enabled": True}},
        "netDevices": {"enabled": True},
    },
}

#: Values put where they may not belong: one of each type, the bounds of the integers, and what the
#: patterns are near to.
VALUES: tuple[Any, ...] = (
    *(True, False, 0, 1, 5, -1, 1.0, 1.5, 1e400, "", "a", "\n", [], {}, [[]], [1], ["a"], {"a": 1}),
    *(bound + d for bound in (0xFF, 0x1FF, 0xFFFF, 0xFFFFFFFF, (1 << 63) - 1) for d in (0, 1)),
    *((1 << 64) - 1, 1 << 64, 1 << 70, -(1 << 31), -(1 << 31) - 1, -(1 << 63), -(1 << 63) - 1),
    *("RLIMIT_CPU", "RLIMIT_CPU\n", "RLIMIT_", "RLIMIT_cpu", "CAP_BPF", "CAP_", "CAP_é"),
    *("c", "cb", "c\n", "p", "4KB", "4kB", "04KB", "KB", "12GB", "12GB\n", "1TB", "1é1KB"),
    *(
        "MB:",
        "MB:0=1\n",
        "MB",
        "0-3, 7",
        "0-3;7",
        "٣",
        "rslave",
        "private",
        "new",
        "disable",
        "raw",
    ),
    *("SCMP_ACT_LOG", "SCMP_ARCH_S390", "SCMP_CMP_GT", "MPOL_LOCAL", "SCHED_RR", "pid", "running"),
)

_NAMES = ("", "\n", "a", "unknown", "path", "type", "options", "limit", "name")


def paths(document: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every value in a document, the document's own, (), first."""
    yield path
    items: Any = ()
    if isinstance(document, dict):
        items = document.items()
    elif isinstance(document, list):
        items = enumerate(document)
    for name, value in items:
        yield from paths(value, (*path, name))


def at(document: Any, path: Path) -> Any:
    """Return the value at a path."""
    for part in path:
        document = document[part]
    return document


def mutated(document: Any, source: random.Random) -> Any:
    """Return a copy of a document in which one value was replaced, removed, added or moved."""
    document = copy.deepcopy(document)
    places = list(paths(document))
    path = source.choice(places)
    what = source.random()
    if what < 0.6 and path:
        at(document, path[:-1])[path[-1]] = copy.deepcopy(source.choice(VALUES))
    elif what < 0.75 and path:
        del at(document, path[:-1])[path[-1]]
    elif what < 0.9:
        container = at(document, path)
        if isinstance(container, dict):
            container[source.choice(_NAMES)] = copy.deepcopy(source.choice(VALUES))
        elif isinstance(container, list):
            container.append(copy.deepcopy(source.choice(VALUES)))
    elif path:
        at(document, path[:-1])[path[-1]] = copy.deepcopy(at(document, source.choice(places)))
    return document


def corpus(document: dict[str, Any], count: int, seed: int) -> Iterator[Any]:
    """Yield a document and then variants of it, most with one change, some with several.

    A variant has the plain members and one other member of the document, so that it is small.
    """
    source = random.Random(seed)
    yield document
    weights = {name: sum(1 for _ in paths(value)) for name, value in document.items()}
    for kept in source.choices(list(weights), list(weights.values()), k=count):
        variant = {
            name: value
            for name, value in document.items()
            if name == kept or not isinstance(value, (dict, list))
        }
        for _ in range(source.choice((1, 1, 1, 2, 4))):
            variant = mutated(variant, source)
        yield variant
