"""Mounts as a container has them (config.md, "Mounts")."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.command import wait_until
from helpers.containers import output, refused, user_namespace
from helpers.leaks import Leaks
from helpers.mountinfo import Mount, parse
from helpers.runtime import Runtime

from pyrunc.host.facts import HostFacts

pytestmark = pytest.mark.root

LISTING = "cat /proc/self/mountinfo; "


def mount(bundle: Bundle, destination: str, source: str | Path, *options: str, **more: Any) -> int:
    """Add a mount and return its index. It is a bind mount unless `type` says otherwise."""
    entry = {"destination": destination, "source": str(source), "options": list(options), **more}
    bundle.config["mounts"].append(entry)
    bundle.save()
    return len(bundle.config["mounts"]) - 1


def listed(runtime: Runtime, bundle: Bundle, container: str) -> dict[str, Mount]:
    """The mounts of the container."""
    return parse(runtime.run(container, bundle.sh(LISTING).path).stdout)


@pytest.fixture
def tree(bundle: Bundle) -> Iterator[Path]:
    """A shared mount with another one in it, `below`."""
    path = bundle.path / "tree"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tree", path], check=True)
    subprocess.run(["mount", "--make-rshared", path], check=True)
    (path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "below", path / "below"], check=True)
    for file in (path / "file", path / "below" / "file"):
        file.write_text("content\n")
    yield path
    subprocess.run(["umount", "-R", path], check=True)


# ---- propagation --------------------------------------------------------------------------------

# What the top and the one below are. A container's mounts start as slaves of the host's.
PROPAGATIONS = {
    "private": (set(), {"master"}),
    "rprivate": (set(), set()),
    "slave": ({"master"}, {"master"}),
    "rslave": ({"master"}, {"master"}),
    "shared": ({"shared", "master"}, {"master"}),
    "rshared": ({"shared", "master"}, {"shared", "master"}),
    "unbindable": ({"unbindable"}, {"master"}),
    "runbindable": ({"unbindable"}, {"unbindable"}),
}


@pytest.mark.parametrize("name", PROPAGATIONS)
def test_propagation_of_a_bind_mount(
    runtime: Runtime, bundle: Bundle, container_id: str, tree: Path, no_leaks: Leaks, name: str
) -> None:
    mount(bundle, "/mnt", tree, "rbind", name)
    mounts = listed(runtime, bundle, container_id)
    found = (mounts["/mnt"].propagation_kinds, mounts["/mnt/below"].propagation_kinds)
    assert found == PROPAGATIONS[name]


@pytest.mark.parametrize("root", [None, "slave", "shared", "private", "unbindable"])
@pytest.mark.parametrize("opened", ["of a user namespace", "id-mapped"])
def test_what_is_opened_on_the_host_does_not_stay_its_peer(
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    tree: Path,
    opened: str,
    root: str | None,
    no_leaks: Leaks,
) -> None:
    """What a container mounts in it would be mounted on the host."""
    if root:
        bundle.config["linux"]["rootfsPropagation"] = root
    if opened == "id-mapped":
        require_mappable()
        maps = {"uidMappings": mapping(0, 5000), "gidMappings": mapping(0, 7000)}
        mount(bundle, "/mnt", tree, "rbind", "idmap", **maps)
    else:
        user_namespace(bundle, 100000, 200000)
        mount(bundle, "/mnt", tree, "rbind")
    mounts = listed(runtime, bundle, container_id)
    expected = set() if root in ("private", "unbindable") else {"master"}
    if root == "shared" and opened == "id-mapped":
        expected = {"shared"}  # as a bind mount that is not mapped
    assert [mounts[path].propagation_kinds for path in ("/mnt", "/mnt/below")] == [expected] * 2


@pytest.mark.parametrize("name", PROPAGATIONS)
def test_propagation_of_a_new_filesystem(
    runtime: Runtime, bundle: Bundle, container_id: str, name: str
) -> None:
    mount(bundle, "/mnt", "tmpfs", name, type="tmpfs")
    kind = name.removeprefix("r")
    expected = {kind} if kind in ("shared", "unbindable") else set()
    assert listed(runtime, bundle, container_id)["/mnt"].propagation_kinds == expected


def test_several_propagations_are_set_one_after_another(
    runtime: Runtime, bundle: Bundle, container_id: str, tree: Path
) -> None:
    mount(bundle, "/mnt", tree, "rbind", "private", "shared")
    # as a private one it was no slave any more when it became shared
    assert listed(runtime, bundle, container_id)["/mnt"].propagation_kinds == {"shared"}


# What / is, what a new mount of the container is, and whether it may be bound.
ROOT_PROPAGATIONS = {
    None: set(),
    "private": set(),
    "rprivate": set(),
    "slave": set(),
    "rslave": set(),
    "shared": {"shared"},
    "rshared": {"shared"},
    "unbindable": {"unbindable"},
    "runbindable": {"unbindable"},
}


@pytest.mark.parametrize("name", ROOT_PROPAGATIONS)
def test_propagation_of_the_root(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, name: str | None
) -> None:
    if name is not None:
        bundle.config["linux"]["rootfsPropagation"] = name
    mounts = listed(runtime, bundle, container_id)
    of_a_shared_one = {"master"} if name in (None, "slave", "rslave") else set()
    assert mounts["/"].propagation_kinds - of_a_shared_one == ROOT_PROPAGATIONS[name]
    below = {"unbindable"} if name == "runbindable" else {"shared"} if name == "rshared" else set()
    assert mounts["/dev"].propagation_kinds == below


@pytest.mark.parametrize("name", ["rslave", "rshared", "rprivate"])
def test_what_the_host_mounts_later_comes_through(
    runtime: Runtime, bundle: Bundle, container_id: str, tree: Path, name: str
) -> None:
    mount(bundle, "/mnt", tree, "rbind", name)
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    runtime("start", container_id)
    (tree / "later").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "later", tree / "later"], check=True)
    seen = parse(runtime("exec", container_id, "cat", "/proc/self/mountinfo").stdout)
    assert ("/mnt/later" in seen) == (name != "rprivate")


@pytest.mark.parametrize("name", [None, "slave", "rslave"])
def test_a_rootfs_on_a_shared_mount_is_its_slave(
    runtime: Runtime, bundle: Bundle, container_id: str, tree: Path, name: str | None
) -> None:
    """As it is where everything lies on a / that systemd has made shared."""
    subprocess.run(["cp", "-a", bundle.rootfs, tree / "rootfs"], check=True)
    (tree / "source").mkdir()
    bundle.config["root"]["path"] = str(tree / "rootfs")
    if name is not None:
        bundle.config["linux"]["rootfsPropagation"] = name
    mount(bundle, "/mnt", tree / "source", "rbind", "rslave")
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    runtime("start", container_id)
    for path in ("source", "rootfs/opt"):
        (tree / path / "later").mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "later", tree / path / "later"], check=True)
    seen = parse(runtime("exec", container_id, "cat", "/proc/self/mountinfo").stdout)
    assert seen["/"].propagation_kinds == {"master"}
    assert {"/mnt/later", "/opt/later"} <= set(seen)


def test_with_a_shared_root_mounts_go_back_to_the_host(
    runtime: Runtime, bundle: Bundle, container_id: str, tree: Path
) -> None:
    bundle.config["linux"]["rootfsPropagation"] = "rshared"
    bundle.config["process"]["capabilities"] = {
        kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "permitted", "effective")
    }
    mount(bundle, "/mnt", tree, "rbind", "rshared")
    bundle.sh("mkdir /mnt/made && mount -t tmpfs made /mnt/made && sleep 1000")
    runtime.create(container_id, bundle.path)
    runtime("start", container_id)
    own = Path("/proc/self/mountinfo")
    wait_until(lambda: f"{tree}/made" in parse(own.read_text()), "the mount to come back")


# ---- attributes ---------------------------------------------------------------------------------

#: Recursive option: what the host's mounts have, and what the container's has then, and not.
RECURSIVE = {
    "rro": ("rw", {"ro"}, {"rw"}),
    "rrw": ("ro", {"rw"}, {"ro"}),
    "rnosuid": ("suid", {"nosuid"}, set()),
    "rsuid": ("nosuid", set(), {"nosuid"}),
    "rnodev": ("dev", {"nodev"}, set()),
    "rdev": ("nodev", set(), {"nodev"}),
    "rnoexec": ("exec", {"noexec"}, set()),
    "rexec": ("noexec", set(), {"noexec"}),
    "rnodiratime": ("diratime", {"nodiratime"}, set()),
    "rdiratime": ("nodiratime", set(), {"nodiratime"}),
    "rnoatime": ("relatime", {"noatime"}, {"relatime"}),
    "ratime": ("noatime", {"relatime"}, {"noatime"}),
    "rrelatime": ("noatime", {"relatime"}, {"noatime"}),
    "rnorelatime": ("noatime", {"noatime"}, set()),  # it takes nothing back but relatime
    "rstrictatime": ("relatime", set(), {"relatime", "noatime"}),
    "rnostrictatime": ("strictatime", {"relatime"}, {"noatime"}),
    "rnosymfollow": ("symfollow", {"nosymfollow"}, set()),
    "rsymfollow": ("nosymfollow", set(), {"nosymfollow"}),
}


@pytest.mark.parametrize("name", RECURSIVE)
def test_recursive_attributes(
    runtime: Runtime, bundle: Bundle, container_id: str, tree: Path, name: str
) -> None:
    before, has, has_not = RECURSIVE[name]
    for path in (tree / "below", tree):
        subprocess.run(["mount", "-o", f"remount,bind,{before}", path], check=True)
    mount(bundle, "/mnt", tree, "rbind", name)
    mounts = listed(runtime, bundle, container_id)
    for point in ("/mnt", "/mnt/below"):
        assert has <= set(mounts[point].options), point
        assert not has_not & set(mounts[point].options), point


def test_of_the_one_mount_and_of_the_tree(
    runtime: Runtime, bundle: Bundle, container_id: str, tree: Path
) -> None:
    mount(bundle, "/mnt", tree, "rbind", "rro", "rw", "rnosuid", "noexec")
    mounts = listed(runtime, bundle, container_id)
    assert {"rw", "nosuid", "noexec"} <= set(mounts["/mnt"].options)
    assert {"ro", "nosuid"} <= set(mounts["/mnt/below"].options)
    assert "noexec" not in mounts["/mnt/below"].options


def test_what_is_not_named_stays_as_it_is(
    runtime: Runtime, bundle: Bundle, container_id: str, tree: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,bind,nosuid,nodev,noatime", tree], check=True)
    mount(bundle, "/mnt", tree, "bind", "ro", "dev")
    mounts = listed(runtime, bundle, container_id)
    assert {"ro", "nosuid", "noatime"} <= set(mounts["/mnt"].options)
    assert "nodev" not in mounts["/mnt"].options
    assert "/mnt/below" not in mounts


def test_attributes_of_a_new_filesystem(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    names = ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"]
    mount(bundle, "/mnt", "mine", "ro", *names, type="tmpfs")
    found = listed(runtime, bundle, container_id)["/mnt"]
    assert set(found.options) == {"ro", *names}
    assert (found.kind, found.source) == ("tmpfs", "mine")


@pytest.mark.parametrize(
    ("names", "has", "has_not"),
    [
        (["sync"], "sync", ""),
        (["sync", "async"], "", "sync"),
        (["dirsync"], "dirsync", ""),
        (["lazytime"], "lazytime", ""),
        (["lazytime", "nolazytime"], "", "lazytime"),
        (["silent", "loud", "defaults", "nomand"], "rw", "silent"),
        (["noiversion"], "rw", ""),
        (["size=1m", "mode=0711,uid=7,gid=8"], "size=1024k", ""),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else None,
)
def test_options_of_the_filesystem(
    runtime: Runtime, bundle: Bundle, container_id: str, names: list[str], has: str, has_not: str
) -> None:
    mount(bundle, "/mnt", "tmpfs", *names, type="tmpfs")
    found = listed(runtime, bundle, container_id)["/mnt"].super_options
    assert not has or has in found
    assert not has_not or has_not not in found
    if "size=1m" in names:
        assert {"mode=711", "uid=7", "gid=8"} <= set(found)


def test_iversion_goes_to_the_filesystem(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    mount(bundle, "/mnt", "tmpfs", "iversion", "nosuid", "size=1m", type="tmpfs")
    found = listed(runtime, bundle, container_id)["/mnt"]
    assert "nosuid" in found.options
    assert "size=1024k" in found.super_options


def test_remount(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    mount(bundle, "/mnt", "tmpfs", "size=1m", "nosuid", type="tmpfs")
    mount(bundle, "/mnt", "tmpfs", "remount", "ro", "noexec", "size=2m", type="tmpfs")
    found = listed(runtime, bundle, container_id)["/mnt"]
    assert {"ro", "noexec"} <= set(found.options)
    assert "size=2048k" in found.super_options


# ---- sources ------------------------------------------------------------------------------------


def test_a_source_is_relative_to_the_bundle(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    (bundle.path / "volume").mkdir()
    (bundle.path / "volume" / "file").write_text("from the bundle\n")
    mount(bundle, "/mnt", "volume", "bind")
    mount(bundle, "/new/file", "./volume/../volume/file", "bind")
    found = output(runtime, bundle, container_id, "cat /mnt/file /new/file")
    assert found == "from the bundle\n" * 2


def test_files_sockets_and_fifos_can_be_bound(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(bundle.path / "socket"))
        (bundle.path / "file").write_text("text\n")
        subprocess.run(["mkfifo", bundle.path / "fifo"], check=True)
        for name in ("file", "socket", "fifo"):
            mount(bundle, f"/bound/{name}", bundle.path / name, "bind", "ro")
        script = "test -S /bound/socket && test -p /bound/fifo && cat /bound/file; : > /bound/file"
        found = runtime.run(container_id, bundle.sh(script).path, check=False)
    assert found.stdout == "text\n"
    assert found.returncode != 0
    assert "Read-only file system" in found.stderr


def test_a_symlink_as_source_is_followed_or_copied(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    (bundle.path / "file").write_text("text\n")
    (bundle.path / "link").symlink_to("file")
    mount(bundle, "/followed", "link", "bind")
    mount(bundle, "/copied", "link", "bind", "copy-symlink")
    mount(bundle, "/plain", "file", "bind", "copy-symlink")
    found = output(
        runtime, bundle, container_id, "cat /followed /plain; readlink /copied; test ! -L /followed"
    )
    assert found == "text\ntext\nfile\n"


def test_a_symlink_is_not_copied_over_another_thing(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    (bundle.path / "link").symlink_to("file")
    index = mount(bundle, "/etc/hosts", "link", "bind", "copy-symlink")
    error = refused(runtime, bundle, container_id)
    assert f"mounts[{index}]: symlinkat /etc/hosts: File exists" in error


def test_a_missing_source_is_an_error(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    index = mount(bundle, "/mnt", "/no/such", "bind")
    error = refused(runtime, bundle, container_id)
    assert f"mounts[{index}]: open_tree /no/such: No such file or directory" in error
    assert f"(config.json: /mounts/{index})" in error


@pytest.mark.skipif(
    HostFacts().kernel < (6, 5), reason="overlayfs takes no comma by fsconfig before Linux 6.5"
)
def test_overlay(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    for name in ("one", "two,and", "upper", "work"):
        (bundle.path / name).mkdir()
    (bundle.path / "one" / "a").write_text("one\n")
    (bundle.path / "two,and" / "b").write_text("two\n")
    lower = f"lowerdir={bundle.path}/one:{bundle.path}/two\\,and"
    upper = [f"upperdir={bundle.path}/upper", f"workdir={bundle.path}/work"]
    mount(bundle, "/mnt", "overlay", lower, *upper, "nodev", type="overlay")
    assert output(runtime, bundle, container_id, "cat /mnt/a /mnt/b; echo up > /mnt/c") == (
        "one\ntwo\n"
    )
    assert (bundle.path / "upper" / "c").read_text() == "up\n"


@pytest.mark.skipif(HostFacts().cgroup_mode != "v2", reason="needs cgroup v2")
def test_options_of_cgroup2_stay_those_of_the_host(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    """In the host's cgroup namespace a mount of cgroup2 sets them for the whole system."""

    def options() -> str:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return next(line.rpartition(" ")[2] for line in lines if " - cgroup2 " in line)

    linux = bundle.config["linux"]
    linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != "cgroup"]
    mount(bundle, "/mnt", "cgroup", type="cgroup")
    before = options()
    output(runtime, bundle, container_id, "test -e /mnt/cgroup.controllers")
    assert options() == before


