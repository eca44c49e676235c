"""Containers of an unprivileged user: as another user where root runs the tests, otherwise as one's own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.command import closed_directory, run_command, wait_until
from helpers.engines import RUNC
from helpers.leaks import remove_tree
from helpers.terminal import TerminalProcess
from helpers.unprivileged import COUNT, User, UserRuntime

from pyrunc.host.facts import HostFacts

FACTS = HostFacts()
V1 = "pids" in FACTS.cgroup_mounts and FACTS.cgroup_mode != "v2"

MakeBundle = Callable[..., Bundle]


def _namespaces_allowed() -> bool:
    done = subprocess.run(
        ["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups", "unshare", "-U", "true"]
        if os.geteuid() == 0
        else ["unshare", "-U", "true"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


pytestmark = pytest.mark.skipif(
    not _namespaces_allowed(), reason="this host lets no unprivileged user make user namespaces"
)


@pytest.fixture(scope="module")
def home(workspace: Path) -> Iterator[Path]:
    path = workspace / "users"
    path.mkdir()
    yield path
    remove_tree(path)


@pytest.fixture(scope="module")
def user(home: Path) -> User:
    """A user without subordinate ids, as far as root can have one."""
    return User(home / "plain")


@pytest.fixture(scope="module")
def rich_user(home: Path) -> User:
    """A user with subordinate ids."""
    made = User(home / "rich", subordinate=True)
    if not made.subordinate:
        pytest.skip("this user has no subordinate ids: /etc/subuid and newuidmap(1)")
    return made


@pytest.fixture(scope="module")
def binary(runtime_binary: Path) -> Path:
    if closed := closed_directory(runtime_binary):
        pytest.skip(f"{closed} cannot be searched by another user, so {runtime_binary} not run")
    return runtime_binary


def make_runtime(binary: Path, user: User) -> Iterator[UserRuntime]:
    runtime = UserRuntime(binary, user.directory / f"root-{time.monotonic_ns()}", user)
    yield runtime
    runtime.cgroups = ()
    runtime.clean()
    assert not runtime.root.exists() or os.listdir(runtime.root) == []


@pytest.fixture
def runtime(binary: Path, user: User) -> Iterator[UserRuntime]:
    """The runtime under test, as the user runs it. At its end, no container may be left."""
    yield from make_runtime(binary, user)


@pytest.fixture
def rich_runtime(binary: Path, rich_user: User) -> Iterator[UserRuntime]:
    yield from make_runtime(binary, rich_user)


def rootless(bundle: Bundle, user: User, *, subordinate: bool = False) -> Bundle:
    """Make a bundle one of the user's, in a user namespace with its ids mapped."""
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": user.uid, "size": 1}]
    if subordinate:
        mapping.append({"containerID": 1, "hostID": user.subordinate, "size": COUNT})
    linux["uidMappings"] = linux["gidMappings"] = mapping
    del linux["resources"]
    user.own(bundle.path)
    return bundle.save()


@pytest.fixture
def bundle(make_bundle: MakeBundle, user: User) -> Bundle:
    return rootless(make_bundle(), user)


@pytest.fixture
def rich_bundle(make_bundle: MakeBundle, rich_user: User) -> Bundle:
    return rootless(make_bundle(), rich_user, subordinate=True)


@pytest.fixture
def running(runtime: UserRuntime, bundle: Bundle, container_id: str) -> str:
    """A container that runs a shell waiting for signals."""
    bundle.sh("trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done")
    runtime.detached("run", container_id, bundle.path, "--detach")
    wait_until(lambda: "ready" in (bundle.path / "output").read_text(), "the program")
    return container_id


def fails(runtime: UserRuntime, bundle: Bundle, *flags: str) -> str:
    """What `run` says when it fails; nothing may be left."""
    done = runtime.run("failing", bundle.save().path, *flags, check=False)
    assert done.returncode == 1, done.stdout
    assert runtime.status("failing") == "none"
    return done.stderr


