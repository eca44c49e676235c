"""The states of a container, and what each operation does in each of them (runtime.md)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.leaks import Leaks
from helpers.runtime import Runtime, wait_until

from pyrunc.host.procfs import is_alive

pytestmark = pytest.mark.root


def test_state_document(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.config["annotations"] = {"org.example/key": "value"}
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path, "--pid-file", bundle.path / "pid")
    state = runtime.state(container_id)
    assert state["ociVersion"].startswith("1.3.")
    assert state["id"] == container_id
    assert state["status"] == "created"
    assert state["bundle"] == str(bundle.path)
    assert state["annotations"] == {"org.example/key": "value"}
    assert (bundle.path / "pid").read_text() == str(state["pid"])
    runtime("start", container_id)
    assert runtime.state(container_id)["pid"] == state["pid"]


def bring_to(runtime: Runtime, bundle: Bundle, container: str, status: str) -> None:
    bundle.args("sleep", "1000")
    runtime.create(container, bundle.path)
    if status == "created":
        return
    runtime("start", container)
    if status == "paused":
        runtime("pause", container)
    if status == "stopped":
        runtime("kill", container, "KILL")
    runtime.wait(container, status)


WRONG = [
    ("created", ["resume"]),
    ("running", ["start"]),
    ("running", ["delete"]),
    ("running", ["resume"]),
    ("paused", ["start"]),
    ("paused", ["delete"]),
    ("paused", ["pause"]),
    ("paused", ["exec", "true"]),
    ("stopped", ["start"]),
    ("stopped", ["pause"]),
    ("stopped", ["resume"]),
    ("stopped", ["kill"]),
    ("stopped", ["exec", "true"]),
]


@pytest.mark.parametrize(
    ("status", "operation"), WRONG, ids=lambda v: v if isinstance(v, str) else v[0]
)
def test_operations_in_the_wrong_state_are_errors_and_change_nothing(
    runtime: Runtime, bundle: Bundle, container_id: str, status: str, operation: list[str]
) -> None:
    bring_to(runtime, bundle, container_id, status)
    before = runtime.state(container_id)
    done = runtime(operation[0], container_id, *operation[1:], check=False)
    assert done.returncode != 0
    assert container_id in done.stderr
    assert status in done.stderr
    assert runtime.state(container_id) == before


@pytest.mark.parametrize("operation", ["state", "start", "kill", "delete", "pause", "resume"])
def test_no_such_container(runtime: Runtime, operation: str) -> None:
    done = runtime(operation, "nosuch", check=False)
    assert done.returncode == 1
    assert "nosuch does not exist" in done.stderr


def test_delete_of_nothing_by_force_is_no_error(runtime: Runtime) -> None:
    runtime("delete", "--force", "nosuch")


def test_the_id_is_taken(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    before = runtime.state(container_id)
    done = runtime.create(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert f"{container_id} exists already" in done.stderr
    assert runtime.state(container_id) == before
    runtime("delete", "--force", container_id)


def test_delete_of_a_created_container(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    runtime.create(container_id, bundle.path)
    runtime("delete", container_id)
    assert runtime.status(container_id) == "none"


@pytest.mark.parametrize("status", ["created", "running", "paused", "stopped"])
def test_delete_by_force_leaves_nothing(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, status: str
) -> None:
    bring_to(runtime, bundle, container_id, status)
    runtime("delete", "--force", container_id)


@pytest.mark.parametrize("name", ["TERM", "SIGINT", "1"])
def test_signals_reach_a_created_container(
    runtime: Runtime, bundle: Bundle, container_id: str, name: str
) -> None:
    runtime.create(container_id, bundle.path)
    runtime("kill", container_id, name)
    runtime.wait(container_id, "stopped")


def test_harmless_signals_leave_a_created_container(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    runtime.create(container_id, bundle.path)
    runtime("kill", container_id, "WINCH")
    runtime("kill", container_id, "CHLD")
    assert runtime.status(container_id) == "created"
    runtime("start", container_id)


def test_signals_reach_the_program(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh("trap 'echo got it; exit 3' USR1; echo ready; while :; do sleep 0.1; done")
    runtime.create(container_id, bundle.path)
    runtime("start", container_id)
    output = bundle.path / "output"
    wait_until(lambda: "ready" in output.read_text(), "the trap")
    runtime("kill", container_id, "USR1")
    runtime.wait(container_id, "stopped")
    assert "got it" in output.read_text()


def test_later_changes_of_config_json_have_no_effect(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.sh("echo before")
    runtime.create(container_id, bundle.path)
    bundle.sh("echo after")
    runtime("start", container_id)
    runtime.wait(container_id, "stopped")
    assert (bundle.path / "output").read_text() == "before\n"


def test_a_container_without_process_cannot_start(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    del bundle.config["process"]
    bundle.save()
    runtime.create(container_id, bundle.path)
    done = runtime("start", container_id, check=False)
    assert done.returncode == 1
    assert "/process" in done.stderr
    assert runtime.status(container_id) == "stopped"
    runtime("delete", container_id)


SHEBANG = "#!/nosuch/interpreter\n"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["nosuch"], 'exec: "nosuch": executable file not found in $PATH'),
        (["/nosuch"], 'exec: "/nosuch": no such file or directory'),
        (["/etc/hosts"], 'exec: "/etc/hosts": permission denied'),
        (["/script"], 'exec: "/script": no such file or directory'),
        (["/garbage"], 'exec: "/garbage": exec format error'),
        (["/tmp"], 'exec: "/tmp": permission denied'),
    ],
)
def test_start_tells_why_the_program_was_not_executed(
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    no_leaks: Leaks,
    args: list[str],
    expected: str,
) -> None:
    for name, text in (("script", SHEBANG), ("garbage", "\x7fnothing")):
        path = bundle.rootfs / name
        path.write_text(text)
        path.chmod(0o755)
    bundle.args(*args)
    runtime.create(container_id, bundle.path)
    done = runtime("--log-format", "json", "start", container_id, check=False)
    assert done.returncode == 1
    record = json.loads(done.stderr.splitlines()[0])
    assert record["level"] == "error"
    assert expected in record["msg"]
    assert "/process/args" in record["msg"]
    runtime.wait(container_id, "stopped")
    runtime("delete", container_id)


def test_exit_codes_of_run(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], no_leaks: Leaks
) -> None:
    for script, code in (("exit 0", 0), ("exit 42", 42)):
        assert runtime.run(new_id(), bundle.sh(script).path, check=False).returncode == code
    bundle.namespaces(drop=("pid",)).sh("kill -TERM $$")
    assert runtime.run(new_id(), bundle.path, check=False).returncode == 128 + signal.SIGTERM


def test_run_detached_and_list(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.args("sleep", "1000")
    runtime.detached("run", container_id, bundle.path, "--detach")
    assert runtime("list", "--quiet").stdout == f"{container_id}\n"
    [entry] = json.loads(runtime("list", "--format", "json").stdout)
    assert (entry["id"], entry["status"], entry["pid"]) == (
        container_id,
        "running",
        runtime.state(container_id)["pid"],
    )
    assert container_id in runtime("list").stdout
    runtime("delete", "--force", container_id)
    assert runtime("list", "--quiet").stdout == ""


def test_run_passes_signals_on(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    import subprocess

    bundle.sh("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
    command = runtime.command("run", "--bundle", bundle.path, container_id)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(timeout=60) == 9
    process.stdout.close()


def test_run_keep(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    runtime.run(container_id, bundle.path, "--keep")
    assert runtime.status(container_id) == "stopped"


def test_one_of_many_creators_wins(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.args("sleep", "1000")
    with ThreadPoolExecutor(8) as pool:
        done = list(
            pool.map(lambda _: runtime.create(container_id, bundle.path, check=False), range(8))
        )
    assert sorted(one.returncode for one in done) == [0] + [1] * 7
    assert runtime.status(container_id) == "created"
    runtime("delete", container_id)


def test_a_reused_pid_is_not_touched(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    """The state of a container from before a reboot names a pid that is somebody else's now."""
    bring_to(runtime, bundle, container_id, "stopped")
    path = runtime.root / container_id / "state.json"
    state = json.loads(path.read_text())
    state["pid"] = os.getpid()
    path.write_text(json.dumps(state))
    assert runtime.status(container_id) == "stopped"
    assert runtime("kill", container_id, "KILL", check=False).returncode == 1
    runtime("delete", "--force", container_id)