def test_an_unknown_filesystem(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    index = mount(bundle, "/mnt", "x", type="nosuchfs")
    error = refused(runtime, bundle, container_id)
    assert f"mounts[{index}]: fsopen nosuchfs: No such device" in error


# ---- destinations -------------------------------------------------------------------------------


def test_symlinks_in_the_rootfs_lead_nowhere_else(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    outside = bundle.path / "outside"
    outside.mkdir()
    (bundle.rootfs / "absolute").symlink_to("/data")
    (bundle.rootfs / "upwards").symlink_to("../../../../../../../data")
    (bundle.rootfs / "escape").symlink_to(outside)
    (bundle.rootfs / "dangling").symlink_to("/made/by/the/mount")
    for number, destination in enumerate(("absolute/1", "upwards/2", "escape/3", "dangling")):
        mount(bundle, f"/{destination}", f"m{number}", type="tmpfs")
    mounts = listed(runtime, bundle, container_id)
    assert {"/data/1", "/data/2", f"{outside}/3", "/made/by/the/mount"} <= set(mounts)
    assert list(outside.iterdir()) == []
    assert (bundle.rootfs / str(outside)[1:] / "3").is_dir()


def test_a_file_through_a_dangling_symlink(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    (bundle.path / "file").write_text("text\n")
    (bundle.rootfs / "etc" / "resolv.conf").symlink_to("../run/resolved/resolv.conf")
    mount(bundle, "/etc/resolv.conf", "file", "bind")
    assert output(runtime, bundle, container_id, "cat /run/resolved/resolv.conf") == "text\n"


def test_a_relative_destination_is_taken_from_the_root(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    mount(bundle, "mnt/relative", "tmpfs", type="tmpfs")
    assert "/mnt/relative" in listed(runtime, bundle, container_id)


def test_what_is_missing_is_made_in_a_read_only_root(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["root"]["readonly"] = True
    (bundle.path / "file").write_text("text\n")
    mount(bundle, "/new/deep/directory", "tmpfs", type="tmpfs")
    mount(bundle, "/new/file", "file", "bind")
    done = runtime.run(
        container_id,
        bundle.sh("cat /new/file && touch /new/deep/directory/x && touch /new/x").path,
        check=False,
    )
    assert done.stdout == "text\n"
    assert "touch: /new/x: Read-only file system" in done.stderr


def test_a_rootfs_that_cannot_be_written_is_an_error_where_something_is_missing(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    subprocess.run(["mount", "--bind", bundle.rootfs, bundle.rootfs], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", bundle.rootfs], check=True)
        index = mount(bundle, "/new/directory", "tmpfs", type="tmpfs")
        error = refused(runtime, bundle, container_id)
    finally:
        subprocess.run(["umount", bundle.rootfs], check=True)
    assert f"mounts[{index}]: " in error
    assert "Read-only file system" in error
    assert f"(config.json: /mounts/{index})" in error


def test_mounts_are_made_in_their_order(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    mount(bundle, "/mnt", "first", type="tmpfs")
    mount(bundle, "/mnt/inner", "second", type="tmpfs")
    mount(bundle, "/mnt", "third", type="tmpfs")
    mounts = listed(runtime, bundle, container_id)
    assert mounts["/mnt"].source == "third"
    assert output(runtime, bundle, container_id + "x", "ls -A /mnt") == ""


@pytest.mark.parametrize("kind", ["proc", "sysfs"])
def test_procfs_and_sysfs_go_on_directories_only(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, kind: str
) -> None:
    """CVE-2019-19921: an image in which /proc is a symlink to what its volume has elsewhere."""
    (bundle.rootfs / "trap").symlink_to("tmp")
    index = mount(bundle, "/trap", kind, type=kind)
    error = refused(runtime, bundle, container_id)
    assert f"mounts[{index}]: openat2 /trap: Too many levels of symbolic links" in error


# ---- id mappings --------------------------------------------------------------------------------


def mapping(inside: int, outside: int, size: int = 1000) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size}]


OWNERS = "stat -c %u:%g /mnt/file /mnt/below/file"


def require_mappable() -> None:
    if HostFacts().kernel < (6, 3):
        pytest.skip("a tmpfs cannot be id-mapped before Linux 6.3")


@pytest.fixture
def mappable(tree: Path) -> Path:
    """The tree, where the kernel can have ids of a tmpfs mapped."""
    require_mappable()
    return tree


def give(tree: Path, uid: int, gid: int) -> None:
    for path in (tree, tree / "file", tree / "below", tree / "below" / "file"):
        subprocess.run(["chown", f"{uid}:{gid}", path], check=True)


@pytest.mark.parametrize(
    ("names", "owners"),
    [
        (["rbind", "idmap"], "5005:7009\n5:9\n"),
        (["rbind", "ridmap"], "5005:7009\n5005:7009\n"),
        (["rbind"], "5005:7009\n5:9\n"),
    ],
    ids=["idmap", "ridmap", "neither"],
)
def test_a_mount_with_mappings_of_its_own(
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    mappable: Path,
    no_leaks: Leaks,
    names: list[str],
    owners: str,
) -> None:
    give(mappable, 5, 9)
    mount(
        bundle, "/mnt", mappable, *names, uidMappings=mapping(0, 5000), gidMappings=mapping(0, 7000)
    )
    assert output(runtime, bundle, container_id, OWNERS) == owners


def test_what_is_written_is_mapped_back(
    runtime: Runtime, bundle: Bundle, container_id: str, mappable: Path
) -> None:
    give(mappable, 5, 9)
    bundle.config["process"]["user"] = {"uid": 5005, "gid": 7009}
    maps = {"uidMappings": mapping(0, 5000), "gidMappings": mapping(0, 7000)}
    mount(bundle, "/mnt", mappable, "bind", "idmap", **maps)
    output(runtime, bundle, container_id, "echo > /mnt/made")
    made = (mappable / "made").stat()
    assert (made.st_uid, made.st_gid) == (5, 9)


def test_without_mappings_it_takes_those_of_the_user_namespace(
    runtime: Runtime, bundle: Bundle, container_id: str, mappable: Path, no_leaks: Leaks
) -> None:
    give(mappable, 5, 9)
    user_namespace(bundle, 100000, 200000)
    mount(bundle, "/mnt", mappable, "rbind", "idmap")
    nobody = "65534:65534\n"
    # the ids of the one that is not mapped are not in the namespace
    assert output(runtime, bundle, container_id, OWNERS) == "5:9\n" + nobody


def test_mappings_of_its_own_in_a_user_namespace(
    runtime: Runtime, bundle: Bundle, container_id: str, mappable: Path, no_leaks: Leaks
) -> None:
    give(mappable, 5, 9)
    user_namespace(bundle, 100000, 200000)
    maps = {"uidMappings": mapping(0, 100100), "gidMappings": mapping(0, 200200)}
    mount(bundle, "/mnt", mappable, "rbind", "ridmap", **maps)
    assert output(runtime, bundle, container_id, OWNERS) == "105:209\n" * 2


def test_a_filesystem_that_cannot_be_mapped(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    maps = {"uidMappings": mapping(0, 5000), "gidMappings": mapping(0, 7000)}
    index = mount(bundle, "/mnt", "/proc/sys", "bind", "idmap", **maps)
    error = refused(runtime, bundle, container_id)
    assert f"mounts[{index}]: mount_setattr /proc/sys: Invalid argument" in error


# ---- what is copied up --------------------------------------------------------------------------


def test_tmpcopyup(runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks) -> None:
    data = bundle.rootfs / "data"
    (data / "sub" / "deep").mkdir(parents=True)
    (data / "sub" / "deep" / "file").write_text("copied\n")
    (data / "sub" / "deep" / "file").chmod(0o640)
    (data / "sub").chmod(0o2751)
    (data / "link").symlink_to("/etc/passwd")
    (data / "big").write_bytes(b"x" * 100_001)
    subprocess.run(["mkfifo", "-m", "0600", data / "fifo"], check=True)
    subprocess.run(
        ["chown", "-h", "5:6", data / "sub" / "deep" / "file", data / "link"], check=True
    )
    subprocess.run(["touch", "-d", "@1000000000", data / "big"], check=True)
    data.chmod(0o1733)
    for kind in ("bounding", "permitted", "effective"):
        bundle.config["process"]["capabilities"][kind].append("CAP_DAC_OVERRIDE")
    mount(bundle, "/data", "tmpfs", "tmpcopyup", "size=4m", type="tmpfs")
    found = output(
        runtime,
        bundle,
        container_id,
        "cd /data; cat sub/deep/file; readlink link; "
        "stat -c '%n %a %u:%g %s' . sub sub/deep/file fifo big; stat -c %Y big; "
        "stat -c %u:%g link; echo changed > sub/deep/file; grep -c ' /data ' /proc/self/mountinfo",
    ).splitlines()
    assert found[:2] == ["copied", "/etc/passwd"]
    assert [line.rpartition(" ")[0] for line in found[2:7]] == [
        ". 1733 0:0",
        "sub 2751 0:0",
        "sub/deep/file 640 5:6",
        "fifo 600 0:0",
        "big 644 0:0",
    ]
    assert found[6].endswith(" 100001")
    assert found[7:] == ["1000000000", "5:6", "1"]
    assert (data / "sub" / "deep" / "file").read_text() == "copied\n"


def test_tmpcopyup_that_does_not_fit(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    (bundle.rootfs / "data" / "big").write_bytes(b"x" * 200_000)
    index = mount(bundle, "/data", "tmpfs", "tmpcopyup", "size=64k", type="tmpfs")
    error = refused(runtime, bundle, container_id)
    assert f"mounts[{index}]: tmpcopyup" in error
    assert "No space left on device" in error


# ---- cgroup -------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False], ids=["own namespace", "host's namespace"])
def test_cgroups_are_mounted_as_the_container_may_see_them(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, own: bool
) -> None:
    if own:
        bundle.namespaces({"type": "cgroup"})
    mount(bundle, "/sys/fs/cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev", type="cgroup")
    bundle.sh("cat /proc/self/mountinfo; echo; cat /proc/self/cgroup; touch /sys/fs/cgroup/x")
    done = runtime.run(container_id, bundle.path, check=False)
    text, _, cgroups = done.stdout.partition("\n\n")
    mounts = parse(text)
    below = {p: m for p, m in mounts.items() if p.startswith("/sys/fs/cgroup")}
    assert "Read-only file system" in done.stderr
    assert {m.kind for m in below.values()} <= {"tmpfs", "cgroup", "cgroup2"}
    assert all("ro" in m.options for m in below.values())
    groups = [m for m in below.values() if m.kind != "tmpfs"]
    assert groups
    if own:
        assert {line.rpartition(":")[2] for line in cgroups.split()} == {"/"}
        assert all(m.root == "/" for m in groups)
    else:
        assert all(m.root.endswith(container_id) for m in groups if m.root != "/")
        assert container_id in cgroups


def test_a_symlink_is_copied_into_a_user_namespace(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    user_namespace(bundle, 100000, 200000)
    os.chown(bundle.rootfs, 100000, 200000)
    (bundle.path / "closed").mkdir(mode=0o700)
    (bundle.path / "closed" / "link").symlink_to("/etc/passwd")
    (bundle.path / "closed" / "file").write_text("text\n")
    mount(bundle, "/copied", "closed/link", "bind", "copy-symlink")
    mount(bundle, "/plain", "closed/file", "bind", "copy-symlink")
    assert output(runtime, bundle, container_id, "readlink /copied; cat /plain") == (
        "/etc/passwd\ntext\n"
    )
