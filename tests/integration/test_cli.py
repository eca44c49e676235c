"""The command line on real containers, beside Debian's runc in the same run."""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle, default_config
from helpers.runtime import Runtime, wait_until

pytestmark = pytest.mark.root

MakeBundle = Callable[..., Bundle]


@pytest.fixture
def both(runtime: Runtime, runc: Runtime) -> list[Runtime]:
    runc.options = runtime.options
    return [runtime, runc]


def sleeper(make_bundle: MakeBundle, *command: str) -> Path:
    config = default_config()
    config["process"]["args"] = list(command or ("sleep", "1000"))
    config["annotations"] = {"org.example.key": "v<a>lue"}
    path: Path = make_bundle(config).path
    return path


#: Each line of a container's life: (command line with ID, the status before it).
LIFE = [
    ("start ID", "none"),
    ("delete ID", "none"),
    ("delete --force ID", "none"),
    ("kill ID", "none"),
    ("exec ID true", "none"),
    ("ps ID", "none"),
    ("pause ID", "none"),
    ("resume ID", "none"),
    ("events --stats ID", "none"),
    ("update --memory 64M ID", "none"),
    ("CREATE", "none"),
    ("CREATE", "created"),
    ("resume ID", "created"),
    ("kill ID NOSUCH", "created"),
    ("start ID", "created"),
    ("start ID", "running"),
    ("CREATE", "running"),
    ("delete ID", "running"),
    ("resume ID", "running"),
    ("exec ID sh -c 'exit 7'", "running"),
    ("exec ID /bin/nonexistent", "running"),
    ("exec ID /proc", "running"),
    ("exec ID", "running"),
    ("exec --user root ID true", "running"),
    ("exec --cwd /nonexistent ID true", "running"),
    ("exec ID sh -c 'kill -9 $$'", "running"),
    ("ps --format json ID", "running"),
    ("ps --format xml ID", "running"),
    ("ps ID -o comm", "running"),
    ("events --stats ID", "running"),
    ("update --memory 64M ID", "running"),
    ("update --memory nothing ID", "running"),
    ("pause ID", "running"),
    ("pause ID", "paused"),
    ("start ID", "paused"),
    ("exec ID true", "paused"),
    ("delete ID", "paused"),
    ("resume ID", "paused"),
    ("kill ID KILL", "running"),
    ("WAIT", "stopped"),
    ("kill ID KILL", "stopped"),
    ("start ID", "stopped"),
    ("exec ID true", "stopped"),
    ("pause ID", "stopped"),
    ("resume ID", "stopped"),
    ("events --stats ID", "stopped"),
    ("update --memory 64M ID", "stopped"),
    ("ps ID", "stopped"),
    ("delete ID", "stopped"),
    ("delete ID", "none"),
]


def live(runtime: Runtime, name: str, bundle: Path) -> list[tuple[str, str, int]]:
    """Run LIFE; for each line its status before, and its exit code."""
    codes = []
    for line, status in LIFE:
        if line == "WAIT":
            runtime.wait(name, status)
            continue
        assert runtime.status(name) == status, f"{runtime.name} before {line}"
        if line == "CREATE":
            code = runtime.create(name, bundle, check=False).returncode
        else:
            words = [name if word == "ID" else word for word in shlex.split(line)]
            code = runtime(*words, check=False).returncode
        codes.append((line, status, code))
    return codes


def test_exit_codes_in_every_state(
    both: list[Runtime], make_bundle: MakeBundle, container_id: str
) -> None:
    bundle = sleeper(make_bundle)
    ours, theirs = (live(runtime, f"{container_id}-{runtime.name}", bundle) for runtime in both)
    assert ours == theirs


def test_state_and_list_have_the_fields_of_runc(
    both: list[Runtime], make_bundle: MakeBundle, container_id: str
) -> None:
    bundle = sleeper(make_bundle)
    states, lists, tables = [], [], []
    for runtime in both:
        name = f"{container_id}-{runtime.name}"
        runtime.create(name, bundle)
        states.append(runtime.state(name))
        lists.append(json.loads(runtime("list", "-f", "json").stdout))
        tables.append(runtime("list").stdout.replace(name, container_id).splitlines())
    ours, theirs = states
    assert list(ours) == list(theirs)
    same = {"status", "bundle", "rootfs", "annotations", "owner"}
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert Path(f"/proc/{ours['pid']}").exists()
    assert len(ours["created"]) == len("2026-01-02T03:04:05.123456789Z")

    ours, theirs = (documents[0] for documents in lists)
    assert list(ours) == list(theirs)
    assert ours["owner"] == theirs["owner"]
    for ours, theirs in zip(*tables, strict=True):
        assert len(ours.split()) == len(theirs.split()) == 6
        assert ours.split()[5] == theirs.split()[5]


