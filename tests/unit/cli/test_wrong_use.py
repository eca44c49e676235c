"""Wrong uses of the command line: runc's exit codes, and messages that say what, where and how."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PYRUNC = Path(sys.executable).with_name("pyrunc")
RUNC = shutil.which("runc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

#: Command line, words that our message must have, exit code (None: whatever runc gives).
WRONG = [
    ("bogus", 'there is no command "bogus"', None),
    ("krill x", "did you mean kill?", None),
    ("help bogus", 'there is no command "bogus"', 3),
    ("--bogus", "unknown flag --bogus", None),
    ("--bogus=1 list", "unknown flag --bogus", None),
    ("--root", "--root needs a value: --root DIR", None),
    ("--debug=foo list", '--debug="foo": must be true or false', None),
    ("--log-format xml list", "--log-format xml: must be text or json", None),
    ("--log /nonexistent/log list", "--log /nonexistent/log: No such file or directory", None),
    ("--log / list", "--log /: Is a directory", None),
    ("--bundle /b create x", "it belongs after a command (as in `pyrunc create --bundle`)", None),
    ("--rootless maybe list", "--rootless maybe: must be one of auto, true, false", 1),
    ("--cgroup-manager foo list", "must be one of cgroupfs, systemd, disabled", None),
    ("--usage", "unknown flag --usage", None),
    ("---debug list", "unknown flag ---debug", None),
    ("-=x list", "unknown flag -", None),
    ("create", "create: <container-id> is missing", None),
    ("create a b", "create: 2 arguments given, exactly 1 argument allowed", None),
    ("create --root /r x", "it is a global flag, which belongs before the command", None),
    ("create --pid-fiel x", "did you mean --pid-file?", None),
    ("create --pid-file", "--pid-file needs a value: --pid-file FILE", None),
    ("create --preserve-fds many x", '--preserve-fds "many": must be an integer', None),
    ("create --no-pivot=perhaps x", '--no-pivot="perhaps": must be true or false', None),
    ("run", "run: <container-id> is missing", None),
    ("start", "start: <container-id> is missing", None),
    ("state", "state: <container-id> is missing", None),
    ("state a b", "state: 2 arguments given, exactly 1 argument allowed", None),
    ("state --all a", "state: unknown flag --all", None),
    ("kill", "kill: <container-id> is missing", None),
    ("kill a 9 9", "kill: 3 arguments given, at most 2 arguments allowed", None),
    ("delete", "delete: <container-id> is missing", None),
    ("exec", "exec: <container-id> is missing", None),
    ("exec --tty=x a b", '--tty="x": must be true or false', None),
    ("exec -g x a b", '--additional-gids "x": must be an integer', None),
    ("list x", "list: no arguments are allowed", None),
    ("list -f", "--format needs a value: --format FORMAT", None),
    ("list -f xml", 'list: --format "xml": must be table or json', None),
    ("spec x", "spec: no arguments are allowed", None),
    ("spec --bundle /nonexistent", "/nonexistent/config.json: No such file or directory", None),
    ("features x", "features: no arguments are allowed", None),
    ("ps", "ps: <container-id> is missing", None),
    ("pause", "pause: <container-id> is missing", None),
    ("resume", "resume: <container-id> is missing", None),
    ("events", "events: <container-id> is missing", None),
    ("events --interval 5 x", '--interval "5": must be a duration such as 5s', None),
    ("update", "update: <container-id> is missing", None),
]


def call(program: str | Path, words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [str(program), *words]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(("line", "message", "code"), WRONG, ids=[w[0] for w in WRONG])
def test_wrong_use(line: str, message: str, code: int | None, tmp_path: Path) -> None:
    words = line.split()
    ours = call(PYRUNC, words, tmp_path)
    records = [text for text in ours.stderr.splitlines() if text.startswith("time=")]
    assert len(records) == 1
    assert " level=error msg=" in records[0]
    assert message.replace('"', '\\"') in records[0]
    assert ours.stdout == ""
    if code is None:
        if RUNC is None:
            pytest.skip("runc is not installed")
        code = call(RUNC, words, tmp_path).returncode
    assert ours.returncode == code


IDS = ["", ".", "..", "a/b", "../a", "a b", "\u00e4", "a\n", "a:b"]


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("command", ["state", "start", "kill", "delete", "pause", "create", "run"])
def test_wrong_container_id(command: str, name: str, tmp_path: Path) -> None:
    ours = call(PYRUNC, [command, name], tmp_path)
    assert ours.returncode == 1
    assert "container id" in ours.stderr
    assert list(tmp_path.iterdir()) == []
    if RUNC is None:
        pytest.skip("runc is not installed")
    assert call(RUNC, [command, name], tmp_path).returncode == 1


def test_a_current_directory_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    line = f"cd {tmp_path}/gone && rmdir ../gone && exec {PYRUNC} create x"
    done = call("/bin/sh", ["-c", line], tmp_path)
    assert done.returncode == 1
    assert "the current directory does not exist any more" in done.stderr


def test_arguments_that_are_not_utf8(tmp_path: Path) -> None:
    line = [os.fsencode(PYRUNC), b"state", b"\xff\xfe"]
    done = subprocess.run(line, capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    assert b"container id" in done.stderr
    done.stderr.decode("utf-8")


def test_a_person_at_a_terminal_is_told_in_plain_words() -> None:
    leader, follower = os.openpty()
    done = subprocess.run([PYRUNC, "kill"], stderr=follower, check=False, timeout=60)
    os.close(follower)
    text = os.read(leader, 10000).decode()
    os.close(leader)
    assert done.returncode == 1
    assert text.splitlines() == [
        "pyrunc: kill: <container-id> is missing",
        "Usage: pyrunc kill [options] <container-id> [signal]",
        "See `pyrunc kill --help`.",
    ]


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    line = [PYRUNC, "help"]
    done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 1
