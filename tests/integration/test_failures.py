"""A creation that fails leaves nothing behind, at whichever operation it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.leaks import Leaks
from helpers.runtime import Runtime, wait_until

from pyrunc.container import creation
from pyrunc.container.creation import CreateOptions, create
from pyrunc.errors import OperationError
from pyrunc.host import shim
from pyrunc.plan.operations import ChangeMount, WaitForStart
from pyrunc.plan.plan import Plan
from pyrunc.spec.loader import load_bundle

pytestmark = pytest.mark.root

#: An operation that always fails: it needs the rootfs, and a path that is not there.
FAILING = ChangeMount("/nosuch", [], 1, 0, 0, 0, 0).at("/test")


def rich(bundle: Bundle, *, user_namespace: bool) -> Bundle:
    """A bundle with at least one of each kind of thing that can be left behind."""
    config = bundle.config
    config["mounts"] += [
        {
            "destination": "/data/volume",
            "type": "bind",
            "source": "/etc",
            "options": ["rbind", "ro"],
        },
        {"destination": "/data/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
    ]
    config["linux"]["resources"]["pids"] = {"limit": 100}
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    config["hooks"] = {
        kind: [{"path": "/bin/true"}]
        for kind in ("prestart", "createRuntime", "createContainer", "poststop")
    }
    if user_namespace:
        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = mapping
        bundle.namespaces({"type": "user"}, {"type": "cgroup"})
    return bundle.save()


def plan_of(bundle: Bundle, root: Path) -> Plan:
    from pyrunc.host.facts import HostFacts

    loaded = load_bundle(str(bundle.path))
    return creation.compile_bundle(str(root), "plan", loaded, CreateOptions(), HostFacts())


@pytest.fixture
def quiet_stdio() -> Iterator[int]:
    """What a container inherits that must not keep the test's output open."""
    shim.init_executable()  # which is kept open for good
    fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("user_namespace", [False, True], ids=["plain", "user-namespace"])
def test_each_operation_fails_in_turn(
    make_bundle: type[Bundle],
    workspace: Path,
    prefix: str,
    quiet_stdio: int,
    leaks: Leaks,
    monkeypatch: pytest.MonkeyPatch,
    user_namespace: bool,
) -> None:
    bundle = rich(make_bundle(), user_namespace=user_namespace)
    root = workspace / f"state-failures-{user_namespace}"
    loaded = load_bundle(str(bundle.path))
    options = CreateOptions(stdio=(quiet_stdio,) * 3)
    compile_plan = creation._compile_plan
    operations = plan_of(bundle, root).operations
    count = next(i for i, o in enumerate(operations) if isinstance(o, WaitForStart))
    assert count > 40
    for index in range(count + 1):

        def broken(*arguments: object, index: int = index) -> Plan:
            plan = compile_plan(*arguments)  # type: ignore[arg-type]
            plan.operations[index] = FAILING
            return plan

        monkeypatch.setattr(creation, "_compile_plan", broken)
        with pytest.raises(OperationError) as error:
            create(str(root), f"{prefix}fail{index}", loaded, options)
        assert error.value.pointer, operations[index]
        left = leaks.found(root)
        assert left == [], f"after operation {index}, {operations[index]!r}"
    assert os.listdir(root) == []


def test_an_error_names_operation_call_reason_and_pointer(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.config["mounts"].append(
        {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["size=much"]}
    )
    bundle.save()
    done = runtime.create(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert "mounts[5]: fsconfig /data: option size=much" in done.stderr
    assert "Bad value for 'size'" in done.stderr  # in the words of the filesystem
    assert "(config.json: /mounts/5)" in done.stderr


@pytest.mark.parametrize(
    "kind", ["prestart", "createRuntime", "createContainer"], ids=lambda kind: kind
)
def test_a_failing_hook_undoes_the_creation_and_poststop_runs(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, kind: str
) -> None:
    note = bundle.path / "note"
    bundle.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", "echo it is bad >&2; exit 3"]}],
        "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > {note}"]}],
    }
    bundle.save()
    done = runtime.create(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert f"hooks.{kind}[0]" in done.stderr
    assert "exited with status 3: it is bad" in done.stderr
    assert f"(config.json: /hooks/{kind}/0)" in done.stderr
    assert '"status":"stopped"' in note.read_text()


def test_hanging_hooks_are_killed_with_all_their_children(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    script = "sleep 1000 & sleep 1000"
    bundle.config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1}]
    }
    bundle.save()
    done = runtime.create(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert "did not end within its timeout" in done.stderr


def test_a_hook_that_floods_its_output_is_not_stopped_by_it(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    flood = "dd if=/dev/zero bs=1M count=4 2>/dev/null | tr '\\\\0' x; exit 1"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", flood]}]}
    bundle.save()
    done = runtime.create(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert len(done.stderr) < 2000


def test_a_killed_creation_is_cleaned_up_by_delete(
    runtime: Runtime, bundle: Bundle, container_id: str, leaks: Leaks
) -> None:
    """SIGKILL while a hook runs: the init is half way through its plan."""
    note = bundle.path / "note"
    bundle.config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo > {note}; sleep 2"]}]
    }
    bundle.save()
    runtime.used.add(container_id)
    process = subprocess.Popen(
        runtime.command("create", "--bundle", bundle.path, container_id),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(note.exists, "the hook")
    assert runtime.status(container_id) == "creating"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert runtime.status(container_id) == "stopped"
    runtime("delete", "--force", container_id)
    deadline = time.monotonic() + 30
    while leaks.found(runtime.root) and time.monotonic() < deadline:
        time.sleep(0.1)  # the orphaned hook takes its two seconds
    assert leaks.found(runtime.root) == []


def test_an_interrupted_creation_leaves_nothing(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    note = bundle.path / "note"
    bundle.config["hooks"] = {
        "createRuntime": [
            {"path": "/bin/sh", "args": ["sh", "-c", f"echo > {note}; exec sleep 1"], "timeout": 5}
        ]
    }
    bundle.save()
    process = subprocess.Popen(
        runtime.command("run", "--bundle", bundle.path, container_id), stdin=subprocess.DEVNULL
    )
    wait_until(note.exists, "the hook")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert runtime.status(container_id) == "none"
