"""Namespaces, order and identity in the plan of a container."""

from __future__ import annotations

import pytest
from helpers.bundle import Config

from pyrunc.cgroups.plan import CgroupPlan
from pyrunc.errors import ConfigError, HostError
from pyrunc.plan.operations import (
    SYNC_HOOKS,
    SYNC_MAP_IDS,
    SYNC_NETWORK,
    SYNC_START,
    SYNC_TIME,
    ChangeDirectory,
    ChangeMount,
    ChangeRoot,
    Clone,
    EnterRootfs,
    Execute,
    JoinCgroups,
    JoinNamespaces,
    LoadSeccomp,
    LoopbackUp,
    MaskPath,
    MoveRoot,
    NewSessionKeyring,
    OpenRootfs,
    PivotRoot,
    PrepareProgram,
    RunHook,
    SetCapabilities,
    SetDumpable,
    SetIdentity,
    SetLabel,
    SetMemoryPolicy,
    SetNoNewPrivileges,
    SetRlimit,
    SetScheduler,
    SetUmask,
    SetUser,
    Sync,
    Unshare,
    WaitForStart,
    WriteSysctl,
)
from pyrunc.plan.process import parse_list

from .conftest import Compile, find, index

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
NEWUSER, NEWCGROUP, NEWTIME = 0x10000000, 0x2000000, 0x80
CAP_SYS_ADMIN = 1 << 21


def namespace(config: Config, kind: str, path: str = "") -> None:
    entry = {"type": kind} | ({"path": path} if path else {})
    rest = [n for n in config["linux"]["namespaces"] if n["type"] != kind]
    config["linux"]["namespaces"] = [*rest, entry]


def with_user_namespace(config: Config) -> None:
    namespace(config, "user")
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = mapping


def test_new_namespaces_are_made_by_the_first_process(
    config: Config, compile_config: Compile
) -> None:
    plan = compile_config(config)
    assert plan.spawn_flags == NEWPID
    assert plan.unshare_flags == NEWNS | NEWUTS | NEWIPC | NEWNET
    assert not find(plan, Clone)
    assert find(plan, LoopbackUp)


def test_a_cgroup_namespace_is_made_inside_the_cgroup(
    config: Config, compile_config: Compile
) -> None:
    namespace(config, "cgroup")
    plan = compile_config(config)
    assert not (plan.spawn_flags | plan.unshare_flags) & NEWCGROUP
    assert index(plan, Unshare, flags=NEWCGROUP) > index(plan, Sync, kind=SYNC_START)


def test_a_user_namespace_is_mapped_before_the_others_are_made(
    config: Config, compile_config: Compile
) -> None:
    with_user_namespace(config)
    plan = compile_config(config)
    order = [
        index(plan, EnterRootfs),
        index(plan, Unshare, flags=NEWUSER),
        index(plan, Sync, kind=SYNC_MAP_IDS),
        index(plan, SetIdentity, uid=0, gid=0),
        index(plan, Clone, flags=NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET),
        index(plan, OpenRootfs, path="."),
    ]
    assert order == sorted(order)
    assert plan.spawn_flags == plan.unshare_flags == 0
    assert plan.uid_mappings == [0, 100000, 65536]


def test_clock_offsets_are_written_before_anyone_enters_the_time_namespace(
    config: Config, compile_config: Compile
) -> None:
    namespace(config, "time")
    config["linux"]["timeOffsets"] = {"boottime": {"secs": 5}}
    plan = compile_config(config)
    order = [
        index(plan, Unshare, flags=NEWTIME),
        index(plan, Sync, kind=SYNC_TIME),
        plan.operations.index(find(plan, Clone)[0]),
    ]
    assert order == sorted(order)


