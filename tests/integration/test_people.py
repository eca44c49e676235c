"""Commands for people at a terminal: doctor, top, and the differences of plans."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.runtime import Runtime
from helpers.terminal import TerminalProcess

pytestmark = pytest.mark.root


@pytest.fixture
def containers(
    runtime: Runtime, make_bundle: Callable[..., Bundle], container_id: str
) -> dict[str, str]:
    """Two that run, one busy within its quota and one asleep, one that is created, one that has ended."""
    names = {kind: f"{container_id}-{kind}" for kind in ("busy", "idle", "created", "ended")}
    for kind, name in names.items():
        bundle = make_bundle()
        bundle.config["linux"]["resources"] = {
            "cpu": {"quota": 20000, "period": 100000},
            "memory": {"limit": 64 << 20},
        }
        bundle.sh({"busy": "while :; do :; done", "ended": "exit 0"}.get(kind, "sleep 1000"))
        runtime.create(name, bundle.path)
        if kind != "created":
            runtime("start", name)
    runtime.wait(names["ended"], "stopped")
    return names


def rows(text: str) -> dict[str, list[str]]:
    """The lines of a table by their first column."""
    return {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}


def test_top_once(runtime: Runtime, containers: dict[str, str]) -> None:
    text = runtime("top", "--once", "--interval", "500ms").stdout
    found = rows(text)
    header = found.pop("ID")
    assert header == [
        "ID",
        "STATUS",
        "CPU",
        "THROTTLED",
        "MEMORY",
        "LIMIT",
        "PIDS",
        "READ/S",
        "WRITE/S",
    ]
    assert set(found) == {containers[kind] for kind in ("busy", "idle", "created")}
    assert text.splitlines()[1].startswith(containers["busy"])  # who uses most is first
    busy, idle = found[containers["busy"]], found[containers["idle"]]
    assert busy[1] == idle[1] == "running"
    assert float(busy[2].rstrip("%")) > float(idle[2].rstrip("%"))
    assert int(busy[3].rstrip("%")) > 0  # its quota is used up
    assert busy[5] == "64M"
    assert busy[6] == "1"
    assert found[containers["created"]][1] == "created"
    assert "\x1b" not in text


def test_top_of_some_in_another_order(runtime: Runtime, containers: dict[str, str]) -> None:
    names = (containers["idle"], containers["busy"])
    text = runtime("top", "--once", "-d", "100ms", "--sort", "id", *names).stdout
    assert [line.split()[0] for line in text.splitlines()[1:]] == sorted(names)
    done = runtime("top", "--once", "nosuch", check=False)
    assert (done.returncode, "nosuch does not exist" in done.stderr) == (1, True)
    for flags, message in (
        (("--interval", "0"), "--interval must be more than 0"),
        (("--sort", "size"), 'top: --sort "size": must be one of cpu, memory, pids, io, id'),
    ):
        done = runtime("top", *flags, check=False)
        assert done.returncode == 1
        assert message in done.stderr.replace("\\", "")


def test_top_ends_with_the_containers(runtime: Runtime, containers: dict[str, str]) -> None:
    runtime("kill", containers["busy"], "KILL")
    runtime.wait(containers["busy"], "stopped")
    assert rows(runtime("top", "-d", "10ms", containers["busy"]).stdout).keys() == {"ID"}


def test_top_at_a_terminal(runtime: Runtime, containers: dict[str, str]) -> None:
    command = runtime.command("top", "--interval", "50ms")
    with TerminalProcess(["env", "TERM=xterm", *command], rows=10, columns=60) as terminal:
        terminal.expect("\x1b[?1049h")
        for _ in range(2):  # again and again, in the same place
            terminal.expect("\x1b[H")
            terminal.expect(containers["busy"])
        terminal.send("q")
        terminal.expect("\x1b[?1049l")
        assert terminal.wait() == 0
        assert terminal.modes_restored()


def test_doctor(runtime: Runtime) -> None:
    text = runtime("doctor").stdout
    for area in ("kernel", "cgroup", "security", "rootless", "state", "checkpoint"):
        assert re.search(f"^{area}$", text, re.MULTILINE)
    assert "\x1b" not in text
    found: list[dict[str, Any]] = json.loads(runtime("doctor", "--json").stdout)
    assert set(found[0]) == {"area", "name", "kind", "text", "mend"}
    by_name = {f"{f['area']} {f['name']}": f for f in found}
    assert by_name["kernel version"]["kind"] == "good"
    assert by_name["state directory"]["text"] == str(runtime.root)
    assert all(f["text"] in text for f in found)


def test_doctor_of_a_host_without_criu(runtime: Runtime, tmp_path: Path) -> None:
    done = runtime("--criu", "nosuchcriu", "doctor", "--json")
    (criu,) = [f for f in json.loads(done.stdout) if f["area"] == "checkpoint"]
    assert (criu["kind"], criu["name"]) == ("note", "CRIU")
    assert "install CRIU" in criu["mend"]


def test_doctor_paints_at_a_terminal(runtime: Runtime) -> None:
    for setting, painted in (("TERM=xterm", True), ("TERM=dumb", False), ("NO_COLOR=1", False)):
        command = ["env", "TERM=xterm", setting, *runtime.command("doctor")]
        with TerminalProcess(command, columns=200) as terminal:
            assert terminal.wait() == 0
            text = terminal.seen
        assert (b"\x1b[32mgood\x1b[0m" in text) == painted


def test_doctor_as_a_user(runtime: Runtime, workspace: Path) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    if (
        not os.access(runtime.binary, os.X_OK)
        or os.stat(runtime.binary.parents[2]).st_mode & 1 == 0
    ):
        pytest.skip("another user cannot reach the runtime")
    words = (
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        runtime.binary,
        "doctor",
    )
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, cwd="/")
    assert "/etc/subuid" in done.stdout
    assert "usermod --add-subuids" in done.stdout


def test_differences_of_plans(
    runtime: Runtime, make_bundle: Callable[..., Bundle], container_id: str
) -> None:
    one, other = make_bundle(), make_bundle()
    other.config["hostname"] = "other"
    other.config["mounts"].insert(1, {"destination": "/new", "type": "tmpfs", "source": "tmpfs"})
    other.save()
    words = ("plan", "--bundle", one.path, "--diff")
    done = runtime(*words, other.path, check=False)
    assert done.returncode == 1
    assert set(done.stdout.splitlines()) == {
        "- hostname container  (/hostname)",
        "+ hostname other  (/hostname)",
        f"- rootfs {one.rootfs}  (/root/path)",
        f"+ rootfs {other.rootfs}  (/root/path)",
        "+ mount tmpfs on /new  (/mounts/1)",
    }
    steps = json.loads(runtime(*words, other.path, "--format", "json", check=False).stdout)
    assert {"sign": "+", "step": "mount tmpfs on /new  (/mounts/1)"} in steps
    assert runtime(*words, one.path).stdout == ""