# ---- the caller's id alone --------------------------------------------------------------------


def test_ids(runtime: UserRuntime, bundle: Bundle, container_id: str, user: User) -> None:
    bundle.sh("id -u; id -g; id -G; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups")
    said = runtime.run(container_id, bundle.path).stdout.split()
    mapping = ["0", str(user.uid), "1"]
    assert said[:2] == ["0", "0"]
    assert said[-7:] == [*mapping, *mapping, "deny"]


def test_the_configuration_that_spec_writes(
    runtime: UserRuntime, make_bundle: MakeBundle, user: User, container_id: str
) -> None:
    bundle = make_bundle()
    user.own(bundle.path)
    (bundle.path / "config.json").unlink()
    runtime("spec", "--rootless", "--bundle", bundle.path)
    bundle.config = json.loads((bundle.path / "config.json").read_text())
    assert (bundle.path / "config.json").stat().st_uid == user.uid
    bundle.config["process"]["terminal"] = False
    bundle.sh(
        "id -u; ls /sys/class; touch /x 2>&1; cat /proc/self/attr/current >/dev/null; ls /sys/fs/cgroup"
    )
    said = runtime.run(container_id, bundle.path).stdout
    assert said.startswith("0\n")
    assert "net\n" in said
    assert "Read-only file system" in said


def test_the_state_is_in_the_runtime_directory(
    binary: Path, user: User, bundle: Bundle, container_id: str
) -> None:
    runtime = UserRuntime(binary, Path(), user)
    bundle.args("sleep", "60")
    runtime.create(container_id, bundle.path)
    state = user.runtime_directory / "pyrunc" / container_id
    assert state.is_dir()
    assert state.stat().st_uid == user.uid
    assert runtime.state(container_id)["id"] == container_id
    assert container_id in runtime("list", "--quiet").stdout.split()
    runtime("delete", "--force", container_id)
    assert not state.exists()