def test_namespaces_are_joined_out_of_sight_of_their_inhabitants(
    config: Config, compile_config: Compile
) -> None:
    namespace(config, "network", "/run/netns/blue")
    namespace(config, "pid", "/proc/7/ns/pid")
    plan = compile_config(config)
    hidden = plan.operations.index(find(plan, SetDumpable, value=0)[0])
    assert hidden < index(
        plan,
        JoinNamespaces,
        paths=["/run/netns/blue", "/proc/7/ns/pid"],
        types=[NEWNET, NEWPID],
    )
    assert find(plan, Clone, flags=NEWNS | NEWUTS | NEWIPC)
    assert not find(plan, LoopbackUp)


def test_the_waiting_process_cannot_be_traced_by_others_in_the_container(
    config: Config, compile_config: Compile
) -> None:
    plan = compile_config(config)
    assert index(plan, SetDumpable, value=0) < plan.operations.index(find(plan, SetUser)[0])


def test_the_process_joins_its_cgroup_before_anything_else(
    config: Config, compile_config: Compile
) -> None:
    cgroup = CgroupPlan("cgroupfs", "v1", {"cpu": "/c/cpu/box", "pids": "/c/pids/box"}, [])
    plan = compile_config(config, cgroup=cgroup)
    assert plan.operations[0] == JoinCgroups(["/c/cpu/box/tasks", "/c/pids/box/tasks"]).at(
        "/linux/cgroupsPath"
    )


def test_the_root_is_entered_after_all_mounts_and_hooks(
    config: Config, compile_config: Compile
) -> None:
    hook = {"path": "/bin/hook", "timeout": 3}
    config["hooks"] = {"createRuntime": [hook], "createContainer": [hook]}
    plan = compile_config(config)
    order = [
        index(plan, OpenRootfs, path="/bundle/rootfs"),
        index(plan, Sync, kind=SYNC_HOOKS),
        index(plan, RunHook, path="/bin/hook", args=["/bin/hook"], timeout=3),
        index(plan, PivotRoot),
        index(plan, MaskPath, destination="/proc/kcore"),
        index(plan, WaitForStart),
    ]
    assert order == sorted(order)
    assert find(plan, RunHook)[0].pointer == "/hooks/createContainer/0"


def test_start_container_hooks_come_between_start_and_program(
    config: Config, compile_config: Compile
) -> None:
    config["hooks"] = {"startContainer": [{"path": "/bin/hook"}]}
    plan = compile_config(config)
    assert index(plan, WaitForStart) < index(plan, RunHook) < index(plan, Execute)


@pytest.mark.parametrize(
    ("drop", "options", "expected"),
    [
        ((), {}, PivotRoot),
        ((), {"no_pivot": True}, MoveRoot),
        (("mount",), {}, ChangeRoot),
    ],
)
def test_ways_into_the_root(
    config: Config, compile_config: Compile, drop: tuple[str], options: dict, expected: type
) -> None:
    kept = [n for n in config["linux"]["namespaces"] if n["type"] not in drop]
    config["linux"]["namespaces"] = kept
    plan = compile_config(config, options=options)
    ways = [type(o) for o in plan.operations if isinstance(o, PivotRoot | MoveRoot | ChangeRoot)]
    assert ways == [expected]


def test_the_hosts_propagation_is_not_touched_without_a_mount_namespace(
    config: Config, compile_config: Compile
) -> None:
    config["linux"]["namespaces"] = []
    plan = compile_config(config)
    assert find(plan, OpenRootfs)[0].private == 0
    assert "SetPropagation" not in [type(o).__name__ for o in plan.operations]


def test_read_only_root_comes_last_of_the_root(config: Config, compile_config: Compile) -> None:
    config["root"]["readonly"] = True
    plan = compile_config(config)
    assert index(plan, ChangeMount, destination="/", attrs_set=1) > index(plan, PivotRoot)


def test_no_process_no_program(config: Config, compile_config: Compile) -> None:
    del config["process"]
    plan = compile_config(config)
    assert isinstance(plan.operations[-1], WaitForStart)


# ---- identity ---------------------------------------------------------------------------------


