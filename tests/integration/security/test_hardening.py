"""What the runtime's own processes must not give to the container, while it is made and entered."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest
from conftest import MakeBundle, NewId
from helpers.attacker import Attackers
from helpers.bundle import Bundle
from helpers.command import run_command, wait_until
from helpers.leaks import Leaks
from helpers.runtime import Runtime

pytestmark = pytest.mark.root


@pytest.fixture
def offer(
    attackers: Attackers, make_bundle: MakeBundle, runtime: Runtime, new_id: NewId
) -> Callable[[str], None]:
    """Has another container offer a keyring of some name."""

    def start(name: str) -> None:
        bundle = make_bundle()
        bundle.args(attackers.install("keyring", bundle.rootfs), "offer", name)
        runtime.detached("run", new_id(), bundle.path, "--detach")
        output = bundle.path / "output"
        wait_until(lambda: "offered" in output.read_text(), "the keyring to be offered")

    return start


def test_no_keyring_of_another_container_is_joined(
    attackers: Attackers,
    offer: Callable[[str], None],
    bundle: Bundle,
    runtime: Runtime,
    runc: Runtime,
    new_id: NewId,
) -> None:
    victim, other = new_id(), new_id()
    for name in (f"_ses.{victim}", f"_ses.{other}", "_ses", victim):
        offer(name)
    find = attackers.install("keyring", bundle.rootfs)
    bundle.args(find, "find")
    assert runtime.run(victim, bundle.path).stdout == "found: \n"
    # runc joins by name, so the attack is a real one
    assert runc.run(other, bundle.path).stdout == "found: treasure\n"

    bundle.args("sleep", "1000")
    runtime.detached("run", victim, bundle.path, "--detach")
    assert runtime("exec", victim, find, "find").stdout == "found: \n"


def test_the_init_that_waits_cannot_be_traced_or_looked_into(
    attackers: Attackers, bundle: Bundle, runtime: Runtime, runc: Runtime, new_id: NewId
) -> None:
    """It is under no seccomp filter yet, and has files that the container must not have."""
    trace = attackers.install("trace", bundle.rootfs)
    for tested, reached in ((runtime, ["done"]), (runc, ["link exe", "fd 0", "mem", "ptrace"])):
        container = new_id()
        tested.create(container, bundle.path)
        found = tested("exec", container, trace).stdout.split("\n")
        if tested is runc:
            assert set(reached) < set(found)
        else:
            assert found == [*reached, ""]


def test_the_init_of_a_container_in_the_pid_namespace_of_the_host_is_hidden(
    attackers: Attackers, make_bundle: MakeBundle, runtime: Runtime, new_id: NewId
) -> None:
    victim, container = make_bundle(), make_bundle()
    name = new_id()
    victim.namespaces(drop=("pid",))
    runtime.create(name, victim.path)
    container.namespaces(drop=("pid",))
    trace = attackers.install("trace", container.rootfs)
    container.args(trace, str(runtime.state(name)["pid"]))
    assert runtime.run(new_id(), container.path).stdout == "done\n"


def test_the_program_is_not_reached_through_files_of_the_init(
    bundle: Bundle, runtime: Runtime, new_id: NewId
) -> None:
    """As the image may name it (CVE-2024-21626)."""
    started = new_id()
    bundle.args("sleep", "1000")
    runtime.detached("run", started, bundle.path, "--detach")
    for number in range(3, 20):
        path = f"/proc/self/fd/{number}/bin/true"
        bundle.args(path)
        done = runtime.run(new_id(), bundle.path, check=False)
        assert done.returncode != 0, path
        assert runtime("exec", started, path, check=False).returncode != 0, path


def test_ambient_capabilities_of_the_caller_end_with_it(
    bundle: Bundle, runtime: Runtime, container_id: str
) -> None:
    sets = bundle.config["process"]["capabilities"]
    for name in ("bounding", "effective", "permitted", "inheritable"):
        sets[name] = ["CAP_KILL"]
    bundle.args("grep", "Cap", "/proc/self/status")
    raised = ["setpriv", "--inh-caps", "+kill", "--ambient-caps", "+kill"]
    done = run_command([*raised, *runtime.command("run", "-b", bundle.path, container_id)])
    assert "CapInh:\t0000000000000020" in done.stdout
    assert "CapAmb:\t0000000000000000" in done.stdout


def test_a_namespace_that_is_a_fifo_is_an_error(
    bundle: Bundle, runtime: Runtime, container_id: str, no_leaks: Leaks
) -> None:
    fifo = bundle.path / "fifo"
    os.mkfifo(fifo)
    bundle.namespaces({"type": "network", "path": str(fifo)})
    done = runtime.run(container_id, bundle.path, check=False)
    assert done.returncode != 0
    assert f"setns {fifo}: Invalid argument" in done.stderr


def hook(bundle: Bundle, script: str, timeout: int) -> None:
    bundle.config["hooks"] = {
        "createRuntime": [
            {"path": sys.executable, "args": ["python3", "-c", script], "timeout": timeout}
        ]
    }
    bundle.save()


def test_a_hook_that_leaves_its_process_group_is_killed_all_the_same(
    bundle: Bundle, runtime: Runtime, container_id: str, no_leaks: Leaks
) -> None:
    hook(bundle, "import os, time; os.setpgid(0, os.getpgid(os.getppid())); time.sleep(1000)", 1)
    done = runtime.run(container_id, bundle.path, check=False)
    assert "killed: it did not end within its timeout" in done.stderr


def test_a_descendant_of_a_hook_that_writes_without_end_is_not_waited_for(
    bundle: Bundle, runtime: Runtime, container_id: str
) -> None:
    # the descendant stops once nobody reads
    hook(
        bundle,
        "import os\nif os.fork() == 0:\n while True: os.write(1, b'x' * 65536)",
        20,
    )
    assert runtime.run(container_id, bundle.path).returncode == 0


@pytest.mark.parametrize("target", ["/data/other", "/nowhere/at/all", "../../../../data"])
@pytest.mark.parametrize("destination", ["proc", "sys"])
def test_procfs_and_sysfs_are_mounted_nowhere_else(
    destination: str,
    target: str,
    bundle: Bundle,
    runtime: Runtime,
    container_id: str,
    no_leaks: Leaks,
) -> None:
    """An image that sends them elsewhere would have them without masks (CVE-2023-28642)."""
    (bundle.rootfs / destination).rmdir()
    (bundle.rootfs / destination).symlink_to(target)
    done = runtime.run(container_id, bundle.path, check=False)
    assert done.returncode != 0
    assert f"openat2 /{destination}: Too many levels of symbolic links" in done.stderr