def test_without_a_runtime_directory_root_is_named(
    binary: Path, user: User, bundle: Bundle, container_id: str
) -> None:
    runtime = UserRuntime(binary, Path(), user)
    runtime.variables["XDG_RUNTIME_DIR"] = ""
    done = runtime.run(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert "--root /run/pyrunc" in done.stderr
    assert "XDG_RUNTIME_DIR" in done.stderr


def test_devices_are_those_of_the_host(
    runtime: UserRuntime, bundle: Bundle, container_id: str
) -> None:
    bundle.sh(
        "for d in null zero full random urandom tty; do ls -l /dev/$d; done;"
        "head -c 3 /dev/zero | wc -c; echo x >/dev/null; grep -c ' /dev/null ' /proc/mounts"
    )
    said = runtime.run(container_id, bundle.path).stdout.splitlines()
    assert [line.split()[0] for line in said[:6]] == ["crw-rw-rw-"] * 6
    assert said[6:] == ["3", "1"]


def test_a_device_of_ones_own_is_bound(
    runtime: UserRuntime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["linux"]["devices"] = [
        {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600}
    ]
    bundle.sh("ls -l /dev/kmsg")
    assert " 1,  11 " in runtime.run(container_id, bundle.path).stdout


def test_a_device_that_the_host_has_not_is_named(runtime: UserRuntime, bundle: Bundle) -> None:
    bundle.config["linux"]["devices"] = [
        {"path": "/dev/nosuch", "type": "c", "major": 1, "minor": 250}
    ]
    said = fails(runtime, bundle)
    assert "/dev/nosuch: No such file or directory" in said
    assert "/linux/devices/0" in said


def test_a_device_of_another_number_is_refused(runtime: UserRuntime, bundle: Bundle) -> None:
    bundle.config["linux"]["devices"] = [
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 11}
    ]
    said = fails(runtime, bundle)
    assert "/dev/zero" in said
    assert "/linux/devices/0" in said


@pytest.mark.parametrize(
    ("user_object", "pointer"),
    [
        ({"uid": 0, "gid": 0, "additionalGids": [5]}, "/process/user/additionalGids"),
        ({"uid": 1, "gid": 0}, "/process/user/uid"),
        ({"uid": 0, "gid": 1}, "/process/user/gid"),
    ],
)
def test_ids_that_are_not_mapped(
    runtime: UserRuntime, bundle: Bundle, user_object: dict[str, Any], pointer: str
) -> None:
    bundle.config["process"]["user"] = user_object
    assert pointer in fails(runtime, bundle)


def test_a_configuration_without_a_user_namespace(runtime: UserRuntime, bundle: Bundle) -> None:
    bundle.namespaces(drop=("user",))
    del bundle.config["linux"]["uidMappings"], bundle.config["linux"]["gidMappings"]
    said = fails(runtime, bundle)
    assert "user namespace" in said
    assert "spec --rootless" in said
    assert "/linux/namespaces" in said


def test_sysfs_without_a_network_namespace(runtime: UserRuntime, bundle: Bundle) -> None:
    bundle.namespaces(drop=("network",))
    said = fails(runtime, bundle)
    assert "/mounts/4" in said
    assert "network namespace" in said


def test_procfs_without_a_pid_namespace(runtime: UserRuntime, bundle: Bundle) -> None:
    bundle.namespaces(drop=("pid",))
    said = fails(runtime, bundle)
    assert "/mounts/0" in said
    assert "pid namespace" in said


def test_sysfs_by_a_bind_mount(runtime: UserRuntime, bundle: Bundle, container_id: str) -> None:
    bundle.namespaces(drop=("network",))
    bundle.config["mounts"][4] = {
        "destination": "/sys",
        "type": "none",
        "source": "/sys",
        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
    }
    bundle.sh("ls /sys/class/net; mkdir /sys/fs/cgroup/x; ls /sys/firmware")
    done = runtime.run(container_id, bundle.path, check=False)
    assert "lo" in done.stdout.split()
    assert "can't create" in done.stderr


def test_a_parameter_of_the_own_network(
    runtime: UserRuntime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["linux"]["sysctl"] = {"net.ipv4.ping_group_range": "0 0"}
    bundle.args("cat", "/proc/sys/net/ipv4/ping_group_range")
    assert runtime.run(container_id, bundle.path).stdout.split() == ["0", "0"]


def test_bind_mounts_keep_what_the_host_locked(
    runtime: UserRuntime, bundle: Bundle, container_id: str, user: User
) -> None:
    shared = user.directory / "shared"
    shared.mkdir(exist_ok=True)
    user.own(shared)
    mount = {"destination": "/data", "type": "bind", "source": str(shared), "options": ["bind"]}
    bundle.config["mounts"].append(mount | {"options": ["rbind", "ro", "nosuid"]})
    bundle.sh("touch /data/x; id -u")
    done = runtime.run(container_id, bundle.path)
    assert done.stdout == "0\n"
    assert "Read-only file system" in done.stderr
    bundle.config["mounts"][-1] = mount
    bundle.sh("touch /data/x; stat -c %u /data/x")
    assert runtime.run(container_id, bundle.path).stdout == "0\n"
    assert (shared / "x").stat().st_uid == user.uid


def test_id_mapped_mounts_are_refused(runtime: UserRuntime, bundle: Bundle) -> None:
    bundle.config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": "/usr", "options": ["bind", "idmap"]}
    )
    said = fails(runtime, bundle)
    assert "/mounts/5/options" in said


def test_seccomp(runtime: UserRuntime, bundle: Bundle, container_id: str, user: User) -> None:
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42}],
    }
    bundle.sh("mkdir /tmp/x; grep Seccomp: /proc/self/status")
    done = runtime.run(container_id, bundle.path)
    assert done.stdout.split() == ["Seccomp:", "2"]
    assert not (bundle.rootfs / "tmp" / "x").exists()
    cache = user.runtime_directory / "pyrunc-seccomp"
    assert os.listdir(cache)
    assert cache.stat().st_uid == user.uid