DAMAGES = {
    "empty": lambda text: "",
    "cut short": lambda text: text[:-20],
    "a list": lambda text: "[]",
    "lacking": lambda text: '{"id": 5}',
    "garbage": lambda text: "\x00\xff",
    "a huge pid": lambda text: json.dumps({**json.loads(text), "pid": 1 << 70}),
    "no cgroup": lambda text: json.dumps({**json.loads(text), "cgroup": {}}),
    "a wrong cgroup": lambda text: text.replace('"paths":', '"paths":5,"path":'),
}


@pytest.mark.parametrize("status", ["created", "running", "paused", "stopped"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_can_be_deleted_by_force(
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    no_leaks: Leaks,
    damage: str,
    status: str,
) -> None:
    bring_to(runtime, bundle, container_id, status)
    path = runtime.root / container_id / "state.json"
    path.write_text(DAMAGES[damage](path.read_text()))
    assert runtime("pause", container_id, check=False).returncode == 1
    assert "is damaged" in runtime("delete", "--force", container_id).stderr
    assert runtime.status(container_id) == "none"


def test_a_damaged_state_without_a_copy(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    """What still tells of the process is used."""
    bring_to(runtime, bundle, container_id, "running")
    path = runtime.root / container_id / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "cgroup": {}}))
    (runtime.root / container_id / "state-backup.json").write_text("{")
    runtime("delete", "--force", container_id)
    assert not is_alive(state["pid"], state["startTime"])
    for directory in dict.fromkeys(state["cgroup"]["paths"].values()):
        with contextlib.suppress(FileNotFoundError):  # systemd removes an empty scope itself
            os.rmdir(directory)


