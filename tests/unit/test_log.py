"""Records of the log: what containerd, CRI-O and scripts that know runc read."""

from __future__ import annotations

import functools
import json
import os
import socket
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from pyrunc import log, log_daemons
from pyrunc.errors import UsageError

WHEN = "2026-01-02T03:04:05Z"


@pytest.fixture(autouse=True)
def _restore() -> object:
    yield
    log.configure()


def test_json_file(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    log.configure(str(path), "json")
    log.debug("not shown")
    log.warning("first")
    log.error('mount "/é": \udcff\n')
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["level"], r["msg"]) for r in records] == [
        ("warning", "first"),
        ("error", 'mount "/é": \ufffd\n'),
    ]
    assert all(set(r) == {"level", "msg", "time"} for r in records)
    assert all(datetime.fromisoformat(r["time"]).tzinfo for r in records)


def test_file_is_appended_to_and_made_as_runc_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    old = os.umask(0)
    try:
        log.configure(str(path), "text", debug=True)
    finally:
        os.umask(old)
    log.debug("one")
    log.configure(str(path), "text")
    log.error("two")
    levels = [line.split(" ")[1] for line in path.read_text().splitlines()]
    assert levels == ["level=debug", "level=error"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("message", "quoted"),
    [
        ("plain words", '"plain words"'),
        ('a "b" \\ c', r'"a \"b\" \\ c"'),
        ("line\nnext\tand\r", r'"line\nnext\tand\r"'),
        ("\x1b[1m\udcfe", r'"\x1b[1m\xfe"'),
        ("ünï", '"ünï"'),
    ],
)
def test_text_record(message: str, quoted: str) -> None:
    assert log.text_record("error", message, WHEN) == f'time="{WHEN}" level=error msg={quoted}'


def test_without_file_records_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    log.configure()
    log.error("no such thing")
    assert capfd.readouterr().err.endswith('level=error msg="no such thing"\n')
    assert not log.is_file()


def test_wrong_format_and_path_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="--log-format xml: must be text or json"):
        log.configure("", "xml")
    with pytest.raises(UsageError, match="--log /nonexistent/log: No such file or directory"):
        log.configure("/nonexistent/log", "text")


@pytest.mark.parametrize(
    ("zone", "suffix"), [("UTC0", "Z"), ("XYZ-05:30", "+05:30"), ("XYZ3", "-03:00")]
)
def test_timestamp_has_the_local_offset(
    monkeypatch: pytest.MonkeyPatch, zone: str, suffix: str
) -> None:
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert log.timestamp().endswith(suffix)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.parametrize(
    ("level", "levels"),
    [
        ("error", ["error"]),
        ("warning", ["info", "warning", "error"]),
        ("debug", ["debug", "info", "warning", "error"]),
    ],
)
def test_levels(tmp_path: Path, level: str, levels: list[str]) -> None:
    path = tmp_path / "log"
    log.configure(f"file:{path}", "json", level=level)
    assert log.debugging() == (level == "debug")
    for write in (log.debug, log.info, log.warning, log.error):
        write("words")
    assert [json.loads(line)["level"] for line in path.read_text().splitlines()] == levels
    log.configure(f"file:{path}", "json", debug=True, level=level)
    log.debug("the flag says so")
    assert "the flag says so" in path.read_text()


def test_an_unknown_level_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--log-level info: must be error, warning or debug"):
        log.configure(level="info")


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What the journal and syslog listen on."""
    for name in ("journald", "syslog"):
        path = str(tmp_path / "socket")
        function = getattr(log_daemons, name)
        monkeypatch.setattr(log_daemons, name, functools.partial(function, path=path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(60)
        yield listener


def test_records_for_the_journal(daemon: socket.socket) -> None:
    log.configure("journald:web")
    log.warning("one\ntwo \udcff")
    text = b"one\ntwo \xff"
    size = len(text).to_bytes(8, "little")
    expected = b"PRIORITY=4\nSYSLOG_IDENTIFIER=web\nMESSAGE\n" + size + text + b"\n"
    assert daemon.recv(4096) == expected
    assert log.is_file()


def test_records_for_syslog(daemon: socket.socket) -> None:
    log.configure("syslog:web")
    log.error("it went wrong")
    assert daemon.recv(4096) == f"<27>web[{os.getpid()}]: it went wrong".encode()
    daemon.close()
    log.error("nobody reads this")  # and it is no error


def test_log_daemons_that_are_not_there(tmp_path: Path, daemon: socket.socket) -> None:
    with pytest.raises(UsageError, match="--log journald:: needs a name"):
        log.configure("journald:")
    daemon.close()
    (tmp_path / "socket").unlink()
    with pytest.raises(UsageError, match=r"--log syslog:web: .*: No such file or directory"):
        log.configure("syslog:web")