def test_identity_in_the_order_that_privileges_need(
    config: Config, compile_config: Compile
) -> None:
    config["process"]["user"] = {"uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o27}
    plan = compile_config(config)
    order = [
        plan.operations.index(find(plan, SetUmask)[-1]),
        index(plan, SetNoNewPrivileges),
        index(plan, ChangeDirectory, path="/"),
        index(plan, SetUser, uid=5, gid=6, groups=[7], set_groups=1),
        index(plan, SetCapabilities),
        index(plan, WaitForStart),
        index(plan, PrepareProgram, uid=5, find_home=1, keep_fds=0),
        index(plan, Execute, args=["true"]),
    ]
    assert order == sorted(order)
    assert find(plan, SetUmask)[-1].mask == 0o27


def test_a_filter_without_no_new_privileges_is_loaded_with_cap_sys_admin_kept(
    config: Config, compile_config: Compile
) -> None:
    config["process"]["noNewPrivileges"] = False
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    plan = compile_config(config)
    first, last = find(plan, SetCapabilities)
    assert first.effective == last.effective | CAP_SYS_ADMIN
    assert not last.effective & CAP_SYS_ADMIN
    # only capset and execve are left to a process that the filter binds
    assert [type(o) for o in plan.operations[-4:]] == [
        PrepareProgram,
        LoadSeccomp,
        SetCapabilities,
        Execute,
    ]


def test_a_filter_with_no_new_privileges_is_the_last_thing(
    config: Config, compile_config: Compile
) -> None:
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    plan = compile_config(config)
    assert [type(o) for o in plan.operations[-4:]] == [
        WaitForStart,
        PrepareProgram,
        LoadSeccomp,
        Execute,
    ]


def test_capabilities_that_cannot_be_granted_are_left_out(
    config: Config, compile_config: Compile, capfd: pytest.CaptureFixture[str]
) -> None:
    config["process"]["capabilities"] = {
        "permitted": ["CAP_KILL", "CAP_SYS_ADMIN", "CAP_NOSUCH"],
        "effective": ["CAP_KILL", "CAP_CHOWN"],
        "ambient": ["CAP_KILL"],
    }
    plan = compile_config(config, host={"permitted": 0b111111})
    assert find(plan, SetCapabilities, permitted=1 << 5, effective=1 << 5, ambient=0)
    said = capfd.readouterr().err
    assert "/process/capabilities/permitted: CAP_SYS_ADMIN is left out" in said
    assert "/process/capabilities/ambient: CAP_KILL is left out" in said


def test_in_a_user_namespace_all_capabilities_can_be_granted(
    config: Config, compile_config: Compile
) -> None:
    with_user_namespace(config)
    config["process"]["capabilities"] = {"permitted": ["CAP_SYS_ADMIN"]}
    plan = compile_config(config, host={"permitted": 0, "is_privileged": False})
    assert find(plan, SetCapabilities)[0].permitted == CAP_SYS_ADMIN


def test_groups_where_setgroups_is_denied(config: Config, compile_config: Compile) -> None:
    with_user_namespace(config)
    unprivileged = {"euid": 1000, "permitted": 0, "is_privileged": False}
    assert find(compile_config(config, unprivileged), SetUser)[0].set_groups == 0
    config["process"]["user"]["additionalGids"] = [5]
    with pytest.raises(HostError) as error:
        compile_config(config, unprivileged)
    assert error.value.pointer == "/process/user/additionalGids"
    plan = compile_config(config, unprivileged, {"subordinate_ids": True})
    assert find(plan, SetUser)[0].groups == [5]


def test_labels_need_their_module(config: Config, compile_config: Compile) -> None:
    config["process"]["apparmorProfile"] = "docker-default"
    with pytest.raises(HostError) as error:
        compile_config(config)
    assert error.value.pointer == "/process/apparmorProfile"
    plan = compile_config(config, {"apparmor": True})
    assert find(plan, SetLabel, attribute="apparmor/exec", label="exec docker-default")

    del config["process"]["apparmorProfile"]
    config["process"]["selinuxLabel"] = "a:b:c:s0"
    with pytest.raises(HostError) as error:
        compile_config(config)
    assert error.value.pointer == "/process/selinuxLabel"
    plan = compile_config(config, {"selinux": True})
    # it is taken on by execve, so it is written by the process as it will be
    assert index(plan, SetLabel, attribute="exec", label="a:b:c:s0") > index(plan, SetUser)
    # the keyring alone gets it from the beginning
    keyring = index(plan, NewSessionKeyring)
    around = plan.operations[keyring - 1 : keyring + 2 : 2]
    assert around == [
        SetLabel("keycreate", "a:b:c:s0").at("/process/selinuxLabel"),
        SetLabel("keycreate", ""),
    ]


def test_limits_scheduler_memory(config: Config, compile_config: Compile) -> None:
    config["process"]["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}]
    config["process"]["scheduler"] = {
        "policy": "SCHED_DEADLINE",
        "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"],
        "runtime": 1,
        "deadline": 2,
        "period": 3,
    }
    config["linux"]["memoryPolicy"] = {
        "mode": "MPOL_BIND",
        "nodes": "0-1",
        "flags": ["MPOL_F_STATIC_NODES"],
    }
    plan = compile_config(config)
    assert find(plan, SetRlimit, resource=4, soft=1, hard=2)[0].pointer == "/process/rlimits/0"
    assert find(plan, SetScheduler, policy=6, flags=5, runtime=1, deadline=2, period=3)
    assert find(plan, SetMemoryPolicy, mode=2 | 1 << 15, nodes=b"\x03" + bytes(7))


def test_sysctls_are_written_by_path(config: Config, compile_config: Compile) -> None:
    config["linux"]["sysctl"] = {
        "net.ipv4.ip_forward": "1",
        "net/ipv4/conf/eth0.1/forwarding": "1",
    }
    assert find(compile_config(config), WriteSysctl) == [
        WriteSysctl("net/ipv4/ip_forward", "1").at("/linux/sysctl/net.ipv4.ip_forward"),
        WriteSysctl("net/ipv4/conf/eth0.1/forwarding", "1").at(
            "/linux/sysctl/net~1ipv4~1conf~1eth0.1~1forwarding"
        ),
    ]


def test_session_keyring(config: Config, compile_config: Compile) -> None:
    assert find(compile_config(config), NewSessionKeyring)
    assert not find(compile_config(config, options={"no_new_keyring": True}), NewSessionKeyring)


def test_socket_activation(config: Config, compile_config: Compile) -> None:
    options = {"listen_fds": 2, "listen_names": "a:b", "preserve_fds": 1}
    plan = compile_config(config, options=options)
    assert find(plan, PrepareProgram)[0].keep_fds == plan.preserve_fds == 3
    assert find(plan, Execute)[0].env[-3:] == ["LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=a:b"]


def test_of_several_values_of_a_variable_the_last_counts(
    config: Config, compile_config: Compile
) -> None:
    config["process"]["env"] = ["A=1", "B=2", "A=3=4", "bare"]
    assert find(compile_config(config), Execute)[0].env == ["A=3=4", "B=2", "bare"]


def test_home_is_looked_up_only_where_it_is_not_given(
    config: Config, compile_config: Compile
) -> None:
    for env, expected in (([], 1), (["HOME="], 1), (["HOME=/x"], 0)):
        config["process"]["env"] = env
        assert find(compile_config(config), PrepareProgram)[0].find_home == expected


def test_kernel_floor(config: Config, compile_config: Compile) -> None:
    with pytest.raises(HostError, match=r"Linux 5\.13 is too old: pyrunc needs 5\.14"):
        compile_config(config, {"kernel": (5, 13)})


@pytest.mark.parametrize(
    ("text", "mask"),
    [("0", 1), ("0-3", 15), ("1,3", 10), ("0-1, 8", 0x103), ("64", 1 << 64), ("", 0)],
)
def test_cpu_lists(text: str, mask: int) -> None:
    data = parse_list(text)
    assert int.from_bytes(data, "little") == mask
    assert len(data) % 8 == 0


@pytest.mark.parametrize("text", ["x", "3-1", "-1", "1-", "99999999"])
def test_wrong_cpu_lists(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_list(text)


def test_compiling_has_no_effect(config: Config, compile_config: Compile) -> None:
    before = repr(config)
    first, second = compile_config(config), compile_config(config)
    assert repr(config) == before
    assert first.encode() == second.encode()
    assert first.describe() == second.describe()


def test_an_id_mapped_mount_must_be_a_bind_mount(config: Config, compile_config: Compile) -> None:
    config["mounts"].append({"destination": "/x", "type": "tmpfs", "options": ["idmap"]})
    with pytest.raises(ConfigError) as error:
        compile_config(config)
    assert error.value.pointer == f"/mounts/{len(config['mounts']) - 1}"


def test_network_devices_are_moved_once_the_namespace_is_there(
    config: Config, compile_config: Compile
) -> None:
    config["linux"]["netDevices"] = {"eth0": {"name": "outer"}, "eth1": {}}
    config["linux"]["sysctl"] = {"net.ipv4.conf.outer.forwarding": "1"}
    plan = compile_config(config)
    assert index(plan, LoopbackUp) < index(plan, Sync, kind=SYNC_NETWORK)
    # what is set for a device needs the device
    assert index(plan, Sync, kind=SYNC_NETWORK) < index(plan, WriteSysctl)
    lines = plan.describe()
    assert "host: move network device eth0, as outer  (/linux/netDevices/eth0)" in lines
    assert "host: move network device eth1, as eth1  (/linux/netDevices/eth1)" in lines


def test_what_is_done_on_the_host_is_described_too(config: Config, compile_config: Compile) -> None:
    with_user_namespace(config)
    namespace(config, "time")
    config["linux"]["timeOffsets"] = {"boottime": {"secs": -3, "nanosecs": 4}, "monotonic": {}}
    config["process"]["oomScoreAdj"] = 7
    lines = compile_config(config).describe()
    assert [line for line in lines if line.startswith("host: ")] == [
        "host: oom_score_adj 7  (/process/oomScoreAdj)",
        "host: uids 0:100000:65536  (/linux/uidMappings)",
        "host: gids 0:100000:65536  (/linux/gidMappings)",
        "host: boottime clock -3 s 4 ns  (/linux/timeOffsets/boottime)",
        "host: monotonic clock +0 s 0 ns  (/linux/timeOffsets/monotonic)",
    ]


def test_hard_limits_that_only_the_runtime_can_raise(
    config: Config, compile_config: Compile
) -> None:
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]
    # with its privileges over the host the process does it itself
    assert compile_config(config).hard_limits == {}
    with_user_namespace(config)
    assert compile_config(config).hard_limits == {7: 20}
    assert compile_config(config, {"is_privileged": False, "euid": 1000}).hard_limits == {}


@pytest.mark.parametrize(
    ("mode", "last_without"),
    [("MPOL_PREFERRED_MANY", (5, 14)), ("MPOL_WEIGHTED_INTERLEAVE", (6, 8))],
)
def test_memory_policies_of_newer_kernels(
    config: Config, compile_config: Compile, mode: str, last_without: tuple[int, int]
) -> None:
    config["linux"]["memoryPolicy"] = {"mode": mode, "nodes": "0"}
    major, minor = last_without
    assert find(compile_config(config, {"kernel": (major, minor + 1)}), SetMemoryPolicy)
    with pytest.raises(HostError, match=f"{mode} needs Linux {major}.{minor + 1}") as error:
        compile_config(config, {"kernel": last_without})
    assert error.value.pointer == "/linux/memoryPolicy/mode"
