"""The process of a container as config.json describes it (config.md, "Process"), by the kernel's account."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.containers import output, refused, sleeping, user_namespace
from helpers.kernel import Scheduling, io_priority, scheduling
from helpers.leaks import Leaks
from helpers.runtime import Runtime
from helpers.terminal import ConsoleSocket

from pyrunc.host.facts import HostFacts

pytestmark = pytest.mark.root

CAPABILITY_SETS = ("bounding", "permitted", "effective", "inheritable", "ambient")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


# ---- user ---------------------------------------------------------------------------------------


def test_user(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [2000, 5]}
    bundle.config["process"]["cwd"] = "/home"
    found = status(sleeping(runtime, bundle, container_id))
    assert found["Uid"].split() == ["1000"] * 4
    assert found["Gid"].split() == ["1001"] * 4
    assert sorted(found["Groups"].split()) == ["2000", "5"]


def test_user_in_a_user_namespace(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    linux = bundle.config["linux"]
    linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    linux["gidMappings"] = [
        {"containerID": 0, "hostID": 300000, "size": 10},
        {"containerID": 10, "hostID": 400000, "size": 65526},
    ]
    bundle.namespaces({"type": "user"})
    bundle.config["process"]["user"] = {"uid": 7, "gid": 9, "additionalGids": [10]}
    pid = sleeping(runtime, bundle, container_id)
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "100000", "65536"]
    found = status(pid)
    assert found["Uid"].split()[0] == "100007"
    assert found["Gid"].split()[0] == "300009"
    assert found["Groups"].split() == ["400000"]


@pytest.mark.parametrize(("umask", "mode"), [(None, "755"), (0, "777"), (0o27, "750")])
def test_umask(
    runtime: Runtime, bundle: Bundle, container_id: str, umask: int | None, mode: str
) -> None:
    if umask is not None:
        bundle.config["process"]["user"]["umask"] = umask
    assert output(runtime, bundle, container_id, "mkdir /tmp/x; stat -c %a /tmp/x") == mode + "\n"


def test_names_of_users_are_for_other_platforms(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["process"]["user"]["username"] = "user"
    assert output(runtime, bundle, container_id, "id -u") == "0\n"


# ---- program, directory, environment ------------------------------------------------------------


def test_arguments_directory_and_environment(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    process = bundle.config["process"]
    process["env"] = ["PATH=/bin", "A=one two", "B=", "UTF=grün"]
    process["cwd"] = "/made/for/it"
    bundle.args("sh", "-c", 'pwd; echo "$#:$1:$2:"; env', "sh", "", "a b")
    lines = runtime.run(container_id, bundle.path).stdout.splitlines()
    assert lines[:2] == ["/made/for/it", "2::a b:"]
    environment = dict(line.split("=", 1) for line in lines[2:])
    del environment["PWD"], environment["SHLVL"]  # of the shell itself
    assert environment == {
        "PATH": "/bin",
        "A": "one two",
        "B": "",
        "UTF": "grün",
        "HOME": "/root",
    }


def test_a_directory_that_is_none(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.config["process"]["cwd"] = "/etc/passwd/x"
    error = refused(runtime, bundle, container_id)
    assert "/etc/passwd/x: Not a directory" in error
    assert "(config.json: /process/cwd)" in error


# ---- privileges ---------------------------------------------------------------------------------


@pytest.mark.parametrize("privileged", [True, False])
def test_no_new_privileges(
    runtime: Runtime, bundle: Bundle, container_id: str, privileged: bool
) -> None:
    bundle.config["process"]["noNewPrivileges"] = not privileged
    pid = sleeping(runtime, bundle, container_id)
    assert status(pid)["NoNewPrivs"] == str(int(not privileged))


def capabilities(bundle: Bundle, **sets: list[str]) -> None:
    bundle.config["process"]["capabilities"] = sets


def found_capabilities(pid: int) -> dict[str, int]:
    found = status(pid)
    names = ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")
    return {ours: int(found[n], 16) for ours, n in zip(CAPABILITY_SETS, names, strict=True)}


CHOWN, KILL, NET_RAW, SETUID = 1 << 0, 1 << 5, 1 << 13, 1 << 7


def test_five_sets_of_capabilities(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    capabilities(
        bundle,
        bounding=["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SETUID"],
        permitted=["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        effective=["CAP_CHOWN"],
        inheritable=["CAP_KILL", "CAP_NET_RAW"],
        ambient=["CAP_KILL"],
    )
    # another user than root, for whom execve(2) does not put sets together again
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    assert found_capabilities(sleeping(runtime, bundle, container_id)) == {
        "bounding": CHOWN | KILL | NET_RAW | SETUID,
        "permitted": KILL,
        "effective": KILL,
        "inheritable": KILL | NET_RAW,
        "ambient": KILL,
    }


def test_ambient_capabilities_work_for_a_user(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    capabilities(bundle, **{name: ["CAP_CHOWN"] for name in CAPABILITY_SETS})
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    script = "touch /tmp/x && chown 5:6 /tmp/x && stat -c %u:%g /tmp/x"
    assert output(runtime, bundle, container_id, script) == "5:6\n"


def test_without_capabilities_there_are_none(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    del bundle.config["process"]["capabilities"]
    found = found_capabilities(sleeping(runtime, bundle, container_id))
    assert set(found.values()) == {0}


# ---- limits -------------------------------------------------------------------------------------

#: Type -> (name in /proc/PID/limits, soft, hard).
LIMITS = {
    "RLIMIT_CPU": ("Max cpu time", 100, 200),
    "RLIMIT_FSIZE": ("Max file size", 1 << 20, 1 << 21),
    "RLIMIT_DATA": ("Max data size", 1 << 28, 1 << 29),
    "RLIMIT_STACK": ("Max stack size", 1 << 20, 1 << 21),
    "RLIMIT_CORE": ("Max core file size", 0, 4096),
    "RLIMIT_RSS": ("Max resident set", 1 << 27, 1 << 28),
    "RLIMIT_NPROC": ("Max processes", 77, 88),
    "RLIMIT_NOFILE": ("Max open files", 100, 200),
    "RLIMIT_MEMLOCK": ("Max locked memory", 4096, 8192),
    "RLIMIT_AS": ("Max address space", 1 << 32, 1 << 33),
    "RLIMIT_LOCKS": ("Max file locks", 10, 20),
    "RLIMIT_SIGPENDING": ("Max pending signals", 50, 60),
    "RLIMIT_MSGQUEUE": ("Max msgqueue size", 4096, 8192),
    "RLIMIT_RTTIME": ("Max realtime timeout", 1000, 2000),
}


def limits(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return {line[:25].strip(): line[25:].split()[:2] for line in lines}


def test_resource_limits(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    before = limits(os.getpid())
    bundle.config["process"]["rlimits"] = [
        {"type": kind, "soft": soft, "hard": hard} for kind, (_, soft, hard) in LIMITS.items()
    ]
    found = limits(sleeping(runtime, bundle, container_id))
    for name, soft, hard in LIMITS.values():
        assert found[name] == [str(soft), str(hard)]
    # what is not named is as the runtime has it
    for name in ("Max nice priority", "Max realtime priority"):
        assert found[name] == before[name]


def test_a_limit_that_cannot_be_raised(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    huge = 1 << 40  # above fs.nr_open
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": huge}]
    error = refused(runtime, bundle, container_id)
    assert "process.rlimits[0]: prlimit: Operation not permitted" in error


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "user-namespace"])
@pytest.mark.parametrize("exec_", [False, True], ids=["create", "exec"])
def test_a_limit_above_that_of_the_runtime(
    runtime: Runtime, bundle: Bundle, container_id: str, mapped: bool, exec_: bool
) -> None:
    if "CAP_SYS_RESOURCE" not in HostFacts().capabilities:
        pytest.skip("CAP_SYS_RESOURCE is missing: no limit can be raised")
    if mapped:
        user_namespace(bundle)
    _, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("the limit is infinite already")
    wanted = {"type": "RLIMIT_MSGQUEUE", "soft": hard + 1, "hard": hard + 2}
    expected = [str(hard + 1), str(hard + 2)]
    if not exec_:
        bundle.config["process"]["rlimits"] = [wanted]
        assert limits(sleeping(runtime, bundle, container_id))["Max msgqueue size"] == expected
        return
    sleeping(runtime, bundle, container_id)
    path = bundle.path / "process.json"
    process = dict(bundle.config["process"], args=["cat", "/proc/self/limits"], rlimits=[wanted])
    path.write_text(json.dumps(process))
    lines = runtime("exec", "--process", path, container_id).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("Max msgqueue size")]
    assert line[25:].split()[:2] == expected


@pytest.mark.parametrize("score", [0, 123, 1000])
def test_oom_score(runtime: Runtime, bundle: Bundle, container_id: str, score: int) -> None:
    bundle.config["process"]["oomScoreAdj"] = score
    pid = sleeping(runtime, bundle, container_id)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == f"{score}\n"


def test_oom_score_is_not_changed_unless_it_is_set(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    own = Path("/proc/self/oom_score_adj").read_text()
    pid = sleeping(runtime, bundle, container_id)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == own


# ---- scheduling ---------------------------------------------------------------------------------

RESET_ON_FORK, RECLAIM, DL_OVERRUN = 1, 2, 4

SCHEDULERS: dict[str, tuple[dict[str, Any], Scheduling]] = {
    "other": ({"policy": "SCHED_OTHER", "nice": 7}, Scheduling(0, 0, 7, 0, 0, 0, 0)),
    "other, at once": ({"policy": "SCHED_OTHER", "nice": -5}, Scheduling(0, 0, -5, 0, 0, 0, 0)),
    "fifo": ({"policy": "SCHED_FIFO", "priority": 42}, Scheduling(1, 0, 0, 42, 0, 0, 0)),
    "round robin": (
        {"policy": "SCHED_RR", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        Scheduling(2, RESET_ON_FORK, 0, 3, 0, 0, 0),
    ),
    "batch": ({"policy": "SCHED_BATCH", "nice": 3}, Scheduling(3, 0, 3, 0, 0, 0, 0)),
    "idle": ({"policy": "SCHED_IDLE"}, Scheduling(5, 0, 0, 0, 0, 0, 0)),
    "deadline": (
        {
            "policy": "SCHED_DEADLINE",
            "runtime": 100_000,
            "deadline": 2_000_000,
            "period": 4_000_000,
            "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"],
        },
        Scheduling(6, RECLAIM | DL_OVERRUN, 0, 0, 100_000, 2_000_000, 4_000_000),
    ),
    "kept policy": (
        {"policy": "SCHED_BATCH", "nice": 4, "flags": ["SCHED_FLAG_KEEP_POLICY"]},
        Scheduling(0, 0, 4, 0, 0, 0, 0),
    ),
    "kept parameters": (  # to which the kernel counts the policy
        {"policy": "SCHED_BATCH", "nice": 4, "flags": ["SCHED_FLAG_KEEP_PARAMS"]},
        Scheduling(0, 0, 0, 0, 0, 0, 0),
    ),
}


def real_time(bundle: Bundle) -> None:
    """Where real-time groups have a budget (RT_GROUP_SCHED), that of a new one is nothing."""
    if Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists():
        cpu = {"realtimePeriod": 1_000_000, "realtimeRuntime": 10_000}
        bundle.config["linux"]["resources"]["cpu"] = cpu


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler(runtime: Runtime, bundle: Bundle, container_id: str, name: str) -> None:
    scheduler, expected = SCHEDULERS[name]
    bundle.config["process"]["scheduler"] = scheduler
    if scheduler["policy"] in ("SCHED_FIFO", "SCHED_RR"):
        real_time(bundle)
    found = scheduling(sleeping(runtime, bundle, container_id))
    if expected.policy != 6:  # a time slice that the kernel fills in
        found = found._replace(runtime=0)
    assert found == expected


@pytest.mark.parametrize(
    "scheduler",
    [
        {"policy": "SCHED_ISO"},
        {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]},
        {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MAX"]},
    ],
    ids=lambda s: s.get("flags", [s["policy"]])[0],
)
def test_a_scheduler_that_the_kernel_does_not_have(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, scheduler: dict[str, Any]
) -> None:
    """SCHED_ISO is in no kernel; clamping is in some, and then asks for what they allow anyway."""
    bundle.config["process"]["scheduler"] = scheduler
    done = runtime.create(container_id, bundle.save().path, check=False)
    if done.returncode == 0:
        assert scheduler["policy"] != "SCHED_ISO"
        runtime("delete", "--force", container_id)
        return
    assert "process.scheduler: sched_setattr: " in done.stderr
    assert "(config.json: /process/scheduler)" in done.stderr


def test_scheduler_of_an_executed_process(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    sleeping(runtime, bundle, container_id)
    path = bundle.path / "process.json"
    process = dict(bundle.config["process"], args=["sleep", "1000"])
    process.update(
        scheduler={"policy": "SCHED_BATCH", "nice": 9},
        ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0},
        oomScoreAdj=77,
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 11, "hard": 12}],
    )
    path.write_text(json.dumps(process))
    note = bundle.path / "pid"
    command = runtime.command("exec", "--detach", "--process", path, "--pid-file", note)
    null = subprocess.DEVNULL
    subprocess.run([*command, container_id], stdin=null, stdout=null, stderr=null, check=True)
    pid = int(note.read_text())
    assert scheduling(pid)[:3] == (3, 0, 9)
    assert io_priority(pid)[0] == 3
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "77\n"
    assert limits(pid)["Max open files"] == ["11", "12"]


@pytest.mark.parametrize(
    ("name", "priority", "expected"),
    [
        ("IOPRIO_CLASS_RT", 3, (1, 3)),
        ("IOPRIO_CLASS_BE", 7, (2, 7)),
        ("IOPRIO_CLASS_IDLE", None, (3, 0)),
    ],
)
def test_io_priority(
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    name: str,
    priority: int | None,
    expected: tuple[int, int],
) -> None:
    wanted = {"class": name} | ({} if priority is None else {"priority": priority})
    bundle.config["process"]["ioPriority"] = wanted
    assert io_priority(sleeping(runtime, bundle, container_id)) == expected


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_cpu_affinity_is_for_executed_processes_only(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    first, second = sorted(os.sched_getaffinity(0))[:2]
    bundle.config["process"]["execCPUAffinity"] = {"initial": str(first), "final": str(second)}
    pid = sleeping(runtime, bundle, container_id)
    assert os.sched_getaffinity(pid) == os.sched_getaffinity(0)
    allowed = "grep Cpus_allowed_list /proc/self/status"
    found = runtime("exec", container_id, "sh", "-c", allowed).stdout
    assert found.split()[1] == str(second)


def test_a_cpu_that_is_not_there(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.config["process"]["execCPUAffinity"] = {"initial": "1023"}
    sleeping(runtime, bundle, container_id)
    done = runtime("exec", container_id, "true", check=False)
    assert done.returncode != 0
    assert "process.execCPUAffinity.initial: sched_setaffinity: Invalid argument" in done.stderr


# ---- terminal -----------------------------------------------------------------------------------


def test_console_size(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.config["process"].update(terminal=True, consoleSize={"height": 33, "width": 111})
    with ConsoleSocket(bundle.path / "console") as console:
        runtime.create(
            container_id,
            bundle.sh("stty size; tty").path,
            "--console-socket",
            bundle.path / "console",
        )
        screen = console.receive()
        runtime("start", container_id)
        assert screen.rest().split() == [b"33", b"111", b"/dev/pts/0"]
        screen.close()


def test_console_size_without_a_terminal_is_ignored(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["process"]["consoleSize"] = {"height": 70000, "width": 1}
    assert output(runtime, bundle, container_id, "test -t 0 || echo none") == "none\n"


# ---- of the linux section -----------------------------------------------------------------------


@pytest.mark.parametrize(("domain", "machine"), [("LINUX", ""), ("LINUX32", "i686")])
def test_personality(
    runtime: Runtime, bundle: Bundle, container_id: str, domain: str, machine: str
) -> None:
    bundle.config["linux"]["personality"] = {"domain": domain}
    if os.uname().machine != "x86_64":
        pytest.skip("what uname(1) says is known for x86-64 only")
    expected = machine or os.uname().machine
    assert output(runtime, bundle, container_id, "uname -m") == expected + "\n"
    runtime("delete", "--force", container_id, check=False)
    sleeping(runtime, bundle, container_id)
    assert runtime("exec", container_id, "uname", "-m").stdout == expected + "\n"


@pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="the kernel has no NUMA")
@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        ({"mode": "MPOL_DEFAULT"}, "default"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
        ({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}, "weighted interleave:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_PREFERRED"}, "local"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
        (
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
            "bind=static:0",
        ),
        (
            {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]},
            "interleave=relative:0",
        ),
        (
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]},
            "bind=balancing:0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_memory_policy(
    runtime: Runtime, bundle: Bundle, container_id: str, policy: dict[str, Any], shown: str
) -> None:
    bundle.config["linux"]["memoryPolicy"] = policy
    if policy["mode"] == "MPOL_WEIGHTED_INTERLEAVE" and HostFacts().kernel < (6, 9):
        pytest.skip("the kernel has no weighted interleaving")
    pid = sleeping(runtime, bundle, container_id)
    lines = Path(f"/proc/{pid}/numa_maps").read_text().splitlines()
    (stack,) = [line for line in lines if " stack " in line]
    assert stack.partition(" ")[2].startswith(shown + " ")


def test_a_memory_node_that_is_not_there(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "1000"}
    error = refused(runtime, bundle, container_id)
    assert "linux.memoryPolicy: set_mempolicy: Invalid argument" in error


def test_clock_offsets(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    offsets = {
        "boottime": {"secs": 1_000_000, "nanosecs": 5},
        "monotonic": {"secs": 2_000_000, "nanosecs": 999_999_999},
    }
    bundle.config["linux"]["timeOffsets"] = offsets
    bundle.namespaces({"type": "time"})
    pid = sleeping(runtime, bundle, container_id)
    found = [line.split() for line in Path(f"/proc/{pid}/timens_offsets").read_text().splitlines()]
    assert sorted(found) == [
        ["boottime", "1000000", "5"],
        ["monotonic", "2000000", "999999999"],
    ]
    uptime = float(runtime("exec", container_id, "cat", "/proc/uptime").stdout.split()[0])
    assert uptime > 1_000_000
    own = os.readlink("/proc/self/ns/time")
    assert os.readlink(f"/proc/{pid}/ns/time") != own


def test_a_clock_that_would_be_before_its_beginning(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.config["linux"]["timeOffsets"] = {"monotonic": {"secs": -(10**9)}}
    bundle.namespaces({"type": "time"})
    error = refused(runtime, bundle, container_id)
    assert "timens_offsets" in error
    assert "(config.json: /linux/timeOffsets/monotonic)" in error


def test_names_and_sysctls(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.config["hostname"] = "the-host"
    bundle.config["domainname"] = "the.domain"
    bundle.config["linux"]["sysctl"] = {
        "net.ipv4.ip_forward": "1",
        "kernel.msgmax": "9000",
        "fs/mqueue/msg_max": "20",
    }
    script = (
        "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward"
        " /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max"
    )
    assert output(runtime, bundle, container_id, script).split() == [
        "the-host",
        "the.domain",
        "1",
        "9000",
        "20",
    ]


def test_a_value_that_a_sysctl_does_not_take(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "much"}
    error = refused(runtime, bundle, container_id)
    assert "write sys/net/ipv4/ip_forward: Invalid argument" in error
    assert "(config.json: /linux/sysctl/net.ipv4.ip_forward)" in error


@pytest.mark.parametrize(
    ("place", "field", "fact"),
    [
        (("process",), "apparmorProfile", "apparmor"),
        (("process",), "selinuxLabel", "selinux"),
        (("linux",), "mountLabel", "selinux"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_labels_without_their_security_module(
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    no_leaks: Leaks,
    place: tuple[str],
    field: str,
    fact: str,
) -> None:
    if getattr(HostFacts(), fact):
        pytest.skip(f"{fact} is enabled here")
    bundle.config[place[0]][field] = "some_label"
    error = refused(runtime, bundle, container_id)
    assert "is not enabled on this host" in error
    assert f"/{place[0]}/{field}" in error
