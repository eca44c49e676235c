"""Devices, hidden and read-only paths, and the root itself (config-linux.md)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.containers import output, refused, user_namespace
from helpers.leaks import Leaks
from helpers.mountinfo import parse
from helpers.runtime import Runtime

from pyrunc.container import creation
from pyrunc.container.creation import CreateOptions
from pyrunc.plan.operations import PivotRoot, SetFileLabel
from pyrunc.plan.plan import Plan
from pyrunc.spec.loader import load_bundle

pytestmark = pytest.mark.root


# ---- devices ------------------------------------------------------------------------------------

SHOW = "stat -c '%n %F %t:%T %a %u:%g' "

DEFAULTS = {
    "null": "1:3",
    "zero": "1:5",
    "full": "1:7",
    "random": "1:8",
    "urandom": "1:9",
    "tty": "5:0",
}


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "user-namespace"])
def test_default_devices_and_links(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, mapped: bool
) -> None:
    if mapped:
        user_namespace(bundle)
    names = " ".join(f"/dev/{name}" for name in DEFAULTS)
    links = "for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done"
    script = f"stat -c '%n %F %t:%T %a' {names}; {links}; echo x > /dev/null; head -c 3 /dev/zero | wc -c"
    lines = output(runtime, bundle, container_id, script).splitlines()
    assert lines[: len(DEFAULTS)] == [
        f"/dev/{name} character special file {number} 666" for name, number in DEFAULTS.items()
    ]
    assert lines[len(DEFAULTS) :] == [
        "/proc/self/fd",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
        "/proc/self/fd/2",
        "pts/ptmx",
        "3",
    ]


DEVICES: dict[str, tuple[dict[str, Any], str]] = {
    "character": (
        {"type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 5, "gid": 6},
        "character special file a:e5 640 5:6",
    ),
    "unbuffered": ({"type": "u", "major": 1, "minor": 5}, "character special file 1:5 666 0:0"),
    "block": (
        {"type": "b", "major": 7, "minor": 300, "fileMode": 0o4600},
        "block special file 7:12c 4600 0:0",
    ),
    "fifo": ({"type": "p", "fileMode": 0o622, "gid": 9}, "fifo 0:0 622 0:9"),
}


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("path", ["/dev/it", "/dev/deep/below/it", "/outside/of/dev"])
def test_devices(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, name: str, path: str
) -> None:
    device, expected = DEVICES[name]
    bundle.config["linux"]["devices"] = [{"path": path, **device}]
    assert output(runtime, bundle, container_id, SHOW + path) == f"{path} {expected}\n"


def test_a_device_in_the_place_of_a_default_one(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    device = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 4}
    bundle.config["linux"]["devices"] = [device]
    found = output(runtime, bundle, container_id, SHOW + "/dev/null")
    assert found == "/dev/null character special file 1:3 600 4:0\n"


def test_another_thing_in_the_place_of_a_device(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    (bundle.rootfs / "data" / "device").write_text("I was here first\n")
    device = {"path": "/data/device", "type": "c", "major": 1, "minor": 3}
    bundle.config["linux"]["devices"] = [device]
    error = refused(runtime, bundle, container_id)
    assert "linux.devices[0]: mknodat /data/device: File exists" in error
    assert "(config.json: /linux/devices/0)" in error
    assert (bundle.rootfs / "data" / "device").read_text() == "I was here first\n"


def test_a_device_does_not_follow_symlinks_out_of_the_root(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    outside = bundle.path / "outside"
    outside.mkdir()
    (bundle.rootfs / "way").symlink_to(outside)
    device = {"path": "/way/device", "type": "c", "major": 1, "minor": 3}
    bundle.config["linux"]["devices"] = [device]
    output(runtime, bundle, container_id, SHOW + "/way/device")
    assert list(outside.iterdir()) == []
    assert stat.S_ISCHR((bundle.rootfs / str(outside)[1:] / "device").stat().st_mode)


def test_in_a_user_namespace_a_device_is_that_of_the_host(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    user_namespace(bundle)
    number = os.stat("/dev/fuse").st_rdev if os.path.exists("/dev/fuse") else None
    if number is None:
        pytest.skip("there is no /dev/fuse on this host")
    device = {
        "path": "/dev/fuse",
        "type": "c",
        "major": os.major(number),
        "minor": os.minor(number),
    }
    bundle.config["linux"]["devices"] = [device]
    found = output(runtime, bundle, container_id, "stat -c %t:%T /dev/fuse")
    assert found == f"{os.major(number):x}:{os.minor(number):x}\n"


@pytest.mark.parametrize(
    ("path", "minor", "why"),
    [("/dev/nosuch", 3, "No such file or directory"), ("/dev/zero", 3, "No such device")],
)
def test_in_a_user_namespace_the_host_must_have_it(
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    no_leaks: Leaks,
    path: str,
    minor: int,
    why: str,
) -> None:
    user_namespace(bundle)
    device = {"path": path, "type": "c", "major": 1, "minor": minor}
    bundle.config["linux"]["devices"] = [device]
    error = refused(runtime, bundle, container_id)
    assert "linux.devices[0]: " in error
    assert f"{path}: {why}" in error


def test_a_bound_dev_is_left_as_it_is(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    mine = bundle.path / "dev"
    mine.mkdir()
    os.mknod(mine / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    mounts = bundle.config["mounts"]
    bundle.config["mounts"] = [m for m in mounts if not m["destination"].startswith("/dev")]
    bundle.config["mounts"].append(
        {"destination": "/dev", "source": "dev", "type": "bind", "options": ["bind"]}
    )
    output(runtime, bundle, container_id, "true")
    assert [entry.name for entry in mine.iterdir()] == ["null"]


# ---- hidden and read-only -----------------------------------------------------------------------


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "user-namespace"])
def test_masked_paths(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, mapped: bool
) -> None:
    if mapped:
        user_namespace(bundle)
    secret = bundle.rootfs / "data"
    (secret / "directory").mkdir()
    (secret / "directory" / "file").write_text("secret\n")
    (secret / "file").write_text("secret\n")
    (secret / "link").symlink_to("linked")
    (secret / "linked").write_text("secret\n")
    paths = ["/data/directory", "/data/file", "/data/link", "/data/missing", "/data/file/below"]
    bundle.config["linux"]["maskedPaths"] = [*paths, "/data/file"]
    script = (
        "ls -A /data/directory; cat /data/file /data/linked; test -c /data/file && echo device;"
        " touch /data/directory/x 2>&1; mkdir /data/missing 2>/dev/null && echo not masked"
    )
    if mapped:
        secret.chmod(0o777)
    done = runtime.run(container_id, bundle.sh(script).path, check=False)
    assert "secret" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "device"
    assert "Read-only file system" in lines[1]
    assert lines[2:] == ["not masked"]
    assert (secret / "file").read_text() == "secret\n"


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "user-namespace"])
def test_read_only_paths(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, mapped: bool
) -> None:
    if mapped:
        user_namespace(bundle)
    data = bundle.rootfs / "data"
    (data / "file").write_text("text\n")
    for path in (data, data / "file"):
        path.chmod(0o777)
    bundle.config["linux"]["readonlyPaths"] = ["/data", "/etc/passwd", "/no/such", "/proc/sys"]
    script = (
        "touch /data/x /etc/passwd /data/file; cat /data/file;"
        " echo 1 > /proc/sys/net/ipv4/ip_forward; touch /tmp/x && echo yes; cat /proc/self/mountinfo"
    )
    (bundle.rootfs / "tmp").chmod(0o1777)
    done = runtime.run(container_id, bundle.sh(script).path, check=False)
    assert done.stderr.count("Read-only file system") == 4
    assert done.stdout.startswith("text\nyes\n")
    mounts = parse(done.stdout)
    for path in ("/data", "/etc/passwd", "/proc/sys"):
        assert "ro" in mounts[path].options
    # other flags of the mount are kept
    assert set(mounts["/proc"].options) - {"rw"} <= set(mounts["/proc/sys"].options)


def test_the_null_device_that_masks_is_the_hosts(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    """CVE-2025-31133: a container that has put something else at /dev/null."""
    mounts = bundle.config["mounts"]
    bundle.config["mounts"] = [m for m in mounts if not m["destination"].startswith("/dev")]
    mine = bundle.path / "dev"
    mine.mkdir()
    (mine / "null").symlink_to("/proc/sys/kernel/core_pattern")
    bundle.config["mounts"].append(
        {"destination": "/dev", "source": "dev", "type": "bind", "options": ["bind"]}
    )
    bundle.config["linux"]["maskedPaths"] = ["/etc/passwd"]
    error = refused(runtime, bundle, container_id)
    assert "linux.maskedPaths[0]: " in error


# ---- the root -----------------------------------------------------------------------------------


@pytest.mark.parametrize("readonly", [True, False, None])
def test_a_read_only_root(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, readonly: bool | None
) -> None:
    if readonly is None:
        del bundle.config["root"]["readonly"]
    else:
        bundle.config["root"]["readonly"] = readonly
    script = "touch /tmp/x; touch /dev/shm/x && cat /proc/self/mountinfo"
    done = runtime.run(container_id, bundle.sh(script).path, check=False)
    assert ("Read-only file system" in done.stderr) == bool(readonly)
    assert parse(done.stdout)["/"].options[0] == ("ro" if readonly else "rw")


def test_the_root_is_the_rootfs_and_nothing_of_the_host_is_left(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    (bundle.rootfs / "marker").touch()
    mounts = parse(output(runtime, bundle, container_id, "ls -d /marker; cat /proc/self/mountinfo"))
    wanted = {"/", *(m["destination"] for m in bundle.config["mounts"])}
    linux = bundle.config["linux"]
    assert set(mounts) <= wanted | set(linux["maskedPaths"]) | set(linux["readonlyPaths"])
    assert mounts["/"].root.endswith(str(Path(bundle.path.name) / "rootfs"))


def test_a_rootfs_outside_of_the_bundle(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    elsewhere = bundle.path / "elsewhere"
    bundle.rootfs.rename(elsewhere)
    (bundle.path / "link").symlink_to(elsewhere)
    for path in (str(elsewhere), "elsewhere", "link", "./link/../elsewhere"):
        bundle.config["root"]["path"] = path
        assert output(runtime, bundle, container_id, "echo runs") == "runs\n"


def test_a_file_is_labelled(
    runtime: Runtime, bundle: Bundle, container_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operation alone: without SELinux a label is an attribute like any other."""
    (bundle.rootfs / "way").symlink_to("/data")
    compile_plan = creation._compile_plan

    def with_label(*arguments: Any) -> Plan:
        plan = compile_plan(*arguments)
        place = next(i for i, o in enumerate(plan.operations) if isinstance(o, PivotRoot))
        plan.operations.insert(place, SetFileLabel("/way", "a:b:c:s0"))
        return plan

    monkeypatch.setattr(creation, "_compile_plan", with_label)
    loaded = load_bundle(str(bundle.path))
    with open("/dev/null", "r+b") as null:
        options = CreateOptions(stdio=(null.fileno(),) * 3)
        creation.create(str(runtime.root), container_id, loaded, options)
    runtime.used.add(container_id)
    assert os.getxattr(bundle.rootfs / "data", "security.selinux") == b"a:b:c:s0\0"