@pytest.mark.parametrize("user_namespace", [False, True])
def test_a_limit_of_one_process(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, user_namespace: bool
) -> None:
    bundle.config["linux"]["resources"]["pids"] = {"limit": 1}
    if user_namespace:
        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        bundle.config["linux"]["uidMappings"] = bundle.config["linux"]["gidMappings"] = mapping
        bundle.namespaces({"type": "user"})
    bundle.args("echo", "alone")
    assert runtime.run(container_id, bundle.path).stdout == "alone\n"


def test_a_missing_state_can_be_deleted_by_force(
    runtime: Runtime, container_id: str, no_leaks: Leaks
) -> None:
    """What a creation leaves that is killed before it has written anything."""
    (runtime.root / container_id).mkdir(parents=True)
    assert runtime("state", container_id, check=False).returncode == 1
    runtime("list")
    runtime("delete", "--force", container_id)
    assert runtime.status(container_id) == "none"


def test_devices_that_are_there_already(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    """A rootfs without a /dev mount, used for the second time; a fifo has no number, whatever is configured."""
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] == "/proc"]
    bundle.config["linux"]["devices"] = [
        {"path": "/dev/fifo", "type": "p", "major": 5, "minor": 6, "fileMode": 0o600},
        {"path": "/dev/tape", "type": "c", "major": 9, "minor": 1, "fileMode": 0o640},
    ]
    bundle.sh("stat -c '%n %f %t:%T' /dev/fifo /dev/tape")
    for _ in range(2):
        done = runtime.run(container_id, bundle.path)
        assert done.stdout.splitlines() == ["/dev/fifo 1180 0:0", "/dev/tape 21a0 9:1"]
    (bundle.rootfs / "dev/tape").unlink()
    (bundle.rootfs / "dev/tape").write_text("no device")
    done = runtime.run(container_id, bundle.path, check=False)
    assert "linux.devices[1]: mknodat /dev/tape: File exists" in done.stderr


def test_a_long_root(runtime: Runtime, bundle: Bundle, container_id: str, tmp_path: Path) -> None:
    """Longer than the path of a socket may be."""
    runtime.root = tmp_path / ("long-" * 30)
    runtime.run(container_id, bundle.path)