def test_hooks_run_as_the_user(
    runtime: UserRuntime, bundle: Bundle, container_id: str, user: User
) -> None:
    log = user.directory / f"log-{container_id}"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"id -u >>{log}"]}
    bundle.config["hooks"] = {"createRuntime": [hook], "poststart": [hook], "poststop": [hook]}
    runtime.run(container_id, bundle.save().path)
    assert log.read_text().split() == [str(user.uid)] * 3


def test_capabilities_are_those_asked_for(
    runtime: UserRuntime, bundle: Bundle, container_id: str
) -> None:
    names = ("bounding", "effective", "permitted", "inheritable", "ambient")
    bundle.config["process"]["capabilities"] = {
        name: ["CAP_NET_ADMIN", "CAP_SYS_CHROOT"] for name in names
    }
    bundle.sh("grep ^Cap /proc/self/status")
    mask = f"{1 << 12 | 1 << 18:016x}"
    said = runtime.run(container_id, bundle.path).stdout.split()
    assert said[1::2] == [mask] * 5


# ---- operations -------------------------------------------------------------------------------


def test_lifecycle(runtime: UserRuntime, bundle: Bundle, container_id: str, user: User) -> None:
    bundle.sh("trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done")
    runtime.create(container_id, bundle.path)
    state = runtime.state(container_id)
    assert (state["status"], state["bundle"]) == ("created", str(bundle.path))
    assert os.stat(f"/proc/{state['pid']}").st_uid in (user.uid, 0)
    runtime("start", container_id)
    assert runtime.status(container_id) == "running"
    wait_until(lambda: "ready" in (bundle.path / "output").read_text(), "the program")
    runtime("kill", container_id, "TERM")
    runtime.wait(container_id, "stopped")
    runtime("delete", container_id)
    assert runtime.status(container_id) == "none"


def test_exec(runtime: UserRuntime, running: str) -> None:
    assert runtime("exec", running, "id", "-u").stdout == "0\n"
    done = runtime("exec", "--cwd", "/tmp", "--env", "A=b", running, "sh", "-c", "pwd; echo $A")
    assert done.stdout == "/tmp\nb\n"
    assert runtime("exec", running, "sh", "-c", "exit 5", check=False).returncode == 5
    listed = runtime("exec", running, "sh", "-c", "ls /proc | grep -c '^[0-9]'").stdout
    assert int(listed) < 10


def test_exec_as_a_user_that_is_not_mapped(runtime: UserRuntime, running: str) -> None:
    done = runtime("exec", "--user", "1000", running, "id", check=False)
    assert done.returncode not in (0, 1000)
    assert "/process/user" in done.stderr
    done = runtime("exec", "--additional-gids", "5", running, "id", check=False)
    assert done.returncode != 0
    assert "/process/user/additionalGids" in done.stderr


def test_exec_with_a_terminal(runtime: UserRuntime, running: str) -> None:
    script = "tty; stat -c %u $(tty)"
    words = runtime.command("exec", "--tty", running, "sh", "-c", script)
    with TerminalProcess(words) as terminal:
        assert b"/dev/pts/0\r\n0\r\n" in terminal.expect("0\r\n0\r\n")
        assert terminal.wait() == 0


# ---- cgroups ----------------------------------------------------------------------------------


def own_cgroups_are_ours() -> bool:
    """This process may make cgroups beside its own, as a service with Delegate= of a user may."""
    path = FACTS.cgroup_mounts.get("", "") + os.path.dirname(FACTS.cgroup_own.get("", "/"))
    return os.geteuid() != 0 and FACTS.cgroup_mode == "v2" and os.access(path, os.W_OK)


