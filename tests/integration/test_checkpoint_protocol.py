"""What checkpoint and restore ask of CRIU, by a stand-in that records it: each flag, and what fails."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.command import Completed, wait_until
from helpers.criu import FakeCriu
from helpers.runtime import Runtime

pytestmark = pytest.mark.root

PACKAGES = Path(sysconfig.get_path("purelib"))

Make = Callable[..., FakeCriu]


@pytest.fixture
def fake(tmp_path: Path) -> Make:
    return lambda **plan: FakeCriu(tmp_path, PACKAGES, **plan)


@pytest.fixture
def container(runtime: Runtime, bundle: Bundle, container_id: str) -> Iterator[str]:
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    runtime("start", container_id)
    yield container_id
    runtime("delete", "--force", container_id)


@pytest.fixture
def checkpoint(runtime: Runtime, container: str, tmp_path: Path) -> Callable[..., Completed]:
    def call(criu: FakeCriu, *flags: str, check: bool = True, **options: Any) -> Completed:
        words = ("--criu", str(criu.path), "checkpoint", "--image-path", str(tmp_path / "images"))
        return runtime(*words, *flags, container, check=check, **options)

    return call


Checkpoint = Callable[..., Completed]

#: Flag of checkpoint, and the field of the request that it sets.
FLAGS = [
    ("--leave-running", "leave_running", True),
    ("--tcp-established", "tcp_established", True),
    ("--tcp-skip-in-flight", "tcp_skip_in_flight", True),
    ("--link-remap", "link_remap", True),
    ("--ext-unix-sk", "ext_unix_sk", True),
    ("--shell-job", "shell_job", True),
    ("--file-locks", "file_locks", True),
    ("--auto-dedup", "auto_dedup", True),
    ("--lazy-pages", "lazy_pages", True),
    ("--page-server=192.0.2.1:1234", "ps", {"address": "192.0.2.1", "port": 1234}),
    ("--page-server=[2001:db8::1]:99", "ps", {"address": "2001:db8::1", "port": 99}),
    ("--manage-cgroups-mode=ignore", "manage_cgroups_mode", 0),
    ("--manage-cgroups-mode=soft", "manage_cgroups_mode", 3),
    ("--manage-cgroups-mode=full", "manage_cgroups_mode", 4),
    ("--manage-cgroups-mode=strict", "manage_cgroups_mode", 5),
    ("--network-lock=iptables", "network_lock", 1),
    ("--network-lock=nftables", "network_lock", 2),
    ("--network-lock=skip", "network_lock", 3),
    ("--empty-ns=network", "empty_ns", 0x40000000),
]


@pytest.mark.parametrize(("flag", "field", "value"), FLAGS, ids=[flag for flag, _, _ in FLAGS])
def test_flags_of_checkpoint(
    fake: Make, checkpoint: Checkpoint, flag: str, field: str, value: Any
) -> None:
    criu = fake()
    checkpoint(criu, flag, "--leave-running")
    assert criu.options()[field] == value


def test_what_checkpoint_always_asks_for(
    fake: Make,
    checkpoint: Checkpoint,
    runtime: Runtime,
    bundle: Bundle,
    container: str,
    tmp_path: Path,
) -> None:
    state = runtime.state(container)
    criu = fake()
    checkpoint(criu, "--work-path", str(tmp_path / "work"))
    version, dump = criu.requests()
    assert (version["type"], dump["type"]) == (10, 1)
    options = dump["opts"]
    assert (options["pid"], options["root"]) == (state["pid"], state["rootfs"])
    assert (options["log_file"], options["log_level"]) == ("dump.log", 4)
    assert options["manage_cgroups_mode"] == 6
    assert os.path.basename(options["freeze_cgroup"]).removesuffix(".scope").endswith(container)
    assert options["orphan_pts_master"]
    assert options["notify_scripts"]
    assert not options["leave_running"]
    assert options["images_dir_fd"] != options["work_dir_fd"]
    assert (tmp_path / "images" / "descriptors.json").is_file()
    assert (tmp_path / "work").is_dir()
    masks = [m for m in options["ext_mnt"] if m["val"] == "/dev/null"]
    masked = [Path(path) for path in bundle.config["linux"]["maskedPaths"]]
    assert {m["key"] for m in masks} == {str(p) for p in masked if p.exists() and not p.is_dir()}
    assert runtime.status(container) == "none"


def test_pre_dump_and_the_dump_after_it(
    fake: Make, checkpoint: Checkpoint, runtime: Runtime, container: str, tmp_path: Path
) -> None:
    criu = fake()
    checkpoint(criu, "--pre-dump")
    assert [request["type"] for request in criu.requests()] == [10, 9, 4]
    assert runtime.status(container) == "running"
    assert "ext_mnt" not in criu.options()
    (tmp_path / "first").mkdir()
    checkpoint(criu, "--parent-path", "../first")
    options = criu.options()
    assert (options["parent_img"], options["track_mem"]) == ("../first", True)
    assert runtime.status(container) == "none"


@pytest.mark.parametrize("linked", [False, True])
def test_the_images_need_not_have_a_directory_yet(
    fake: Make, runtime: Runtime, container: str, tmp_path: Path, linked: bool
) -> None:
    """The path of the parent is relative to one that is made only then."""
    criu = fake()
    (tmp_path / "real" / "first").mkdir(parents=True)
    place = tmp_path / "real"
    if linked:
        place = tmp_path / "link"
        place.symlink_to("real")
    words = ("--criu", criu.path, "checkpoint", "--image-path", place / "second")
    runtime(*words, "--parent-path", "../first", container)
    assert criu.options()["parent_img"] == "../first"


@pytest.mark.parametrize(
    ("flags", "plan", "message"),
    [
        (["--manage-cgroups-mode", "all"], {}, "must be one of ignore, soft, full, strict"),
        (["--network-lock", "all"], {}, "must be one of iptables, nftables, skip"),
        (["--empty-ns", "uts"], {}, '--empty-ns "uts": CRIU can do so for network only'),
        (["--page-server", "here"], {}, '--page-server "here": must be ADDRESS:PORT'),
        (["--page-server", "h:0"], {}, '--page-server "h:0": must be ADDRESS:PORT'),
        (["--parent-path", "/abs"], {}, "must be relative"),
        (["--parent-path", "../none"], {}, "there is no directory"),
        (["--status-fd", "77", "--lazy-pages"], {}, "--status-fd 77: it is not open"),
        (["--pre-dump"], {"features": []}, "--pre-dump: this kernel, or CRIU, has no tracking"),
        (["--lazy-pages"], {"features": []}, "--lazy-pages: this kernel, or CRIU, has no"),
        ([], {"version": [2, 9]}, "checkpoint needs CRIU 3.0, and"),
        ([], {"error": 16}, "CRIU: dump failed: Device or resource busy: it went wrong (see"),
        (["--work-path", "/proc/none"], {}, "--work-path /proc/none: No such file or directory"),
    ],
)
def test_what_fails(
    fake: Make,
    checkpoint: Checkpoint,
    runtime: Runtime,
    container: str,
    flags: list[str],
    plan: dict[str, Any],
    message: str,
) -> None:
    done = checkpoint(fake(**plan), *flags, check=False)
    assert done.returncode == 1
    assert message in done.stderr.replace("\\", "")
    assert runtime.status(container) == "running"


def test_criu_that_cannot_be_executed(runtime: Runtime, container: str, tmp_path: Path) -> None:
    done = runtime("--criu", "nosuchcriu", "checkpoint", container, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "--criu nosuchcriu: no such program: install CRIU" in done.stderr
    path = tmp_path / "script"
    path.write_text("#!/nonexistent\n")
    path.chmod(0o755)
    done = runtime("--criu", path, "checkpoint", container, check=False, cwd=tmp_path)
    assert "CRIU cannot be executed: " in done.stderr
    path.write_text("#!/bin/sh\n")
    done = runtime("--criu", path, "checkpoint", container, check=False, cwd=tmp_path)
    assert "CRIU" in done.stderr
    assert runtime.status(container) == "running"


def test_status_fd(fake: Make, runtime: Runtime, container: str, tmp_path: Path) -> None:
    criu = fake(notify=["status-ready"])
    reader, writer = os.pipe()
    words = ("--criu", criu.path, "checkpoint", "--image-path", tmp_path / "images")
    wrong = ("--lazy-pages", "--status-fd", str(reader), container)
    done = runtime(*words, *wrong, pass_fds=(reader,), check=False)
    assert f"--status-fd {reader}: it cannot be written to" in done.stderr
    flags = ("--lazy-pages", "--status-fd", str(writer))
    runtime(*words, *flags, container, pass_fds=(writer,))
    os.close(writer)
    assert os.read(reader, 10) == b"\0"
    os.close(reader)
    assert "status_fd" not in criu.options()


def test_states_that_have_no_checkpoint(
    fake: Make, runtime: Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    criu = fake()
    words = ("--criu", criu.path, "checkpoint", "--image-path", tmp_path / "i", container_id)
    assert "does not exist" in runtime(*words, check=False).stderr
    runtime.create(container_id, bundle.path)
    assert f"cannot checkpoint container {container_id}: it is created" in (
        runtime(*words, check=False).stderr
    )
    runtime("start", container_id)
    runtime.wait(container_id, "stopped")
    assert "it is stopped" in runtime(*words, check=False).stderr


def test_configuration_file_of_an_annotation(
    fake: Make, runtime: Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    bundle.config["annotations"] = {"org.criu.config": "/etc/criu/mine.conf"}
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    runtime("start", container_id)
    criu = fake()
    runtime("--criu", criu.path, "checkpoint", "--image-path", tmp_path / "i", container_id)
    assert criu.options()["config_file"] == "/etc/criu/mine.conf"


def images(directory: Path, descriptors: list[str] | None = None) -> Path:
    path = directory / "images"
    path.mkdir()
    (path / "descriptors.json").write_text(json.dumps(descriptors or ["", "", ""]))
    return path


RESTORE_FLAGS = [
    ("--tcp-established", "tcp_established", True),
    ("--tcp-close", "tcp_close", True),
    ("--ext-unix-sk", "ext_unix_sk", True),
    ("--ext-unix", "ext_unix_sk", True),
    ("--shell-job", "shell_job", True),
    ("--file-locks", "file_locks", True),
    ("--auto-dedup", "auto_dedup", True),
    ("--lazy-pages", "lazy_pages", True),
    ("--manage-cgroups-mode=strict", "manage_cgroups_mode", 5),
    ("--network-lock=iptables", "network_lock", 1),
    ("--network-lock=nftables", "network_lock", 2),
    ("--network-lock=skip", "network_lock", 3),
    ("--empty-ns=network", "empty_ns", 0x40000000),
    ("--lsm-profile=apparmor:mine", "lsm_profile", "apparmor:mine"),
    ("--lsm-mount-context=a:b:c", "lsm_mount_context", "a:b:c"),
    ("--no-pivot", "evasive_devices", True),  # nothing changes
]


@pytest.mark.parametrize(
    ("flag", "field", "value"), RESTORE_FLAGS, ids=[flag for flag, _, _ in RESTORE_FLAGS]
)
def test_flags_of_restore(
    fake: Make,
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    tmp_path: Path,
    flag: str,
    field: str,
    value: Any,
    no_leaks: Any,
) -> None:
    criu = fake(error=5)
    words = ("restore", "-d", "-b", bundle.path, "--image-path", images(tmp_path))
    done = runtime("--criu", criu.path, *words, flag, container_id, check=False)
    assert done.returncode == 1
    assert "CRIU: restore failed: Input/output error: it went wrong (see" in done.stderr
    assert criu.options()[field] == value


def test_what_restore_always_asks_for(
    fake: Make,
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    tmp_path: Path,
    no_leaks: Any,
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "file").write_text("x")
    bundle.config["mounts"] += [
        {"destination": "/shared", "source": str(tmp_path / "shared"), "options": ["rbind"]},
        {"destination": "/shared/file", "source": str(tmp_path / "file"), "options": ["bind"]},
        {"destination": "/new/place", "type": "tmpfs", "source": "tmpfs"},
    ]
    bundle.config["linux"]["namespaces"].append({"type": "network", "path": "/proc/self/ns/net"})
    bundle.config["linux"]["namespaces"] = [
        n for n in bundle.config["linux"]["namespaces"] if n["type"] != "network" or "path" in n
    ]
    bundle.save()
    criu = fake(error=5)
    place = images(tmp_path, ["file[1:2]", "pipe:[1]", "pipe:[2]"])
    words = ("restore", "-b", bundle.path, "--image-path", place, container_id)
    done = runtime("--criu", criu.path, *words, check=False)
    request = criu.requests()[-1]
    assert request["type"] == 2, done.stderr
    options = request["opts"]
    assert options["log_file"] == "restore.log"
    assert options["rst_sibling"]
    assert options["root"] == str(runtime.root / container_id / "criu-root")
    mounts = {m["key"]: m["val"] for m in options["ext_mnt"]}
    assert mounts["/shared"] == str(tmp_path / "shared")
    assert mounts["/shared/file"] == str(tmp_path / "file")
    assert mounts["/dev/null"] == "/dev/null"
    assert (bundle.rootfs / "new" / "place").is_dir()
    assert (tmp_path / "shared" / "file").is_file()
    inherited = {i["key"]: i["fd"] for i in options["inherit_fd"]}
    network = inherited.pop("extRootNetNS")
    assert inherited == {"file[1:2]": 0, "pipe:[1]": 1, "pipe:[2]": 2}
    assert request["links"][str(network)].startswith("net:[")
    names = {os.path.basename(root["path"]).removesuffix(".scope") for root in options["cg_root"]}
    assert any(name.endswith(container_id) for name in names)


@pytest.mark.parametrize(
    ("flags", "plan", "message"),
    [
        (["--lsm-profile", "mine"], {}, "must be apparmor:PROFILE or selinux:LABEL"),
        (["--lsm-profile", "selinux:x"], {"version": [3, 15]}, "need"),
        (["--console-socket", "/x"], {}, "--console-socket: given, but the container has no"),
        (["--image-path", "/nonexistent"], {}, "--image-path /nonexistent: No such file"),
        (["--image-path", "/var"], {}, "no checkpoint of a container is there"),
    ],
)
def test_what_fails_in_restore(
    fake: Make,
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    tmp_path: Path,
    flags: list[str],
    plan: dict[str, Any],
    message: str,
    no_leaks: Any,
) -> None:
    criu = fake(**plan)
    words = ("restore", "-d", "-b", bundle.path, "--image-path", images(tmp_path), *flags)
    done = runtime("--criu", criu.path, *words, container_id, check=False)
    assert done.returncode == 1
    assert message in done.stderr.replace("\\", "")


def test_a_restore_that_is_killed_can_be_deleted(
    fake: Make,
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    tmp_path: Path,
    no_leaks: Any,
) -> None:
    criu = fake(hang=True)
    words = ("restore", "-d", "-b", bundle.path, "--image-path", images(tmp_path), container_id)
    runtime.used.add(container_id)
    with subprocess.Popen(
        runtime.command("--criu", criu.path, *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        wait_until(Path(f"{criu.report}.hangs").exists, "CRIU to hang")
        process.kill()
    before = sorted(entry.name for entry in bundle.rootfs.iterdir())
    runtime("delete", "--force", container_id)
    assert sorted(entry.name for entry in bundle.rootfs.iterdir()) == before


def test_the_id_of_a_restored_container_must_be_free(
    fake: Make, runtime: Runtime, bundle: Bundle, container: str, tmp_path: Path
) -> None:
    words = ("restore", "-d", "-b", bundle.path, "--image-path", images(tmp_path), container)
    done = runtime("--criu", fake().path, *words, check=False)
    assert done.returncode == 1
    assert f"container {container} exists already" in done.stderr
    assert runtime.status(container) == "running"


def test_hooks_that_fail_end_the_restoration(
    fake: Make,
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    tmp_path: Path,
    no_leaks: Any,
) -> None:
    state = tmp_path / "state"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {state}; exit 3"]}
    bundle.config["hooks"] = {"createRuntime": [hook]}
    bundle.namespaces(drop=("network",)).save()
    criu = fake(notify=["setup-namespaces"])
    words = ("restore", "-d", "-b", bundle.path, "--image-path", images(tmp_path), container_id)
    done = runtime("--criu", criu.path, *words, check=False)
    assert done.returncode == 1
    assert "hooks.createRuntime[0]" in done.stderr
    assert json.loads(state.read_text())["status"] == "created"
