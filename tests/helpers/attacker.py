"""Programs that attack from inside a container, written in C and linked statically."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "integration" / "security" / "programs"


class Attackers:
    """Compiles the programs, each once.

    Attributes:
        directory: where the executables are.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    def path(self, name: str) -> Path:
        """The executable that is made of programs/NAME.c."""
        target = self.directory / name
        if not target.exists():
            command = ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-static"]
            subprocess.run(
                [*command, "-D_GNU_SOURCE", "-o", target, SOURCES / f"{name}.c", "-lpthread"],
                check=True,
            )
        return target

    def install(self, name: str, rootfs: Path) -> str:
        """Copy the executable to /NAME of a root filesystem; returns that path."""
        shutil.copy(self.path(name), rootfs / name)
        return f"/{name}"


class Racer:
    """A process that exchanges two paths without pause, until it is left (renameat2(2))."""

    def __init__(self, attackers: Attackers, one: Path, other: Path) -> None:
        self._command = [attackers.path("exchange"), one, other]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Racer:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        ended = self._process.poll()
        self._process.kill()
        self._process.wait()
        if ended is not None:
            raise AssertionError(f"the attacker gave up: {ended}")


def rounds(bounded: int, torture: int) -> int:
    """How often to try: many more times under `make torture`."""
    return torture if os.environ.get("PYRUNC_TORTURE") else bounded