needs_delegation = pytest.mark.skipif(
    not own_cgroups_are_ours(), reason="no cgroup v2 is delegated to an unprivileged user"
)
needs_no_delegation = pytest.mark.skipif(
    own_cgroups_are_ours(), reason="a cgroup is delegated to this user"
)


@needs_no_delegation
def test_a_limit_without_a_cgroup_is_refused(runtime: UserRuntime, bundle: Bundle) -> None:
    bundle.config["linux"]["resources"] = {"pids": {"limit": 10}}
    said = fails(runtime, bundle)
    assert "/linux/resources/pids/limit" in said
    assert "permission" in said


@needs_no_delegation
def test_a_path_without_permission_is_refused(runtime: UserRuntime, bundle: Bundle) -> None:
    bundle.config["linux"]["cgroupsPath"] = "/not-ours/box"
    said = fails(runtime, bundle)
    assert "Permission denied" in said
    assert "/linux/cgroupsPath" in said


@needs_no_delegation
def test_pause_without_a_cgroup_is_refused(runtime: UserRuntime, running: str) -> None:
    done = runtime("pause", running, check=False)
    assert done.returncode == 1
    assert "the container has no" in done.stderr
    assert runtime.status(running) == "running"


@needs_no_delegation
def test_processes_without_a_cgroup(
    runtime: UserRuntime, bundle: Bundle, container_id: str
) -> None:
    bundle.sh(
        "(trap 'echo child; exit' USR1; while :; do sleep 0.1; done) &"
        "trap 'echo parent; wait; exit' USR1; echo ready; while :; do sleep 0.1; done"
    )
    runtime.detached("run", container_id, bundle.path, "--detach")
    output = bundle.path / "output"
    wait_until(lambda: "ready" in output.read_text(), "the program")
    pids = json.loads(runtime("ps", "--format", "json", container_id).stdout)
    assert runtime.state(container_id)["pid"] in pids
    assert len(pids) >= 2
    runtime("kill", "--all", container_id, "USR1")
    runtime.wait(container_id, "stopped")
    assert {"child", "parent"} <= set(output.read_text().split())
    done = runtime("kill", "--all", container_id, "TERM", check=False)
    assert "it is stopped" in done.stderr


@needs_no_delegation
def test_kill_all_without_cgroup_and_pid_namespace(
    runtime: UserRuntime, bundle: Bundle, container_id: str
) -> None:
    bundle.namespaces(drop=("pid",))
    bundle.config["mounts"][0] = {
        "destination": "/proc",
        "type": "bind",
        "source": "/proc",
        "options": ["rbind"],
    }
    bundle.args("sleep", "300")
    runtime.detached("run", container_id, bundle.path, "--detach")
    done = runtime("kill", "--all", container_id, "KILL", check=False)
    assert "neither a cgroup nor a pid namespace" in done.stderr
    assert runtime.status(container_id) == "running"
    runtime("kill", container_id, "KILL")
    runtime.wait(container_id, "stopped")


@pytest.fixture
def delegated(user: User, container_id: str) -> Iterator[tuple[Path, ...]]:
    """Cgroups of v1 that belong to the user, made by root."""
    if os.geteuid() != 0 or not V1:
        pytest.skip("needs root and cgroup v1")
    paths = tuple(
        Path(FACTS.cgroup_mounts[name] + FACTS.cgroup_own[name], f"{container_id}-given")
        for name in ("pids", "freezer")
    )
    for path in paths:
        path.mkdir()
        for entry in (path, path / "cgroup.procs", path / "tasks"):
            os.chown(entry, user.uid, user.uid)
    yield paths
    for path in paths:
        wait_until(lambda path=path: not (path / "tasks").read_text(), f"{path} to be empty")
        for below in path.iterdir():
            assert not below.is_dir(), f"{below} was left"
        path.rmdir()


