"""The variants of each part of a config. Each variant is a function that changes a base config.

`@` in a string stands for the directory of the bundle, since that has no fixed place; beside it is
`tree`, a directory with a mount below.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from helpers.seccomp_profiles import engine_profile
from helpers.unprivileged import COUNT, own_subordinate_ids

Config = dict[str, Any]
Variant = Callable[[Config], None]

#: An unprivileged user has all containers in a user namespace.
UNPRIVILEGED = os.geteuid() != 0

CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
_DEFAULT_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL"]
_MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
]
# Only v1 has it, and refuses it to nobody.
_SWAPPINESS = {"swappiness": 10} if os.path.ismount("/sys/fs/cgroup/memory") else {}
_READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def mount(destination: str, source: str, kind: str, *options: str) -> Config:
    return {"destination": destination, "source": source, "type": kind, "options": list(options)}


def bind(destination: str, source: str, *options: str) -> Config:
    return mount(destination, source, "none", *options)


def base() -> Config:
    """What engines give when nothing is asked for."""
    config: Config = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sh", "/probe"],
            "env": ["PATH=/bin", "NAME=value"],
            "cwd": "/",
            "capabilities": {
                name: list(_DEFAULT_CAPABILITIES) for name in ("bounding", "effective", "permitted")
            },
        },
        "mounts": [
            mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            mount(
                "/dev/pts",
                "devpts",
                "devpts",
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
            ),
            mount(
                "/dev/shm", "shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"
            ),
            mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        ],
        "linux": {
            "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }
    if UNPRIVILEGED:
        config["linux"]["namespaces"].append({"type": "user"})
        for name, own in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
            config["linux"][name] = [
                {"containerID": 0, "hostID": own, "size": 1},
                {"containerID": 1, "hostID": own_subordinate_ids(), "size": COUNT},
            ]
    return config


def _nothing(config: Config) -> None:
    pass


def _mounts(*mounts: Config) -> Variant:
    return lambda config: config["mounts"].extend(deepcopy(list(mounts)))


def _process(**fields: Any) -> Variant:
    return lambda config: config["process"].update(deepcopy(fields))


def _linux(**fields: Any) -> Variant:
    return lambda config: config["linux"].update(deepcopy(fields))


def _capabilities(**sets: list[str]) -> Variant:
    return _process(capabilities=sets)


def _namespaces(*add: str, without: tuple[str, ...] = ()) -> Variant:
    def change(config: Config) -> None:
        kept = [n for n in config["linux"]["namespaces"] if n["type"] not in without]
        config["linux"]["namespaces"] = [*kept, *({"type": name} for name in add)]
        if "network" in without:  # sysfs belongs to the network namespace of its mounter
            config["mounts"] = [m for m in config["mounts"] if m["destination"] != "/sys"]
            config["mounts"].append(bind("/sys", "/sys", "rbind", "ro"))

    return change


def _joined(config: Config) -> None:
    """Namespaces by path: those of the tests, so that there is something to compare with."""
    for namespace in config["linux"]["namespaces"]:
        if namespace["type"] in ("ipc", "uts"):
            namespace["path"] = f"/proc/{os.getpid()}/ns/{namespace['type']}"


def _user_namespace(config: Config) -> None:
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"]["uidMappings"] = deepcopy(mapping)
    config["linux"]["gidMappings"] = deepcopy(mapping)
    config["linux"]["namespaces"].append({"type": "user"})


def _hooks(*names: str) -> Variant:
    """Two hooks of each kind that write what they see to a log; see `runtimes.HOOK`.

    startContainer hooks are resolved in the container, all others on the host.
    """

    def hook(name: str, number: str) -> Config:
        path, log = ("/hook", "/log") if name == "startContainer" else ("@hook", "@log")
        return {
            "path": path,
            "args": ["hook", name, number],
            "env": [f"LOG={log}", "PATH=/bin:/usr/bin"],
        }

    def change(config: Config) -> None:
        config["hooks"] = {name: [hook(name, "first"), hook(name, "second")] for name in names}

    return change


def _rlimits(**limits: tuple[int, int]) -> Variant:
    return _process(
        rlimits=[{"type": f"RLIMIT_{n}", "soft": s, "hard": h} for n, (s, h) in limits.items()]
    )


def _device(path: str, kind: str, major: int, minor: int, **more: Any) -> Config:
    return {"path": path, "type": kind, "major": major, "minor": minor, **more}


def _readonly_root(config: Config) -> None:
    config["root"]["readonly"] = True


def _hostname(config: Config) -> None:
    """Only with a uts namespace of its own may a config name the host."""
    if {"type": "uts"} in config["linux"]["namespaces"]:
        config["hostname"] = "differential"
        config["domainname"] = "test.example"
        config["ociVersion"] = "1.1.0"


def _sysctl(config: Config) -> None:
    own = {n["type"] for n in config["linux"]["namespaces"] if "path" not in n}
    wanted = {
        "network": {"net.ipv4.ip_forward": "1", "net/core/somaxconn": "1234"},
        "ipc": {"kernel.msgmax": "9000", "kernel.shm_rmid_forced": "1"},
    }
    config["linux"]["sysctl"] = {
        key: value for name, keys in wanted.items() if name in own for key, value in keys.items()
    }


def _resources(**resources: Any) -> Variant:
    """Resources, with the cgroup mounted where the probe looks for what came of them."""

    def change(config: Config) -> None:
        config["linux"]["resources"] = deepcopy(resources)
        if not any(m["type"] == "cgroup" for m in config["mounts"]):
            config["mounts"].append(
                mount("/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "ro")
            )

    return change


def _seccomp(**profile: Any) -> Variant:
    return _linux(seccomp=profile)


DIMENSIONS: dict[str, dict[str, Variant]] = {
    # Namespaces come first: later variants look at them.
    "namespaces": {
        "usual": _nothing,
        "cgroup too": _namespaces("cgroup"),
        "user": _user_namespace,
        "host network": _namespaces(without=("network",)),
        "host ipc and uts": _namespaces(without=("ipc", "uts")),
        "host pid": _namespaces(without=("pid",)),
        "joined": _joined,
    },
    "mounts": {
        "usual": _nothing,
        "tmpfs with options": _mounts(
            mount(
                "/mnt",
                "scratch",
                "tmpfs",
                "noexec",
                "size=1m",
                "nr_inodes=99",
                "mode=0711",
                "uid=7",
                "gid=8",
            )
        ),
        "bind": _mounts(bind("/mnt", "@source", "bind", "ro", "nosuid", "nodev")),
        "bind of a tree": _mounts(bind("/mnt", "@source", "rbind", "rslave", "noexec")),
        "bind of a file": _mounts(bind("/etc/file", "@source/file", "bind", "ro")),
        "new destinations": _mounts(
            bind("/new/deep/directory", "@source", "bind"),
            bind("/new/deep/file", "@source/file", "bind"),
            mount("/new/tmp", "tmpfs", "tmpfs"),
        ),
        "through symlinks": _mounts(
            mount("/link/inside", "tmpfs", "tmpfs", "size=2m"), bind("/up", "@source", "bind")
        ),
        "copied up": _mounts(mount("/data", "tmpfs", "tmpfs", "tmpcopyup", "size=1m")),
        "one over another": _mounts(
            mount("/mnt", "first", "tmpfs", "size=1m"),
            bind("/mnt/second", "@source", "bind"),
            mount("/mnt/second", "third", "tmpfs", "ro"),
        ),
        "mqueue and cgroup": _mounts(
            mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
            mount(
                "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"
            ),
        ),
        "times and symlinks": _mounts(
            mount("/mnt", "tmpfs", "tmpfs", "noatime", "nodiratime", "nosymfollow"),
            mount("/tmp", "tmpfs", "tmpfs", "strictatime", "sync", "dirsync"),
        ),
        "shared bind": _mounts(bind("/mnt", "@source", "bind", "rshared", "rw")),
        "private and unbindable": _mounts(
            bind("/mnt", "@source", "bind", "private"),
            mount("/data/sub", "u", "tmpfs", "unbindable"),
        ),
        "recursive attributes": _mounts(
            bind("/mnt", "@../tree", "rbind", "rro", "rnoexec", "rnosuid")
        ),
        "relative source": _mounts(bind("/mnt", "source", "bind")),
    },
    "propagation": {
        "unset": _nothing,
        "private": _linux(rootfsPropagation="private"),
        "slave": _linux(rootfsPropagation="slave"),
        "shared": _linux(rootfsPropagation="shared"),
        "unbindable": _linux(rootfsPropagation="unbindable"),
    },
    "capabilities": {
        "usual": _nothing,
        "absent": lambda config: config["process"].pop("capabilities"),
        "empty": _capabilities(),
        "bounding only": _capabilities(bounding=["CAP_SYS_CHROOT", "CAP_CHOWN"]),
        "ambient": _capabilities(
            **{name: ["CAP_NET_RAW", "CAP_CHOWN"] for name in CAPABILITY_SETS}
        ),
        "inheritable": _capabilities(
            bounding=["CAP_CHOWN", "CAP_KILL"], inheritable=["CAP_CHOWN"], permitted=["CAP_KILL"]
        ),
        "effective below permitted": _capabilities(
            bounding=["CAP_CHOWN", "CAP_KILL"],
            permitted=["CAP_CHOWN", "CAP_KILL"],
            effective=["CAP_KILL"],
        ),
    },
    "user": {
        "root": _nothing,
        "other": _process(user={"uid": 1000, "gid": 1001}),
        "groups": _process(user={"uid": 0, "gid": 5, "additionalGids": [6, 7, 4000]}),
        "umask": _process(user={"uid": 3, "gid": 0, "umask": 0o27, "additionalGids": [0]}),
        "root with umask": _process(user={"uid": 0, "gid": 0, "umask": 0o77}),
    },
    "rlimits": {
        "none": _nothing,
        "one": _rlimits(NOFILE=(256, 512)),
        "many": _rlimits(
            CORE=(0, 0),
            CPU=(100, 200),
            DATA=(1 << 30, 1 << 31),
            FSIZE=(1 << 20, 1 << 21),
            NPROC=(77, 88),
            STACK=(1 << 20, 1 << 22),
        ),
        "infinite": _rlimits(AS=((1 << 64) - 1, (1 << 64) - 1), CORE=(0, (1 << 64) - 1)),
    },
    "devices": {
        "usual": _nothing,
        "character": _linux(
            devices=[_device("/dev/fuse", "c", 10, 229, fileMode=0o666, uid=1, gid=2)]
        ),
        "block": _linux(devices=[_device("/dev/sub/loop", "b", 7, 99, fileMode=0o600)]),
        "fifo": _linux(devices=[_device("/dev/pipe", "p", 0, 0, fileMode=0o640)]),
        "no mode": _linux(devices=[_device("/dev/plain", "u", 1, 3)]),
        "default again": _linux(devices=[_device("/dev/null", "c", 1, 3, fileMode=0o600, uid=9)]),
    },
    "paths": {
        "usual": _nothing,
        "none": _linux(maskedPaths=[], readonlyPaths=[]),
        "own": _linux(
            maskedPaths=["/data/secret", "/proc/kcore", "/data/sub", "/no/such"],
            readonlyPaths=["/data", "/tmp", "/no/such/either"],
        ),
        "read-only root": _readonly_root,
    },
    "hooks": {
        "none": _nothing,
        "create": _hooks("createRuntime", "createContainer"),
        "start": _hooks("startContainer", "poststart", "poststop"),
        "old": _hooks("prestart", "poststart"),
        "all": _hooks(
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ),
    },
    "process": {
        "usual": _nothing,
        "no new privileges": _process(noNewPrivileges=True),
        "directory": _process(cwd="/opt/real"),
        "new directory": _process(cwd="/data/made/here"),
        "environment": _process(
            env=["PATH=/bin", "HOME=/elsewhere", "PATH=/bin:/sbin", "EMPTY=", "X=a b\nc"]
        ),
        "exit code": _process(args=["/bin/sh", "-c", ". /probe; exit 77"]),
        "search in PATH": _process(args=["sh", "/probe", "one", ""], env=["PATH=/none:/bin"]),
        "oom score": _process(oomScoreAdj=500),
    },
    "kernel": {
        "usual": _nothing,
        "names": _hostname,
        "sysctl": _sysctl,
        "personality": _linux(personality={"domain": "LINUX32"}),
    },
    "resources": {
        "none": _nothing,
        "devices": _resources(
            devices=[
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
                {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            ]
        ),
        "all devices": _resources(devices=[{"allow": True, "access": "rwm"}]),
        "limits": _resources(
            memory={"limit": 1 << 26, "reservation": 1 << 25} | _SWAPPINESS,
            cpu={"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
            pids={"limit": 99},
        ),
        "more limits": _resources(
            memory={"limit": 1 << 26, "swap": 1 << 27, "disableOOMKiller": False},
            cpu={"shares": 2},
            pids={"limit": 1000},
        ),
    },
    "seccomp": {
        "none": _nothing,
        "denying": _linux(seccomp=engine_profile()),
        "allowing": _seccomp(
            defaultAction="SCMP_ACT_ALLOW",
            flags=[],
            syscalls=[
                {
                    "names": ["mkdir", "mkdirat"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": errno.EXDEV,
                },
                {"names": ["no_such_call"], "action": "SCMP_ACT_KILL"},
            ],
        ),
    },
}

if UNPRIVILEGED:
    del DIMENSIONS["namespaces"]["user"]  # is in all of them


def build(combination: dict[str, str]) -> Config:
    """The config of a combination of variants."""
    config = base()
    for dimension, variants in DIMENSIONS.items():
        variants[combination[dimension]](config)
    return config


def localise(value: Any, bundle: Path) -> Any:
    """The config with `@name` replaced by the path of `name` in the bundle."""
    if isinstance(value, dict):
        return {key: localise(item, bundle) for key, item in value.items()}
    if isinstance(value, list):
        return [localise(item, bundle) for item in value]
    if isinstance(value, str):
        return value.replace("@", f"{bundle}/")
    return value
