"""Mounts, devices and hiding in the plan."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.bundle import Config

from pyrunc.cgroups.plan import CgroupPlan
from pyrunc.errors import ConfigError, HostError
from pyrunc.plan.mounts import Options, split_data
from pyrunc.plan.operations import (
    BIND_NO_SYMLINK_SOURCE,
    BIND_RECURSIVE,
    FS_COPY_UP,
    FS_KEEP_MODE,
    FS_NO_SYMLINK,
    MS_REC,
    NO_SLOT,
    BindDevice,
    ChangeMount,
    MakeDirectory,
    MakeIdmap,
    MakeNode,
    MakeSymlink,
    MaskPath,
    MountBind,
    MountFilesystem,
    OpenConsole,
    OpenTree,
    PivotRoot,
    ReadonlyPath,
    SetFileLabel,
    SetPropagation,
)

from .conftest import Compile, find, index

RO, NOSUID, NODEV, NOEXEC, NOATIME, STRICT, ATIME = 1, 2, 4, 8, 0x10, 0x20, 0x70
PRIVATE, SLAVE, SHARED, UNBINDABLE = 1 << 18, 1 << 19, 1 << 20, 1 << 17


def mount(config: Config, destination: str, **fields: Any) -> str:
    config["mounts"].append({"destination": destination, **fields})
    return f"/mounts/{len(config['mounts']) - 1}"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ro"], (RO, 0, 0, 0)),
        (["ro", "rw"], (0, RO, 0, 0)),
        (["rw", "ro"], (RO, 0, 0, 0)),
        (["nosuid", "nodev", "noexec"], (14, 0, 0, 0)),
        (["nosuid", "suid"], (0, NOSUID, 0, 0)),
        (["noatime"], (NOATIME, ATIME, 0, 0)),
        (["noatime", "strictatime"], (STRICT, ATIME, 0, 0)),
        (["rro", "rnosuid"], (0, 0, 3, 0)),
        (["ro", "rrw"], (RO, 0, 0, RO)),
    ],
)
def test_attributes_fold_in_order(names: list[str], expected: tuple[int, ...]) -> None:
    options = Options(names)
    assert (options.set, options.clear, options.tree_set, options.tree_clear) == expected


def test_unknown_options_go_to_the_filesystem() -> None:
    assert Options(["mode=755", "size=1k,nr_inodes=2", "nosuid"]).data == [
        "mode=755",
        "size=1k",
        "nr_inodes=2",
    ]


def test_an_escaped_comma_does_not_separate() -> None:
    assert split_data("lowerdir=/a\\,b:/c,upperdir=/u") == ["lowerdir=/a\\,b:/c", "upperdir=/u"]


def test_a_filesystem(config: Config, compile_config: Compile) -> None:
    pointer = mount(
        config,
        "/tmp",
        type="tmpfs",
        source="swap",
        options=["nosuid", "strictatime", "mode=755", "size=64k", "rslave"],
    )
    operation = find(compile_config(config), MountFilesystem, destination="/tmp")[0]
    assert operation == MountFilesystem(
        "tmpfs", "swap", "/tmp", ["mode=755", "size=64k"], NOSUID | STRICT, 0, SLAVE | MS_REC, 0
    ).at(pointer)


def test_proc_and_sysfs_go_on_plain_directories(config: Config, compile_config: Compile) -> None:
    plan = compile_config(config)
    for destination in ("/proc", "/sys"):
        assert find(plan, MountFilesystem, destination=destination)[0].flags == FS_NO_SYMLINK


def test_a_tmpfs_without_mode_keeps_that_of_the_directory(
    config: Config, compile_config: Compile
) -> None:
    mount(config, "/a", type="tmpfs")
    mount(config, "/b", type="tmpfs", options=["mode=700"])
    mount(config, "/c", type="tmpfs", options=["tmpcopyup"])
    plan = compile_config(config)
    flags = [find(plan, MountFilesystem, destination=d)[0].flags for d in ("/a", "/b", "/c")]
    assert flags == [FS_KEEP_MODE, 0, FS_KEEP_MODE | FS_COPY_UP]


def test_a_read_only_tmpfs_is_made_so_when_all_is_in_it(
    config: Config, compile_config: Compile
) -> None:
    mount(config, "/ro", type="tmpfs", options=["ro"])
    mount(config, "/ro/below", type="tmpfs")
    plan = compile_config(config)
    assert find(plan, MountFilesystem, destination="/ro")[0].attrs == 0
    assert (
        index(plan, MountFilesystem, destination="/ro/below")
        < index(plan, ChangeMount, destination="/ro", attrs_set=RO)
        < index(plan, PivotRoot)
    )


def test_flags_that_only_mount_knows(config: Config, compile_config: Compile) -> None:
    mount(config, "/i", type="tmpfs", options=["iversion", "silent", "sync"])
    operation = find(compile_config(config), MountFilesystem, destination="/i")[0]
    assert operation.ms_flags == 1 << 23
    assert operation.options == ["sync"]


def test_a_bind_mount(config: Config, compile_config: Compile) -> None:
    pointer = mount(
        config, "data", source="vol/x", options=["rbind", "ro", "rnoexec", "rprivate", "shared"]
    )
    plan = compile_config(config)
    assert find(plan, MountBind) == [
        MountBind(
            "/bundle/vol/x",
            NO_SLOT,
            "/data",
            BIND_RECURSIVE,
            RO,
            0,
            NOEXEC,
            0,
            PRIVATE | MS_REC,
        ).at(pointer)
    ]
    assert find(plan, ChangeMount, destination="/data", propagation=SHARED)


def test_type_bind_is_enough(config: Config, compile_config: Compile) -> None:
    mount(config, "/data", type="bind", source="/vol")
    assert find(compile_config(config), MountBind, source="/vol", flags=0)


def test_copy_symlink(config: Config, compile_config: Compile) -> None:
    mount(config, "/data", source="/vol", options=["bind", "copy-symlink"])
    assert find(compile_config(config), MountBind)[0].flags == BIND_NO_SYMLINK_SOURCE


def test_a_bind_mount_without_source(config: Config, compile_config: Compile) -> None:
    pointer = mount(config, "/data", options=["bind"])
    with pytest.raises(ConfigError) as error:
        compile_config(config)
    assert error.value.pointer == f"{pointer}/source"


def test_remount(config: Config, compile_config: Compile) -> None:
    mount(config, "/tmp", type="tmpfs", options=["remount", "ro", "size=1m"])
    plan = compile_config(config)
    assert find(plan, ChangeMount, destination="/tmp", options=["size=1m"], attrs_set=RO)


IDS = [{"containerID": 0, "hostID": 1000, "size": 10}]


def test_an_id_mapped_mount_is_made_on_the_hosts_side(
    config: Config, compile_config: Compile
) -> None:
    mount(config, "/d", source="/v", options=["rbind", "ridmap"], uidMappings=IDS, gidMappings=IDS)
    plan = compile_config(config)
    idmap = find(plan, MakeIdmap, uids=[0, 1000, 10], gids=[0, 1000, 10])[0]
    tree = find(plan, OpenTree, source="/v", idmap_slot=idmap.slot, idmap_recursive=1)[0]
    bind = find(plan, MountBind, source_slot=tree.slot)[0]
    assert plan.spawn_flags == plan.unshare_flags == 0
    operations = plan.operations
    assert operations.index(idmap) < operations.index(tree) < operations.index(bind)


def test_an_id_mapped_mount_takes_the_containers_mapping(
    config: Config, compile_config: Compile
) -> None:
    pointer = mount(config, "/d", source="/v", options=["bind", "idmap"])
    with pytest.raises(ConfigError) as error:
        compile_config(config)
    assert error.value.pointer == f"{pointer}/options"
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = IDS
    assert find(compile_config(config), MakeIdmap, uids=[0, 1000, 10])
    with pytest.raises(HostError):
        compile_config(config, {"is_privileged": False, "euid": 5})


def test_sources_are_opened_outside_a_user_namespace(
    config: Config, compile_config: Compile
) -> None:
    mount(config, "/d", source="/v", options=["bind"])
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = IDS
    plan = compile_config(config)
    assert find(plan, MountBind)[0].source_slot == find(plan, OpenTree, source="/v")[0].slot
    unprivileged = compile_config(config, {"is_privileged": False, "euid": 1000})
    assert find(unprivileged, MountBind)[0].source_slot == NO_SLOT


def test_mount_label(config: Config, compile_config: Compile) -> None:
    config["linux"]["mountLabel"] = "a:b:c:s0"
    plan = compile_config(config, {"selinux": True})
    for destination in ("/dev", "/dev/pts", "/dev/shm"):
        options = find(plan, MountFilesystem, destination=destination)[0].options
        assert options[-1] == "context=a:b:c:s0"
    assert not find(plan, MountFilesystem, destination="/proc")[0].options
    assert {mask.label for mask in find(plan, MaskPath)} == {"a:b:c:s0"}
    with pytest.raises(HostError) as error:
        compile_config(config, {"selinux": False})
    assert error.value.pointer == "/linux/mountLabel"


def test_the_type_of_mount_labels(config: Config, compile_config: Compile) -> None:
    config["linux"]["mountLabel"] = "a:b:c:s0"
    config["annotations"] = {"run.oci.mount_context_type": "rootcontext"}
    plan = compile_config(config, {"selinux": True})
    options = find(plan, MountFilesystem, destination="/dev/shm")[0].options
    assert options[-1] == "rootcontext=a:b:c:s0"


def test_mount_labels_of_other_filesystems(config: Config, compile_config: Compile) -> None:
    config["linux"]["mountLabel"] = label = "a:b:c:s0:c1,c2"
    mount(config, "/mq", type="mqueue", source="mqueue")
    mount(config, "/over", type="overlay", source="overlay", options=["lowerdir=/a:/b"])
    mount(config, "/old", type="ext4", source="/dev/sda", options=["iversion"])
    mount(config, "/cg", type="cgroup", source="cgroup")
    mount(config, "/bound", source="/etc", options=["bind"])
    plan = compile_config(config, {"selinux": True, **V1})
    assert not find(plan, MountFilesystem, destination="/mq")[0].options
    assert find(plan, SetFileLabel, destination="/mq")[0].label == label
    assert find(plan, MountFilesystem, destination="/over")[0].options[-1] == f"context={label}"
    # in the one string that mount(2) takes, its comma would end it
    assert find(plan, MountFilesystem, destination="/old")[0].options[-1] == f'context="{label}"'
    assert find(plan, MountFilesystem, destination="/cg")[0].options[-1] == f"context={label}"
    assert {o.destination for o in find(plan, SetFileLabel)} == {"/mq"}


# ---- cgroup -----------------------------------------------------------------------------------

V1 = {
    "cgroup_mode": "v1",
    "cgroup_mounts": {
        "cpu": "/c/cpu,cpuacct",
        "cpuacct": "/c/cpu,cpuacct",
        "name=systemd": "/c/systemd",
    },
}


def test_cgroup_v2(config: Config, compile_config: Compile) -> None:
    mount(config, "/sys/fs/cgroup", type="cgroup", source="cgroup", options=["ro"])
    plan = compile_config(config)
    assert find(plan, MountFilesystem, fstype="cgroup2", destination="/sys/fs/cgroup", attrs=RO)


@pytest.mark.parametrize("own", [False, True])
def test_options_of_the_whole_system_stay(
    config: Config, compile_config: Compile, own: bool
) -> None:
    """A mount of cgroup2 in the cgroup namespace of the host sets them, and takes away what it leaves out."""
    mount(config, "/sys/fs/cgroup", type="cgroup", source="cgroup", options=["ro"])
    if own:
        config["linux"]["namespaces"].append({"type": "cgroup"})
    plan = compile_config(config, {"cgroup2_options": ["nsdelegate", "memory_recursiveprot"]})
    (found,) = find(plan, MountFilesystem, fstype="cgroup2")
    assert found.options == ([] if own else ["nsdelegate", "memory_recursiveprot"])


def test_cgroup_v1_in_a_namespace_of_its_own(config: Config, compile_config: Compile) -> None:
    mount(config, "/sys/fs/cgroup", type="cgroup", source="cgroup", options=["ro"])
    config["linux"]["namespaces"].append({"type": "cgroup"})
    plan = compile_config(config, V1)
    below = "/sys/fs/cgroup/cpu,cpuacct"
    assert find(plan, MakeDirectory, destination=below)
    assert find(
        plan,
        MountFilesystem,
        fstype="cgroup",
        destination=below,
        options=["cpu", "cpuacct"],
        attrs=RO | NOSUID | NODEV | NOEXEC,
    )
    assert find(
        plan, MountFilesystem, destination="/sys/fs/cgroup/systemd", options=["name=systemd"]
    )
    links = {o.destination: o.target for o in find(plan, MakeSymlink) if "cgroup" in o.destination}
    assert links == {
        "/sys/fs/cgroup/cpu": "cpu,cpuacct",
        "/sys/fs/cgroup/cpuacct": "cpu,cpuacct",
    }
    assert find(plan, ChangeMount, destination="/sys/fs/cgroup", attrs_set=RO)


def test_cgroup_v1_shows_only_the_containers_own(config: Config, compile_config: Compile) -> None:
    mount(config, "/sys/fs/cgroup", type="cgroup", source="cgroup")
    paths = {"cpu": "/c/cpu,cpuacct/box", "cpuacct": "/c/cpu,cpuacct/box"}
    cgroup = CgroupPlan("cgroupfs", "v1", paths, [])
    plan = compile_config(config, V1, cgroup=cgroup)
    bind = find(plan, MountBind, destination="/sys/fs/cgroup/cpu,cpuacct")[0]
    assert bind.source == "/c/cpu,cpuacct/box"


# ---- devices, hiding --------------------------------------------------------------------------


def test_default_devices_and_links(config: Config, compile_config: Compile) -> None:
    plan = compile_config(config)
    nodes = {o.destination: (o.major, o.minor, o.mode) for o in find(plan, MakeNode)}
    assert nodes["/dev/null"] == (1, 3, 0o20666)
    assert set(nodes) == {f"/dev/{n}" for n in ("null", "zero", "full", "random", "urandom", "tty")}
    links = {o.destination: o.target for o in find(plan, MakeSymlink)}
    assert links["/dev/ptmx"] == "pts/ptmx"
    assert links["/dev/stdout"] == "/proc/self/fd/1"
    assert links["/dev/core"] == "/proc/kcore"


def test_devices(config: Config, compile_config: Compile) -> None:
    config["linux"]["devices"] = [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 1},
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p"},
    ]
    plan = compile_config(config)
    assert find(plan, MakeNode, destination="/dev/fuse", mode=0o20600, major=10, uid=1)
    assert [o.mode for o in find(plan, MakeNode, destination="/dev/null")] == [0o20600]
    assert find(plan, MakeNode, destination="/dev/pipe", mode=0o10666)
    assert find(plan, MakeNode, destination="/dev/fuse")[0].pointer == "/linux/devices/0"


def test_devices_are_bound_where_they_cannot_be_made(
    config: Config, compile_config: Compile
) -> None:
    plan = compile_config(config, {"user_namespace": True})
    assert not find(plan, MakeNode)
    assert find(plan, BindDevice, source="/dev/null", destination="/dev/null", major=1, minor=3)


def test_a_fifo_can_be_made_anywhere(config: Config, compile_config: Compile) -> None:
    config["linux"]["devices"] = [{"path": "/dev/pipe", "type": "p", "fileMode": 0o640, "uid": 7}]
    plan = compile_config(config, {"user_namespace": True})
    assert find(plan, MakeNode, destination="/dev/pipe", mode=0o10640, uid=7)
    assert not find(plan, BindDevice, destination="/dev/pipe")


def test_a_bound_dev_is_left_alone(config: Config, compile_config: Compile) -> None:
    config["mounts"][1] = {"destination": "/dev/", "source": "/dev", "options": ["rbind"]}
    plan = compile_config(config)
    assert not find(plan, MakeNode)
    assert not find(plan, MakeSymlink)


def test_hidden_and_read_only_paths(config: Config, compile_config: Compile) -> None:
    plan = compile_config(config)
    assert [o.destination for o in find(plan, MaskPath)] == config["linux"]["maskedPaths"]
    assert [o.pointer for o in find(plan, ReadonlyPath)] == [
        f"/linux/readonlyPaths/{i}" for i in range(3)
    ]


def test_a_terminal(config: Config, compile_config: Compile) -> None:
    assert not find(compile_config(config), OpenConsole)
    config["process"]["terminal"] = True
    config["process"]["consoleSize"] = {"width": 80, "height": 25}
    assert find(compile_config(config), OpenConsole, width=80, height=25, mount=1)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (None, SLAVE | MS_REC, None),
        ("private", PRIVATE | MS_REC, PRIVATE),
        ("shared", SHARED, SHARED),
        ("rshared", SHARED | MS_REC, SHARED | MS_REC),
        ("unbindable", PRIVATE | MS_REC, UNBINDABLE),
    ],
)
def test_propagation_of_the_root(
    config: Config, compile_config: Compile, name: str | None, before: int, after: int | None
) -> None:
    if name:
        config["linux"]["rootfsPropagation"] = name
    plan = compile_config(config)
    assert find(plan, SetPropagation)[0].flags == before
    changed = find(plan, ChangeMount, destination="/")
    assert [o.propagation for o in changed] == ([after] if after else [])


def test_propagation_of_the_root_comes_last(config: Config, compile_config: Compile) -> None:
    """An unbindable root could not have read-only parts, a shared one would have them twice."""
    config["linux"]["rootfsPropagation"] = "unbindable"
    config["root"]["readonly"] = True
    plan = compile_config(config)
    hiding = (*find(plan, ReadonlyPath), *find(plan, MaskPath), *find(plan, ChangeMount))
    (last,) = find(plan, ChangeMount, destination="/", propagation=UNBINDABLE)
    assert [o for o in hiding if plan.operations.index(o) > plan.operations.index(last)] == []


@pytest.mark.parametrize("name", ["shared", "rshared"])
def test_mounts_of_a_user_namespace_are_not_shared_before_the_root_is_entered(
    config: Config, compile_config: Compile, name: str
) -> None:
    config["linux"]["rootfsPropagation"] = name
    mapping = [{"containerID": 0, "hostID": 1000, "size": 10}]
    config["linux"].update(uidMappings=mapping, gidMappings=mapping)
    config["linux"]["namespaces"].append({"type": "user"})
    assert find(compile_config(config), SetPropagation)[0].flags == SLAVE | MS_REC


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        (
            {"type": "ext4", "source": "/dev/vdz", "options": ["ro", "norecovery"]},
            ["ro", "norecovery"],
        ),
        ({"type": "ext4", "source": "/dev/vdz", "options": ["ro", "rw"]}, []),
        ({"type": "tmpfs", "options": ["ro"]}, []),
    ],
)
def test_a_read_only_filesystem_is_opened_so(
    config: Config, compile_config: Compile, fields: dict[str, Any], data: list[str]
) -> None:
    mount(config, "/data", **fields)
    assert find(compile_config(config), MountFilesystem, destination="/data")[0].options == data


def test_the_working_directory_is_made_while_that_is_possible(
    config: Config, compile_config: Compile
) -> None:
    """Before anything becomes read-only, and before the umask of the process."""
    assert not find(compile_config(config), MakeDirectory)
    config["process"]["cwd"] = "/tmp/work"
    config["process"]["user"]["umask"] = 0o77
    mount(config, "/tmp", type="tmpfs", options=["ro"])
    plan = compile_config(config)
    made = index(plan, MakeDirectory, destination="/tmp/work", mode=0o755)
    assert made > index(plan, MountFilesystem, destination="/tmp")
    assert made < index(plan, ChangeMount, destination="/tmp", attrs_set=RO)
