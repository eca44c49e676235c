"""Records of the log: what containerd, CRI-O and scripts that know runc read."""

from __future__ import annotations

import json
import os
import stat
from datetime import datetime
from pathlib import Path

import pytest

from pyrunc import log
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
