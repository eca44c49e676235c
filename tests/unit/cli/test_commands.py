"""What each command asks of the container, and what it prints."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_container import PROCESS, modules

import pyrunc
from pyrunc import log
from pyrunc.cli.main import main

IDS = ("web", "noted")


class Line:
    """A command line that was run: exit code, output, and calls of the container."""

    def __init__(self, code: int, out: str, err: str, calls: list[Any], root: str) -> None:
        self.code = code
        self.out = out
        self.err = err
        self.calls = calls
        self.root = root


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    fakes = modules(IDS)
    for name, module in fakes.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(pyrunc, "container", fakes["pyrunc.container"], raising=False)
    container = fakes["pyrunc.container.container"].Container

    def run(*words: str) -> Line:
        capfd.readouterr()
        container.calls.clear()
        code = main(list(words))
        out, err = capfd.readouterr()
        return Line(code, out, err, list(container.calls), container.root)

    yield run
    log.configure()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    from pyrunc.spec.json import dumps
    from pyrunc.spec.template import default_config

    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_text(dumps(default_config()))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (["start", "web"], ("start", "web")),
        (["pause", "web"], ("pause", "web")),
        (["resume", "web"], ("resume", "web")),
        (["kill", "web"], ("kill", "web", 15, False)),
        (["kill", "web", "KILL"], ("kill", "web", 9, False)),
        (["kill", "--all", "web", "9"], ("kill", "web", 9, True)),
        (["kill", "web", "9", "-a"], ("kill", "web", 9, True)),
        (["delete", "web"], ("delete", "web", False)),
        (["delete", "--force", "web"], ("delete", "web", True)),
        (["delete", "web", "-f"], ("delete", "web", True)),
    ],
)
def test_simple_commands(cli: Any, words: list[str], call: tuple[Any, ...]) -> None:
    line = cli(*words)
    assert (line.code, line.out, line.err) == (0, "", "")
    assert line.calls == [call]


def test_delete_of_what_is_not_there(cli: Any) -> None:
    line = cli("delete", "none")
    assert line.code == 1
    assert "container none does not exist" in line.err


def test_root(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("start", "web").root == "/default"
    assert cli("--root", "/some/where", "start", "web").root == "/some/where"
    monkeypatch.chdir(tmp_path)
    assert cli("--root", "here", "start", "web").root == str(tmp_path / "here")


def test_state(cli: Any) -> None:
    assert json.loads(cli("state", "web").out) == {
        "ociVersion": "1.3.0",
        "id": "web",
        "pid": 42,
        "status": "running",
        "bundle": "/b/web",
        "rootfs": "/b/web/rootfs",
        "created": "2026-01-02T03:04:05.123456789Z",
        "owner": "",
    }
    assert json.loads(cli("state", "noted").out)["annotations"] == {"a": "b"}


def test_list(cli: Any, tmp_path: Path) -> None:
    for name in IDS:
        (tmp_path / name).mkdir()
    os.chown(tmp_path, -1, -1)
    owner = (tmp_path / "web").owner()
    root = ("--root", str(tmp_path))
    assert cli(*root, "list", "-q").out == "noted\nweb\n"
    documents = json.loads(cli(*root, "list", "--format", "json").out)
    assert [d["id"] for d in documents] == ["noted", "web"]
    assert documents[1] == json.loads(cli("state", "web").out) | {"owner": owner}
    assert cli(*root, "list").out.splitlines() == [
        "ID          PID         STATUS      BUNDLE      CREATED                          OWNER",
        f"noted       42          running     /b/noted    2026-01-02T03:04:05.123456789Z   {owner}",
        f"web         42          running     /b/web      2026-01-02T03:04:05.123456789Z   {owner}",
    ]


def test_create_and_run(cli: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle)
    monkeypatch.setenv("NOTIFY_SOCKET", "/manager")
    line = cli(
        *("--systemd-cgroup", "--rootless=false", "create"),
        *("--pid-file", "pid", "--console-socket=sock"),
        *("--pidfd-socket", "/p", "--preserve-fds", "3", "--no-pivot", "--no-new-keyring", "id"),
    )
    assert line.code == 0
    ((name, container, given, options),) = line.calls
    assert (name, container, given.path) == ("create", "id", str(bundle))
    assert vars(options) == {
        "pid_file": str(bundle / "pid"),
        "console_socket": str(bundle / "sock"),
        "pidfd_socket": "/p",
        "preserve_fds": 3,
        "no_pivot": True,
        "no_new_keyring": True,
        "cgroup_driver": "systemd",
        "rootless": "false",
        "detach": False,
        "keep": False,
        "no_subreaper": False,
        "notify_socket": "/manager",
    }
    line = cli("run", "--detach", "--keep", "--no-subreaper", "-b", str(bundle), "id")
    assert line.code == 9
    ((name, _, given, options),) = line.calls
    assert (name, given.rootfs) == ("run", str(bundle / "rootfs"))
    assert (options.detach, options.keep, options.no_subreaper) == (True, True, True)
    assert (options.pid_file, options.cgroup_driver) == ("", "cgroupfs")


def test_exec_changes_the_process(cli: Any) -> None:
    line = cli(
        *("exec", "-t", "-d", "--cwd", "/srv", "-e", "A=1", "--env", "B=2", "-u", "3:4", "-g", "6"),
        *("--cap", "CAP_CHOWN", "-c", "CAP_SYS_TIME", "--no-new-privs=false", "--apparmor", "prof"),
        *("--process-label", "label", "--cgroup", "pids:/a", "--ignore-paused", "--pid-file", "/p"),
        *("web", "ls", "-t", "--", "x"),
    )
    assert line.code == 7
    ((_, _, process, options),) = line.calls
    assert process == {
        "args": ["ls", "-t", "--", "x"],
        "cwd": "/srv",
        "env": ["PATH=/bin", "A=1", "B=2"],
        "user": {"uid": 3, "gid": 4, "additionalGids": [5, 6]},
        "capabilities": {
            "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SYS_TIME"],
            "effective": ["CAP_KILL", "CAP_CHOWN", "CAP_SYS_TIME"],
            "inheritable": ["CAP_CHOWN"],
            "permitted": ["CAP_KILL", "CAP_CHOWN", "CAP_SYS_TIME"],
            "ambient": ["CAP_CHOWN"],
        },
        "terminal": True,
        "noNewPrivileges": False,
        "apparmorProfile": "prof",
        "selinuxLabel": "label",
    }
    assert vars(options) == {
        "pid_file": "/p",
        "console_socket": "",
        "pidfd_socket": "",
        "preserve_fds": 0,
        "detach": True,
        "ignore_paused": True,
        "cgroups": ["pids:/a"],
        "rootless": "auto",
    }


def test_exec_without_options_keeps_the_process(cli: Any) -> None:
    ((_, _, process, _),) = cli("exec", "web", "true").calls
    assert process == PROCESS | {"args": ["true"], "terminal": False}


def test_exec_reads_a_process(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"args": ["id"], "cwd": "/", "terminal": True}))
    ((_, _, process, _),) = cli("exec", "--process", str(path), "web").calls
    assert process == {"args": ["id"], "cwd": "/", "terminal": True}


@pytest.mark.parametrize("user", ["root", "1:", ":1", "-1", "4294967295", "1:2:3", "\u0663"])
def test_exec_refuses_other_users(cli: Any, user: str) -> None:
    line = cli("exec", "--user", user, "web", "true")
    assert (line.code, line.calls) == (255, [])
    assert f'exec: --user \\"{user}\\": must be numbers' in line.err


def test_ps_json(cli: Any) -> None:
    assert cli("ps", "--format", "json", "web").out == "[7,42]\n"


def test_update(cli: Any) -> None:
    line = cli(
        *("update", "--memory", "64M", "--memory-swap=-1", "--memory-reservation", "1.5g"),
        *("--cpu-quota", "-1", "--cpu-period", "100000", "--cpuset-cpus", "0-1", "web"),
        *("--pids-limit", "-1"),
    )
    assert line.calls == [
        (
            "update",
            "web",
            {
                "memory": {"limit": 64 << 20, "swap": -1, "reservation": 3 << 29},
                "cpu": {"quota": -1, "period": 100000, "cpus": "0-1"},
                "pids": {"limit": -1},
            },
            {},
        )
    ]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("memory", "lots"),
        ("memory", "-2"),
        ("memory", "1.5"),
        ("memory", "1e3"),
        ("memory", "M"),
        ("cpu-share", "-1"),
        ("cpu-quota", "1.5"),
        ("pids-limit", "all"),
    ],
)
def test_update_refuses(cli: Any, option: str, value: str) -> None:
    line = cli("update", f"--{option}={value}", "web")
    assert (line.code, line.calls) == (1, [])
    assert f'update: --{option} \\"{value}\\": must be' in line.err


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("65536", 65536), ("1k", 1024), ("2KB", 2048), ("3kib", 3072), ("0.5G", 1 << 29)],
)
def test_sizes(cli: Any, text: str, size: int) -> None:
    ((_, _, resources, _),) = cli("update", "--memory", text, "web").calls
    assert resources == {"memory": {"limit": size}}


def test_update_of_resctrl_and_what_is_no_more(cli: Any) -> None:
    line = cli(
        *("update", "--l3-cache-schema", "L3:0=f", "--mem-bw-schema", "MB:0=50", "web"),
        *("--kernel-memory", "1M"),
    )
    ((_, _, resources, rdt),) = line.calls
    assert resources == {}
    assert rdt == {"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=50"}
    assert "level=warning" in line.err
    assert "--kernel-memory is ignored" in line.err


def test_validate(cli: Any, bundle: Path) -> None:
    assert cli("validate", str(bundle)).out == "valid\n"
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["cwd"] = "relative"
    config["mounts"][0]["destination"] = 5
    (bundle / "config.json").write_text(json.dumps(config))
    line = cli("validate", str(bundle / "config.json"))
    assert (line.code, line.err) == (1, "")
    assert [text.partition(":")[0] for text in line.out.splitlines()] == [
        "/mounts/0/destination",
        "/process/cwd",
    ]


def test_spec(cli: Any, tmp_path: Path) -> None:
    assert cli("spec", "--bundle", str(tmp_path)).code == 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["process"]["args"] == ["sh"]
    line = cli("spec", "--bundle", str(tmp_path))
    assert line.code == 1
    assert "config.json exists already: remove it first" in line.err


def test_debug_log_in_json(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "log"
    line = cli("--log", str(path), "--log-format", "json", "start", "none")
    assert line.code == 1
    record = json.loads(path.read_text())
    assert (record["level"], record["msg"]) == ("error", "container none does not exist")
    assert line.err == "container none does not exist\n"


def test_output_that_cannot_be_written(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115  (to close it fails, too)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        line = cli("state", "web")
    with suppress(OSError):
        full.close()
    assert line.code == 1
    assert "standard output: No space left on device" in line.err
