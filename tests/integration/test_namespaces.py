"""Namespaces: new ones, ones to join, and those of the runtime (config-linux.md, "Namespaces")."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.command import wait_until
from helpers.containers import sleeping
from helpers.leaks import Leaks
from helpers.runtime import Runtime

pytestmark = pytest.mark.root

#: Type -> (name below /proc/PID/ns, flag of unshare(1)).
TYPES = {
    "pid": ("pid", "--pid"),
    "network": ("net", "--net"),
    "mount": ("mnt", "--mount"),
    "ipc": ("ipc", "--ipc"),
    "uts": ("uts", "--uts"),
    "user": ("user", "--user"),
    "cgroup": ("cgroup", "--cgroup"),
    "time": ("time", "--time"),
}
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]


@contextmanager
def holder(*kinds: str) -> Iterator[int]:
    """The pid of a process in new namespaces."""
    flags = [TYPES[kind][1] for kind in kinds]
    command = ["unshare", "--fork", "--kill-child", *flags, "sh", "-c", "read x; exec sleep 1000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as outer:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        wait_until(lambda: children.read_text().strip(), "the child")
        pid = int(children.read_text())
        if "user" in kinds:
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{pid}/{name}").write_text("0 100000 65536\n")
        assert outer.stdin is not None
        outer.stdin.write(b"\n")
        outer.stdin.close()
        try:
            yield pid
        finally:
            outer.kill()


def delete(runtime: Runtime, container: str, pid: int) -> None:
    """Delete a container and take its process away: a pid namespace ends only once all in it are gone."""
    runtime("delete", "--force", container)
    os.waitpid(pid, 0)


def path_of(pid: int, kind: str) -> str:
    return f"/proc/{pid}/ns/{TYPES[kind][0]}"


def links(pid: int | str) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{name}") for kind, (name, _) in TYPES.items()}


def ask(bundle: Bundle, *kinds: str, **paths: str) -> None:
    """Ask for new namespaces of `kinds`, for those at `paths`, and for no others."""
    linux = bundle.config["linux"]
    linux["namespaces"] = [{"type": kind} for kind in kinds]
    linux["namespaces"] += [{"type": kind, "path": path} for kind, path in paths.items()]
    present = {*kinds, *paths}
    if "uts" not in present:
        bundle.config.pop("hostname", None)
    if "mount" not in present:
        del linux["maskedPaths"], linux["readonlyPaths"]
    if "network" not in present:
        bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] != "sysfs"]
    if "user" in kinds:
        linux["uidMappings"] = linux["gidMappings"] = MAPPING
    bundle.save()


USUAL = ("pid", "network", "mount", "ipc", "uts")


@pytest.mark.parametrize("kind", TYPES)
def test_a_new_one(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, kind: str
) -> None:
    ask(bundle, *{"mount": None, "pid": None, kind: None})
    own, found = links("self"), links(sleeping(runtime, bundle, container_id))
    new = {"mount", "pid", kind}
    assert {k for k in TYPES if found[k] != own[k]} == new
    runtime("delete", "--force", container_id)


@pytest.mark.parametrize("kind", TYPES)
def test_one_to_join(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, kind: str
) -> None:
    if kind == "user":
        (bundle.rootfs).chmod(0o755)
    with holder(kind) as pid:
        rest = [k for k in USUAL if k != kind]
        ask(bundle, *rest, **{kind: path_of(pid, kind)})
        process = sleeping(runtime, bundle, container_id)
        found = links(process)
        assert found[kind] == os.readlink(path_of(pid, kind))
        own = links("self")
        assert all(found[k] != own[k] for k in rest)
        delete(runtime, container_id, process)


def test_all_of_a_pod(
    runtime: Runtime, make_bundle: type[Bundle], new_id: type[str], no_leaks: Leaks
) -> None:
    """The second container of a pod joins the user namespace of the first and what belongs to it."""
    first, second = make_bundle(), make_bundle()
    ask(first, *USUAL, "user", "cgroup", "time")
    pid = sleeping(runtime, first, sandbox := new_id())
    shared = ("user", "network", "ipc", "uts", "time", "pid")
    ask(second, "mount", "cgroup", **{kind: path_of(pid, kind) for kind in shared})
    second.config.pop("hostname", None)
    other = sleeping(runtime, second, joined := new_id())
    ours, theirs = links(pid), links(other)
    assert {kind for kind in TYPES if ours[kind] == theirs[kind]} == set(shared)
    status = Path(f"/proc/{other}/status").read_text()
    assert "Uid:\t100000\t" in status
    delete(runtime, joined, other)
    delete(runtime, sandbox, pid)


def test_none_at_all(runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks) -> None:
    """Without a mount namespace the mounts are made for everyone, below the rootfs, and taken down again."""
    ask(bundle)
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] == "tmpfs"]
    done = runtime.run(container_id, bundle.sh("echo *; echo $$ > /tmp/pid").path)
    assert "bin" in done.stdout
    assert int((bundle.rootfs / "tmp" / "pid").read_text()) > 1


def refused(runtime: Runtime, bundle: Bundle, container: str) -> str:
    done = runtime.create(container, bundle.path, check=False)
    assert done.returncode == 1
    assert "(config.json: /linux/namespaces" in done.stderr
    return done.stderr


@pytest.mark.parametrize("kind", TYPES)
def test_one_of_another_type(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, kind: str
) -> None:
    other = "ipc" if kind != "ipc" else "uts"
    rest = [k for k in USUAL if k != kind]
    ask(bundle, *rest, **{kind: f"/proc/self/ns/{other}"})
    assert "setns /proc/self/ns/" in refused(runtime, bundle, container_id)


@pytest.mark.parametrize("path", ["/no/such/namespace", "/etc/passwd"])
def test_one_that_is_none(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, path: str
) -> None:
    ask(bundle, "pid", "mount", "ipc", "uts", network=path)
    assert path in refused(runtime, bundle, container_id)


def test_the_loopback_device_of_a_new_one_is_up(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    done = runtime.run(container_id, bundle.args("ip", "-o", "link", "show", "lo").path)
    assert "<LOOPBACK,UP" in done.stdout


def test_the_cgroup_namespace_begins_at_the_containers_cgroup(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.namespaces({"type": "cgroup"})
    done = runtime.run(container_id, bundle.args("cat", "/proc/self/cgroup").path)
    assert {line.split(":", 2)[2] for line in done.stdout.splitlines()} == {"/"}


def test_executed_processes_are_in_all_of_them(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    with ExitStack() as stack:
        holders = {kind: stack.enter_context(holder(kind)) for kind in ("ipc", "uts")}
        paths = {kind: path_of(pid, kind) for kind, pid in holders.items()}
        del bundle.config["hostname"]  # the joined one is not its to name
        ask(bundle, "pid", "mount", "network", "user", "cgroup", "time", **paths)
        pid = sleeping(runtime, bundle, container_id)
        script = "for n in pid net mnt ipc uts user cgroup time; do readlink /proc/self/ns/$n; done"
        found = runtime("exec", container_id, "sh", "-c", script).stdout.split()
        assert found == list(links(pid).values())
        runtime("delete", "--force", container_id)
