"""`mounts add` and `mounts remove`: the mounts of a container that runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.command import Completed, closed_directory
from helpers.mountinfo import parse
from helpers.runtime import Runtime
from helpers.unprivileged import User, UserRuntime

pytestmark = pytest.mark.root

Mount = dict[str, Any]


class Mounted:
    """A container that sleeps, and a directory of the host to be mounted in it."""

    def __init__(self, runtime: Runtime, bundle: Bundle, name: str, outside: Path) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.name = name
        self.closed = outside
        self.outside = outside = outside / "open"
        outside.mkdir(parents=True)
        (outside / "file").write_text("of the host")

    def start(self) -> None:
        self.bundle.args("sleep", "1000")
        self.runtime.create(self.name, self.bundle.path)
        self.runtime("start", self.name)

    def change(self, what: str, *mounts: Mount, check: bool = True) -> Completed:
        file = self.bundle.path / "mounts.json"
        file.write_text(json.dumps(mounts))
        return self.runtime("mounts", what, self.name, file, check=check)

    def exec(self, script: str) -> str:
        return self.runtime("exec", self.name, "sh", "-c", script).stdout

    def mount_points(self) -> list[str]:
        """All of the container, in their order."""
        return [line.split()[4] for line in self.exec("cat /proc/self/mountinfo").splitlines()]

    def bind(self, destination: str, *options: str, source: str = "") -> Mount:
        path = str(self.outside / source)
        return {"destination": destination, "source": path, "options": ["bind", *options]}


@pytest.fixture
def container(
    runtime: Runtime, bundle: Bundle, container_id: str, workspace: Path
) -> Iterator[Mounted]:
    outside = workspace / f"{container_id}-outside"
    yield Mounted(runtime, bundle, container_id, outside)
    runtime.clean()
    shutil.rmtree(outside)


TMPFS: Mount = {"destination": "/data/memory", "type": "tmpfs", "source": "tmpfs"}


def user_namespace(container: Mounted) -> None:
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    linux = container.bundle.config["linux"]
    linux["uidMappings"] = linux["gidMappings"] = mapping
    container.bundle.namespaces({"type": "user"})
    for path in (container.bundle.rootfs, *container.bundle.rootfs.rglob("*")):
        os.chown(path, 100000, 100000, follow_symlinks=False)
    container.closed.chmod(0o700)  # the way there is closed to the container's root


@pytest.mark.parametrize("own_users", [False, True], ids=["", "user namespace"])
def test_add_and_remove(no_leaks: Any, container: Mounted, own_users: bool) -> None:
    if own_users:
        user_namespace(container)
    container.start()
    before = container.mount_points()
    mounts = (
        container.bind("/data/new/directory", "ro"),
        container.bind("/data/one", source="file"),
        TMPFS,
    )
    container.change("add", *mounts)
    assert container.mount_points() == [*before, *(m["destination"] for m in mounts)]
    assert container.exec("ls /data/new/directory; echo words > /data/memory/x") == "file\n"
    assert container.exec("cat /data/one") == "of the host"
    done = container.exec("echo > /data/new/directory/y || echo refused")
    assert done == "refused\n"
    container.change("remove", *mounts)
    assert container.mount_points() == before
    assert container.exec("ls /data/new/directory /data/memory") == (
        "/data/memory:\n\n/data/new/directory:\n"
    )
    assert (container.outside / "file").read_text() == "of the host"


def test_filesystems_show_the_namespaces_of_the_container(container: Mounted) -> None:
    container.bundle.namespaces({"type": "cgroup"})
    container.start()
    container.change(
        "add",
        {"destination": "/data/proc", "type": "proc", "source": "proc"},
        {"destination": "/data/mqueue", "type": "mqueue", "source": "mqueue"},
        {"destination": "/data/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
    )
    assert container.exec("cat /data/proc/1/comm") == "sleep\n"
    # with cgroup v1 there is a directory for each hierarchy
    files = "/data/cgroup/cgroup.procs /data/cgroup/*/cgroup.procs"
    assert "1" in container.exec(f"cat {files} 2>/dev/null; true").split()


def test_the_container_is_in_any_state(container: Mounted) -> None:
    container.bundle.args("cat", "/data/there/file")
    container.runtime.create(container.name, container.bundle.path)
    container.change("add", container.bind("/data/there"))
    container.runtime("start", container.name)
    container.runtime.wait(container.name, "stopped")
    assert (container.bundle.path / "output").read_text() == "of the host"
    done = container.change("remove", container.bind("/data/there"), check=False)
    assert done.returncode == 1
    assert f"cannot remove mounts of container {container.name}: it is stopped" in done.stderr


def test_a_paused_container(container: Mounted) -> None:
    container.start()
    container.runtime("pause", container.name)
    container.change("add", container.bind("/data/there"))
    assert container.runtime.status(container.name) == "paused"
    container.runtime("resume", container.name)
    assert container.exec("cat /data/there/file") == "of the host"


def test_what_is_added_is_remembered(container: Mounted) -> None:
    container.start()
    stored = container.runtime.root / container.name / "config.json"
    before = json.loads(stored.read_text())["mounts"]
    container.change("add", TMPFS, container.bind("/data/there"))
    assert json.loads(stored.read_text())["mounts"] == [
        *before,
        TMPFS,
        container.bind("/data/there"),
    ]
    container.change("remove", {"destination": "//data/memory/"})
    assert json.loads(stored.read_text())["mounts"] == [*before, container.bind("/data/there")]


def test_what_is_added_is_no_peer_of_the_mount_of_the_host(
    no_leaks: Any, container: Mounted
) -> None:
    """What the container mounts in it would be mounted on the host."""
    container.start()
    subprocess.run(["mount", "-t", "tmpfs", "shared", container.outside], check=True)
    try:
        subprocess.run(["mount", "--make-shared", container.outside], check=True)
        container.change("add", container.bind("/data/new"))
        table = parse(container.exec("cat /proc/self/mountinfo"))
    finally:
        subprocess.run(["umount", container.outside], check=True)
    assert table["/data/new"].propagation_kinds == {"master"}


def test_all_or_none_are_added(container: Mounted) -> None:
    container.start()
    before = container.mount_points()
    done = container.change(
        "add", TMPFS, container.bind("/data/there"), container.bind("/x", source="no"), check=False
    )
    assert done.returncode == 1
    missing = container.outside / "no"
    assert f"open_tree {missing}: No such file or directory" in done.stderr
    assert "mounts.json: /2)" in done.stderr
    odd = {"destination": "/data/odd", "type": "tmpfs", "options": ["nosuchoption=1"]}
    done = container.change("add", TMPFS, container.bind("/data/there"), odd, check=False)
    assert done.returncode == 1
    assert "option nosuchoption" in done.stderr
    assert "are left" not in done.stderr
    assert container.mount_points() == before
    stored = json.loads((container.runtime.root / container.name / "config.json").read_text())
    assert "/data/memory" not in [mount["destination"] for mount in stored["mounts"]]


def test_symbolic_links_do_not_lead_out(container: Mounted, scratch: Path) -> None:
    container.start()
    (container.bundle.rootfs / "out").symlink_to(scratch)
    container.change("add", container.bind("/out/there"))
    assert list(scratch.iterdir()) == []
    assert container.exec(f"cat {scratch}/there/file") == "of the host"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir()
    return path


def test_a_link_cannot_have_a_mask_removed(container: Mounted) -> None:
    """What a container puts at the destination meanwhile must not lay open what is hidden from it."""
    container.start()
    container.change("add", container.bind("/data/there"))
    for target in ("/proc/keys", "/sys/firmware"):
        container.exec(f"rm -f /data/link; ln -s {target} /data/link")
        done = container.change("remove", {"destination": "/data/link"}, check=False)
        assert done.returncode == 1
        assert "a symbolic link is on the way" in done.stderr
        assert target in container.mount_points()


@pytest.mark.parametrize(
    ("what", "mounts", "message"),
    [
        ("add", '[{"type": "tmpfs"}]', "/0/destination: required, and missing"),
        ("add", '{"destination": "/x"}', "/: expected an array"),
        ("add", "[", "mounts.json"),
        (
            "add",
            '[{"destination": "/x", "type": "bind"}]',
            "/0/source: a bind mount needs a source",
        ),
        ("remove", '[{"destination": "/"}]', "/0/destination: the root cannot be unmounted"),
        (
            "remove",
            '[{"destination": "/bin"}]',
            "umount2 /bin: Invalid argument: nothing is mounted",
        ),
        ("remove", '[{"destination": "/none"}]', "openat2 /none: No such file or directory"),
        ("show", "[]", 'mounts: "show": must be add or remove'),
    ],
)
def test_wrong_use(container: Mounted, what: str, mounts: str, message: str) -> None:
    container.start()
    before = container.mount_points()
    file = container.bundle.path / "mounts.json"
    file.write_text(mounts)
    done = container.runtime("mounts", what, container.name, file, check=False)
    assert done.returncode == 1
    assert message in done.stderr.replace('\\"', '"')
    assert container.mount_points() == before


def test_the_mounts_of_the_host_are_left_alone(container: Mounted) -> None:
    container.bundle.namespaces(drop=("mount",))
    for name in ("maskedPaths", "readonlyPaths"):
        del container.bundle.config["linux"][name]
    container.start()
    done = container.change("add", TMPFS, check=False)
    assert done.returncode == 1
    assert "no mount namespace of its own" in done.stderr
    assert "/data/memory" not in Path("/proc/self/mountinfo").read_text()


def test_without_root(
    runtime_binary: Path, bundle: Bundle, container_id: str, workspace: Path
) -> None:
    """A user may have filesystems mounted; to show more of the host needs root, as it does with crun."""
    if closed := closed_directory(runtime_binary):
        pytest.skip(f"{closed} cannot be searched by another user, so {runtime_binary} not run")
    user = User(workspace / f"{container_id}-user")
    runtime = UserRuntime(runtime_binary, user.directory / "root", user)
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = linux["gidMappings"] = [
        {"containerID": 0, "hostID": user.uid, "size": 1}
    ]
    del linux["resources"]
    outside = workspace / f"{container_id}-outside"
    container = Mounted(runtime, bundle, container_id, outside)
    try:
        bundle.args("sleep", "1000").save()
        user.own(bundle.path)
        runtime.create(container_id, bundle.path)
        runtime("start", container_id)
        container.change("add", TMPFS)
        assert "/data/memory" in container.mount_points()
        done = container.change("add", container.bind("/data/there"), check=False)
        assert done.returncode == 1
        assert "Operation not permitted: it takes root to open what is mounted" in done.stderr
        container.change("remove", TMPFS)
        assert "/data/memory" not in container.mount_points()
    finally:
        runtime.clean()
        for path in (user.directory, outside):
            shutil.rmtree(path)


def test_crun_does_the_same(container: Mounted) -> None:
    """The file is that of crun, which has the command from 1.20 on."""
    crun = shutil.which("crun")
    if crun is None:
        pytest.skip("crun is not installed")
    done = subprocess.run([crun, "mounts", "--help"], capture_output=True, text=True, check=False)
    if "add|remove" not in done.stdout:
        pytest.skip("this crun has no command `mounts`: it came with 1.20")
    theirs = Runtime(Path(crun), container.bundle.path / "crun-root")
    other = Mounted(theirs, container.bundle, f"{container.name}-c", container.outside / "below")
    try:
        other.start()
        other.change("add", TMPFS, other.bind("/data/there"))
        points = [line for line in other.mount_points() if line.startswith("/data/")]
        assert points == ["/data/memory", "/data/there"]
    finally:
        theirs.clean()
