"""Programs that attack from inside a container, written in C and linked statically."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from helpers.tally import count

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
    """A process that exchanges two paths again and again, until it is left (renameat2(2))."""

    def __init__(self, attackers: Attackers, one: Path, other: Path, pause: int = 0) -> None:
        """`pause` is the time between two exchanges, in microseconds."""
        self._command: list[str | Path] = [attackers.path("exchange"), one, other, str(pause)]
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


def rounds(bounded: int, torture: int, what: str = "") -> int:
    """How often to try: many more times under `make torture`. Counts them as `what`."""
    number = torture if os.environ.get("PYRUNC_TORTURE") else bounded
    if what:
        count(what, number)
    return number


class Scratch:
    """A directory of the host that stands for what no container may reach.

    Attributes:
        path: the directory; it holds the file `secret`.
    """

    SECRET = "what only the host may know"

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        (path / "secret").write_text(self.SECRET)
        (path / "ptmx").write_text(self.SECRET)
        self._before = self._look()

    def _look(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for directory, names, files in os.walk(self.path):
            for name in (*names, *files):
                path = Path(directory, name)
                info = path.lstat()
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                found[str(path.relative_to(self.path))] = (info.st_mode, info.st_uid, content)
        return found

    @property
    def touched(self) -> bool:
        """Something in it has changed."""
        return self._look() != self._before
