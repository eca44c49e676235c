"""AppArmor profiles of processes, on a kernel that enforces them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.command import run_command
from helpers.runtime import Runtime
from helpers.unprivileged import User, UserRuntime

from pyrunc.host.facts import HostFacts

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not HostFacts().apparmor, reason="AppArmor is not enabled on this kernel"),
]

_PROFILES = """\
abi <abi/3.0>,

profile {name}-a flags=(attach_disconnected,mediate_deleted) {{
  file, capability, network, mount, umount, pivot_root, ptrace, signal, unix, dbus,
  deny /tmp/a* w,
}}

profile {name}-b flags=(attach_disconnected,mediate_deleted) {{
  file, capability, network, mount, umount, pivot_root, ptrace, signal, unix, dbus,
  change_profile -> **,
  deny /tmp/b* w,
}}
"""
SCRIPT = """
cat /proc/self/attr/current
for file in a b c; do true 2>/dev/null >/tmp/$file && echo $file; done; true
"""


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The common start of the names of two loaded profiles, "-a" and "-b": each denies writing a file of its name."""
    name = f"pyrunc-test-{os.getpid()}"
    file = tmp_path_factory.mktemp("apparmor") / "profiles"
    file.write_text(_PROFILES.format(name=name))
    run_command(["apparmor_parser", "--add", str(file)])
    yield name
    run_command(["apparmor_parser", "--remove", str(file)])


def confined(bundle: Bundle, profile: str, script: str = SCRIPT) -> Bundle:
    bundle.config["process"]["apparmorProfile"] = profile
    return bundle.sh(script)


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_run(
    runtime: Runtime, bundle: Bundle, container_id: str, profiles: str, no_new_privileges: bool
) -> None:
    bundle.config["process"]["noNewPrivileges"] = no_new_privileges
    said = runtime.run(container_id, confined(bundle, f"{profiles}-a").path).stdout
    assert said.splitlines() == [f"{profiles}-a (enforce)", "b", "c"]


def test_without_a_profile_a_container_is_unconfined(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    said = runtime.run(container_id, bundle.sh(SCRIPT).path).stdout
    assert said.splitlines() == ["unconfined", "a", "b", "c"]


def test_a_stack_of_profiles_denies_what_any_of_them_does(
    runtime: Runtime, bundle: Bundle, container_id: str, profiles: str
) -> None:
    stack = f"{profiles}-a//&{profiles}-b"
    said = runtime.run(container_id, confined(bundle, stack).path).stdout.splitlines()
    label, _, mode = said[0].partition(" ")
    assert sorted(label.split("//&")) == [f"{profiles}-a", f"{profiles}-b"]
    assert mode == "(enforce)"
    assert said[1:] == ["c"]


def test_a_profile_that_is_not_loaded(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: object
) -> None:
    done = runtime.run(container_id, confined(bundle, "pyrunc-nosuch").path, check=False)
    assert done.returncode == 1
    assert "AppArmor profile pyrunc-nosuch is not loaded" in done.stderr
    assert "/process/apparmorProfile" in done.stderr
    assert runtime.status(container_id) == "none"


@pytest.fixture
def running(runtime: Runtime, bundle: Bundle, container_id: str, profiles: str) -> str:
    confined(bundle, f"{profiles}-a", "while :; do sleep 0.1; done")
    runtime.detached("run", container_id, bundle.path, "--detach")
    return container_id


def test_exec_has_the_profile_of_the_container(
    runtime: Runtime, running: str, profiles: str
) -> None:
    said = runtime("exec", running, "sh", "-c", SCRIPT).stdout
    assert said.splitlines() == [f"{profiles}-a (enforce)", "b", "c"]


def test_exec_with_another_profile(runtime: Runtime, running: str, profiles: str) -> None:
    said = runtime("exec", "--apparmor", f"{profiles}-b", running, "sh", "-c", SCRIPT).stdout
    assert said.splitlines() == [f"{profiles}-b (enforce)", "a", "c"]


def test_exec_with_a_profile_that_is_not_loaded(runtime: Runtime, running: str) -> None:
    done = runtime("exec", "--apparmor", "pyrunc-nosuch", running, "true", check=False)
    assert done.returncode != 0
    assert "AppArmor profile pyrunc-nosuch is not loaded" in done.stderr


def test_the_runtime_is_not_bound_by_the_profile(
    runtime: Runtime, bundle: Bundle, container_id: str, profiles: str
) -> None:
    """What the init does before the program is executed is nothing of the profile's."""
    bundle.config["process"]["cwd"] = "/tmp/a-made-by-the-runtime"
    said = runtime.run(container_id, confined(bundle, f"{profiles}-a", "pwd").path).stdout
    assert said == "/tmp/a-made-by-the-runtime\n"


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_confined_runtime(
    runtime: Runtime, bundle: Bundle, container_id: str, profiles: str, no_new_privileges: bool
) -> None:
    """A profile that may change to any other lets the container have its own; but for the kernel that is a new
    privilege."""
    bundle.config["process"]["noNewPrivileges"] = no_new_privileges
    confined(bundle, f"{profiles}-a")
    command = runtime.command("run", "--bundle", bundle.path, container_id)
    runtime.used.add(container_id)
    done = subprocess.run(
        ["aa-exec", "--profile", f"{profiles}-b", "--", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if no_new_privileges:
        assert "operation not permitted" in done.stderr
        assert runtime.status(container_id) == "none"
    else:
        assert done.stdout.splitlines()[:1] == [f"{profiles}-a (enforce)"], done.stderr


def test_in_a_user_namespace(
    runtime_binary: Path,
    workspace: Path,
    make_bundle: Callable[..., Bundle],
    container_id: str,
    profiles: str,
) -> None:
    user = User(workspace / "confined-user")
    runtime = UserRuntime(runtime_binary, user.directory / "root", user)
    bundle = make_bundle()
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": user.uid, "size": 1}]
    linux["uidMappings"] = linux["gidMappings"] = mapping
    del linux["resources"]
    user.own(bundle.path)
    said = runtime.run(container_id, confined(bundle, f"{profiles}-a").path).stdout
    assert said.splitlines() == [f"{profiles}-a (enforce)", "b", "c"]
