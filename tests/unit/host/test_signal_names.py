"""Signals as `kill` takes them."""

from __future__ import annotations

import signal

import pytest

from pyrunc.errors import UsageError
from pyrunc.host.signal_names import signal_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGTERM", signal.SIGTERM),
        ("TERM", signal.SIGTERM),
        ("term", signal.SIGTERM),
        ("sigkill", signal.SIGKILL),
        ("15", 15),
        ("0", 0),
        ("64", 64),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("rtmax-2", signal.SIGRTMAX - 2),
        ("POLL", signal.SIGIO),
    ],
)
def test_names_and_numbers(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FOO",
        "SIG",
        "_BLOCK",
        "SIG_BLOCK",
        "65",
        "-9",
        "TERM+1",
        "RTMIN+99",
        "RTMIN-1",
        "RTMIN+",
        "9x",
        "\u0663",
    ],
)
def test_others_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        signal_number(text)