def test_v1_cgroups_that_are_delegated_are_used(
    runtime: UserRuntime, bundle: Bundle, container_id: str, delegated: tuple[Path, ...]
) -> None:
    runtime.cgroups = delegated
    bundle.config["linux"]["resources"] = {"pids": {"limit": 17}}
    bundle.sh("while :; do sleep 0.1; done")
    runtime.detached("run", container_id, bundle.path, "--detach")
    assert (delegated[0] / container_id / "pids.max").read_text() == "17\n"
    runtime("update", "--pids-limit", "23", container_id)
    assert (delegated[0] / container_id / "pids.max").read_text() == "23\n"
    runtime("pause", container_id)
    assert runtime.status(container_id) == "paused"
    assert (delegated[1] / container_id / "freezer.state").read_text() == "FROZEN\n"
    runtime("resume", container_id)
    runtime("delete", "--force", container_id)
    runtime.cgroups = ()


@needs_delegation
def test_v2_cgroup_that_is_delegated_is_used(
    runtime: UserRuntime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["linux"]["resources"] = {
        "pids": {"limit": 17},
        "memory": {"limit": 64 << 20},
    }
    bundle.sh("while :; do sleep 0.1; done")
    runtime.detached("run", container_id, bundle.path, "--detach")
    own = Path(FACTS.cgroup_mounts[""] + os.path.dirname(FACTS.cgroup_own[""]), container_id)
    assert (own / "pids.max").read_text() == "17\n"
    assert (own / "memory.max").read_text() == f"{64 << 20}\n"
    runtime("update", "--pids-limit", "23", container_id)
    assert (own / "pids.max").read_text() == "23\n"
    runtime("pause", container_id)
    assert runtime.status(container_id) == "paused"
    runtime("resume", container_id)
    assert (
        runtime("exec", container_id, "cat", "/proc/self/cgroup")
        .stdout.strip()
        .endswith(container_id)
    )
    stats = json.loads(runtime("events", "--stats", container_id).stdout)
    assert stats["data"]["pids"]["limit"] == 23
    runtime("kill", "--all", container_id, "KILL")
    runtime.wait(container_id, "stopped")
    runtime("delete", container_id)
    assert not own.exists()


# ---- inside a user namespace ------------------------------------------------------------------


def test_root_of_a_user_namespace(
    binary: Path, user: User, make_bundle: MakeBundle, container_id: str
) -> None:
    """As an engine without privileges calls the runtime: as root, but of a user namespace that it has made."""
    bundle = make_bundle()
    user.own(bundle.path)
    bundle.sh("id -u; cat /proc/self/uid_map; ls -l /dev/null; ls /sys/class/net")
    command = ["unshare", "--user", "--map-root-user", str(binary)]
    words = user.command(*command, "run", "--bundle", str(bundle.path), container_id)
    done = run_command(words)
    assert done.stdout.split()[:4] == ["0", "0", str(user.uid), "1"]
    assert "crw-rw-rw-" in done.stdout
    assert done.stdout.endswith("lo\n")
    bundle.args("sleep", "300")
    words = user.command(*command, "run", "--detach", "--bundle", str(bundle.path), container_id)
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    # its state is the user's, who can see and delete it from outside
    outside = UserRuntime(binary, Path(), user)
    assert outside.status(container_id) == "running"
    outside("delete", "--force", container_id)
    assert outside.status(container_id) == "none"


# ---- subordinate ids --------------------------------------------------------------------------


def test_subordinate_ids(
    rich_runtime: UserRuntime, rich_bundle: Bundle, container_id: str, rich_user: User
) -> None:
    rich_bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [7, 2000]}
    rich_bundle.sh("id -u; id -g; id -G; cat /proc/self/setgroups; touch /tmp/mine")
    said = rich_runtime.run(container_id, rich_bundle.path).stdout
    assert said == "1000\n1000\n1000 7 2000\nallow\n"
    mine = (rich_bundle.rootfs / "tmp" / "mine").stat()
    assert (mine.st_uid, mine.st_gid) == (rich_user.subordinate + 999,) * 2


