"""What is measured: runtimes as command lines, each with a state directory of its own."""

from __future__ import annotations

import copy
import os
import subprocess
from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """One program, from before its start to after its end.

    Attributes:
        wall, cpu: milliseconds; cpu is user's and system's.
        peak: the largest resident set, in KiB.
        faults: page faults.
    """

    wall: float
    cpu: float
    peak: int
    faults: int


class Failed(Exception):
    """A program that is measured has failed: a figure of it would be worth nothing."""


class Bench:
    """A directory with the measuring programs, the root filesystem, and a file for standard streams.

    Containers get a regular file for their streams: crun makes the user of the container the owner of
    what it is given, and that must not be the host's /dev/null.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rootfs = directory / "rootfs"
        self.probe = directory / "probe"
        self.floor = directory / "floor"
        self.output = directory / "output"
        self.states = directory / "states"

    def measure(self, *command: str | Path, expect: int | None = 0) -> Sample:
        """Run a program and measure it.

        Args:
            expect: its exit status; None for any.

        Raises:
            Failed: another exit status.
        """
        reading, writing = os.pipe()
        with open(reading) as report, self.output.open("w+b", buffering=0) as streams:
            subprocess.run(
                [self.probe, str(writing), *command],
                stdin=streams,
                stdout=streams,
                stderr=streams,
                pass_fds=[writing],
                check=False,
                close_fds=True,
            )
            os.close(writing)
            line = report.readline().split()
        if not line or (expect is not None and int(line[5]) != expect):
            status = line[5] if line else "none"
            said = self.output.read_text(errors="replace").strip()
            raise Failed(f"{' '.join(map(str, command))}: exit status {status}\n{said}")
        wall, user, system, peak, faults = map(int, line[:5])
        return Sample(wall / 1e6, (user + system) / 1e3, peak, faults)


class Subject:
    """A runtime with its state directory."""

    def __init__(self, bench: Bench, name: str, binary: Path) -> None:
        self.bench = bench
        self.name = name
        self.binary = binary
        self.options: tuple[str, ...] = ()
        self.root = bench.states / name
        self.root.mkdir()

    def with_options(self, *options: str) -> Subject:
        """The same runtime, with global options."""
        changed = copy.copy(self)
        changed.options = options
        return changed

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """A command line of it."""
        return [self.binary, "--root", self.root, *self.options, *arguments]

    def __call__(self, *arguments: str | Path, expect: int | None = 0) -> Sample:
        """Run one command and measure it. Raises Failed: it failed."""
        return self.bench.measure(*self.command(*arguments), expect=expect)

    def output(self, *arguments: str | Path) -> str:
        """What a command prints."""
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=True
        ).stdout

    @property
    def version(self) -> str:
        """The first line of --version."""
        done = subprocess.run(
            [self.binary, "--version"], capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()[0]