def test_ps(both: list[Runtime], make_bundle: MakeBundle, container_id: str) -> None:
    bundle = sleeper(make_bundle)
    tables = []
    for runtime in both:
        name = f"{container_id}-{runtime.name}"
        runtime.create(name, bundle)
        runtime("start", name)
        pid = runtime.state(name)["pid"]
        assert json.loads(runtime("ps", "-f", "json", name).stdout) == [pid]
        header, line = runtime("ps", name).stdout.splitlines()
        tables.append((header, line.split()[-2:]))
        chosen = runtime("ps", name, "-o", "comm,pid").stdout.split()
        assert chosen == ["COMMAND", "PID", "sleep", str(pid)]
    assert tables[0] == tables[1]


def keys(value: Any) -> Any:
    """The shape of a document: its names, without what depends on the moment."""
    if isinstance(value, dict):
        return {name: keys(item) for name, item in value.items() if name != "raw"}
    return None


def test_statistics(both: list[Runtime], make_bundle: MakeBundle, container_id: str) -> None:
    bundle = sleeper(make_bundle)
    shapes = []
    for runtime in both:
        name = f"{container_id}-{runtime.name}"
        runtime.create(name, bundle)
        runtime("start", name)
        event = json.loads(runtime("events", "--stats", name).stdout)
        assert (event["type"], event["id"]) == ("stats", name)
        shapes.append(keys(event["data"]))
    ours, theirs = shapes
    assert set(theirs) - set(ours) == set()
    for section in ("cpu", "memory", "pids"):
        for shape in (ours[section], theirs[section]):  # of cgroup v2, in later versions of runc
            shape.pop("psi", None)
            shape.get("usage", {}).pop("max", None)
        assert ours[section] == theirs[section]


def test_events_end_with_the_container(
    runtime: Runtime, make_bundle: MakeBundle, container_id: str
) -> None:
    runtime.create(container_id, sleeper(make_bundle))
    runtime("start", container_id)
    line = runtime.command("events", "--interval", "50ms", container_id)
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(2):
            event = json.loads(process.stdout.readline())
            assert event["type"] == "stats"
            assert event["data"]["pids"]["current"] == 1
        runtime("kill", container_id, "KILL")
        process.stdout.read()
        assert process.wait(timeout=30) == 0


def test_events_tell_of_memory_that_ran_out(
    runtime: Runtime, make_bundle: MakeBundle, container_id: str
) -> None:
    script = "while read _; do dd if=/dev/zero of=/dev/null bs=200M count=1; done < /fifo"
    bundle = sleeper(make_bundle, "sh", "-c", script)
    os.mkfifo(bundle / "rootfs" / "fifo")
    config = json.loads((bundle / "config.json").read_text())
    limit = 32 << 20
    config["linux"]["resources"] = {"memory": {"limit": limit, "swap": limit}}
    (bundle / "config.json").write_text(json.dumps(config))
    runtime.create(container_id, bundle)
    runtime("start", container_id)
    line = runtime.command("events", "--interval", "1h", container_id)
    with (
        subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process,
        ExitStack() as stack,
    ):
        stack.callback(process.kill)  # a test that fails does not wait for it
        output = process.stdout
        assert output is not None
        with open(bundle / "rootfs" / "fifo", "w", encoding="utf-8") as fifo:

            def told() -> bool:
                fifo.write("\n")  # again: nobody tells when it has begun to watch the memory
                fifo.flush()
                return bool(select.select([output], [], [], 1)[0])

            wait_until(told, "an event")
            runtime("kill", container_id, "KILL")
        events = [json.loads(line) for line in output]
        assert {(event["type"], event["id"]) for event in events} == {("oom", container_id)}
        assert process.wait(timeout=30) == 0