def test_exec_with_subordinate_ids(
    rich_runtime: UserRuntime, rich_bundle: Bundle, container_id: str
) -> None:
    rich_bundle.sh("while :; do sleep 0.1; done")
    rich_runtime.detached("run", container_id, rich_bundle.path, "--detach")
    done = rich_runtime(
        *("exec", "--user", "1000:1000", "--additional-gids", "7"),
        *(container_id, "sh", "-c", "id -u; id -G"),
    )
    assert done.stdout == "1000\n1000 7\n"
    rich_runtime("delete", "--force", container_id)


def test_a_directory_of_another_mapped_id_can_be_the_rootfs(
    rich_runtime: UserRuntime, rich_bundle: Bundle, container_id: str, rich_user: User
) -> None:
    rich_bundle.sh("mkdir -p /var/x; chown 1000:1000 /var/x; stat -c %u:%g /var/x")
    rich_bundle.config["process"]["capabilities"]["effective"].append("CAP_CHOWN")
    rich_bundle.config["process"]["capabilities"]["permitted"].append("CAP_CHOWN")
    rich_bundle.config["process"]["capabilities"]["bounding"].append("CAP_CHOWN")
    said = rich_runtime.run(container_id, rich_bundle.save().path).stdout
    assert said == "1000:1000\n"


def test_ids_that_are_not_subordinate_are_refused(
    rich_runtime: UserRuntime, rich_bundle: Bundle
) -> None:
    rich_bundle.config["linux"]["gidMappings"] = rich_bundle.config["linux"]["uidMappings"] = [
        {"containerID": 0, "hostID": 0, "size": 10}
    ]
    said = fails(rich_runtime, rich_bundle)
    assert "newgidmap" in said
    assert "/linux/gidMappings" in said


def test_missing_helper_is_named(
    runtime: UserRuntime, bundle: Bundle, user: User, tmp_path: Path
) -> None:
    bundle.config["linux"]["gidMappings"] = bundle.config["linux"]["uidMappings"] = [
        {"containerID": 0, "hostID": user.uid, "size": 1},
        {"containerID": 1, "hostID": 1_000_000, "size": 1000},
    ]
    runtime.variables["PATH"] = "/nosuch"
    said = fails(runtime, bundle)
    assert "newgidmap" in said
    assert "uidmap" in said


# ---- beside runc ------------------------------------------------------------------------------

PROBE = """
id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups
grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
ls -ln /dev | awk 'NR > 1 {print $1, $3, $4, $NF}'
awk '{print $2, $3}' /proc/mounts | sort
hostname; pwd; umask; ulimit -n; env | sort; cat /proc/self/oom_score_adj
for n in mnt pid net ipc uts user cgroup; do [ "$(readlink /proc/self/ns/$n)" = "$1" ]; done
: >/proc/sys/kernel/domainname
"""


@pytest.mark.parametrize("ids", ["single", "subordinate"])
def test_what_a_container_sees_is_what_it_sees_with_runc(
    request: pytest.FixtureRequest, container_id: str, ids: str
) -> None:
    rich = "rich_" if ids == "subordinate" else ""
    ours: UserRuntime = request.getfixturevalue(f"{rich}runtime")
    bundle: Bundle = request.getfixturevalue(f"{rich}bundle")
    runc = UserRuntime(Path(RUNC), ours.user.directory / "runc", ours.user)
    if not os.access(RUNC, os.X_OK):
        pytest.fail(f"no {RUNC}: scripts/install-deps test")
    bundle.config["hostname"] = "rootless"
    bundle.sh(PROBE)
    seen = [r.run(container_id, bundle.path, check=False) for r in (ours, runc)]
    assert seen[0].stdout.splitlines() == seen[1].stdout.splitlines()
    assert seen[0].stderr == seen[1].stderr
    assert seen[0].stdout.startswith("0\n0\n")
