"""What is caught for a process in the foreground."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from pyrunc.container.supervise import Supervisor


def test_a_flood_of_signals_is_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with Supervisor() as supervisor:
        with suppress(BlockingIOError):
            while os.write(supervisor._wake_write, bytes(4096)):
                pass
        os.kill(os.getpid(), signal.SIGUSR1)
    assert capfd.readouterr().err == ""