def test_update_changes_a_running_container(
    runtime: Runtime, make_bundle: MakeBundle, container_id: str
) -> None:
    runtime.create(container_id, sleeper(make_bundle))
    runtime("start", container_id)

    def statistics() -> Any:
        return json.loads(runtime("events", "--stats", container_id).stdout)["data"]

    runtime("update", "--memory", "64M", "--pids-limit", "17", container_id)
    assert statistics()["memory"]["usage"]["limit"] == 64 << 20
    assert statistics()["pids"]["limit"] == 17
    resources = json.dumps({"pids": {"limit": 23}})
    runtime("update", "--resources", "-", container_id, stdin=resources)
    assert statistics()["memory"]["usage"]["limit"] == 64 << 20
    assert statistics()["pids"]["limit"] == 23
    wrong = json.dumps({"pids": {"limit": "many"}})
    done = runtime("update", "-r", "-", container_id, stdin=wrong, check=False)
    assert done.returncode == 1
    assert "standard input: /pids/limit: " in done.stderr


def test_kill_by_name_and_number(
    runtime: Runtime, make_bundle: MakeBundle, container_id: str
) -> None:
    number = signal.SIGRTMIN + 3
    script = f"trap 'echo got; exit 0' {number}; echo ready; while :; do sleep 0.01; done"
    bundle = sleeper(make_bundle, "sh", "-c", script)
    runtime.create(container_id, bundle)
    runtime("start", container_id)
    output = bundle / "output"
    wait_until(lambda: "ready" in output.read_text(), "the trap")
    runtime("kill", container_id, "RTMIN+3")
    runtime.wait(container_id, "stopped")
    assert "got" in output.read_text()


def test_plan_changes_nothing(
    runtime: Runtime, make_bundle: MakeBundle, leaks: Any, container_id: str
) -> None:
    bundle = sleeper(make_bundle)
    text = runtime("plan", bundle).stdout
    assert "(/root/path)" in text
    assert runtime("plan", "--bundle", bundle).stdout == text
    plan = json.loads(runtime("plan", "--format", "json", "--id", container_id, bundle).stdout)
    assert plan["operations"]
    assert leaks.found(runtime.root) == []
    assert not runtime.root.exists()


def test_debug_logs_the_plan(
    runtime: Runtime, make_bundle: MakeBundle, container_id: str, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    flags = ("--debug", "--log", str(path), "--log-format", "json")
    bundle = sleeper(make_bundle)
    runtime.used.add(container_id)
    runtime.create(container_id, bundle)
    assert not path.exists()
    runtime(*flags, "start", container_id)
    runtime(*flags, "exec", container_id, "sleep", "0")
    messages = [json.loads(line)["msg"] for line in path.read_text().splitlines()]
    assert any(message.startswith("pyrunc ") and "exec" in message for message in messages)
    assert any("sleep" in message and "/args" in message for message in messages)


def test_log_of_a_failure_is_what_engines_read(
    runtime: Runtime, make_bundle: MakeBundle, container_id: str, tmp_path: Path
) -> None:
    bundle = sleeper(make_bundle, "/nonexistent")
    log = tmp_path / "log.json"
    flags = ("--log", str(log), "--log-format", "json")
    runtime.used.add(container_id)
    done = runtime(*flags, "run", "--bundle", bundle, container_id, check=False)
    assert done.returncode != 0
    records = [json.loads(line) for line in log.read_text().splitlines()]
    failure = [record for record in records if record["level"] == "error"][-1]
    assert "no such file or directory" in failure["msg"].lower()
    assert failure["msg"] in done.stderr
    assert abs(time.time() - log.stat().st_mtime) < 60


def test_what_will_not_be_as_written_is_a_warning(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["process"]["capabilities"]["permitted"].append("CAP_FLY")
    bundle.config["mounts"].append({"destination": "data", "type": "tmpfs", "source": "tmpfs"})
    log = bundle.path / "log"
    done = runtime("--log", log, "run", "--bundle", bundle.save().path, container_id)
    assert done.stderr == ""
    warnings = [line for line in log.read_text().splitlines() if "level=warning" in line]
    assert len(warnings) == 2
    assert "/mounts/5/destination: a relative path is deprecated" in warnings[0]
    assert "/process/capabilities/permitted/3: " in warnings[1]
    assert "CAP_FLY" in warnings[1]
