"""Many command lines at a time, from a program without threads that takes every child away."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.command import LIMIT


class Done(NamedTuple):
    """How one of a job's command lines ended; `status` is negative for a signal."""

    job: str
    command: list[str]
    status: int
    said: str


class _Running(NamedTuple):
    job: str
    command: list[str]
    rest: Iterator[list[str]]
    since: float


class Crowd:
    """Runs jobs, each some command lines one after another, many jobs at a time.

    Attributes:
        orphans: how many processes that others had started were taken away.
    """

    def __init__(self, directory: Path, width: int) -> None:
        """`directory` takes the output; `width` is how many jobs run at a time."""
        self.orphans = 0
        self._directory = directory
        self._width = width
        self._running: dict[int, _Running] = {}
        directory.mkdir(exist_ok=True)

    def run(self, jobs: Iterable[tuple[str, list[list[str]]]]) -> Iterator[Done]:
        """Run jobs, each of a name and command lines; what came of each command line.

        Raises:
            AssertionError: one takes longer than anything should.
        """
        left = iter(jobs)
        while True:
            while len(self._running) < self._width and (job := next(left, None)) is not None:
                name, commands = job
                self._next(name, iter(commands))
            if not self._running:
                return
            pid, status = os.waitpid(-1, 0)
            running = self._running.pop(pid, None)
            if running is None:
                self.orphans += 1
                continue
            if time.monotonic() - running.since > LIMIT:
                raise AssertionError(f"{running.command}: took {LIMIT:g} s")
            code = os.waitstatus_to_exitcode(status)
            output = self._output(running.job)
            yield Done(running.job, running.command, code, output.read_text(errors="replace"))
            self._next(running.job, running.rest)

    def check(self, jobs: Iterable[tuple[str, list[list[str]]]]) -> int:
        """Run jobs that have to go well; how many command lines there were.

        Raises:
            AssertionError: one did not go well.
        """
        count = 0
        for done in self.run(jobs):
            count += 1
            assert done.status == 0, f"{' '.join(done.command)}: {done.status}\n{done.said}"
        return count

    def take_orphans(self) -> None:
        """Take away what has ended by now."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.orphans += 1

    def _next(self, job: str, rest: Iterator[list[str]]) -> None:
        command = next(rest, None)
        output = self._output(job)
        if command is None:
            output.unlink()
            return
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        self._running[pid] = _Running(job, command, rest, time.monotonic())

    def _output(self, job: str) -> Path:
        return self._directory / job
