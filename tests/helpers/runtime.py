"""A runtime as its users see it: a command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from helpers.command import LIMIT, Completed, run_command, wait_until


class Runtime:
    """One runtime binary with its own state directory.

    Attributes:
        binary: absolute path.
        root: value of `--root`.
        used: ids that were passed to `create` and `run`.
        options: global options of every operation, beside `--root`.
    """

    def __init__(self, binary: Path, root: Path, options: Iterable[str] = ()) -> None:
        self.binary = binary
        self.root = root
        self.used: set[str] = set()
        self.options = list(options)

    @property
    def name(self) -> str:
        """Name of the program, such as `runc`."""
        return self.binary.name

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of one operation."""
        return [str(self.binary), *self.options, "--root", str(self.root), *map(str, arguments)]

    def __call__(
        self,
        *arguments: str | Path,
        check: bool = True,
        stdin: str | None = None,
        limit: float = LIMIT,
        **options: Any,
    ) -> Completed:
        """Run one operation to its end, with its output captured.

        A container that outlives the operation (`create`, `run --detach`) must not inherit pipes:
        use `create`, which gives it files.

        Raises:
            AssertionError: it failed, and `check` was not False.
        """
        command = self.command(*arguments)
        return run_command(command, check=check, stdin=stdin, limit=limit, **options)

    def detached(
        self, operation: str, container: str, bundle: Path, *flags: str | Path, check: bool = True
    ) -> Completed:
        """Run `create` or `run --detach`: the container's output goes to the file `output`.

        The runtime's own errors go the same way; they are in `stderr` of what is returned.
        """
        self.used.add(container)
        output = bundle / "output"
        with output.open("wb") as file:
            done = subprocess.run(
                self.command(operation, "--bundle", bundle, *flags, container),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=LIMIT,
                check=False,
            )
        said = output.read_text(errors="replace")
        if check and done.returncode != 0:
            raise AssertionError(f"{self.name} {operation}: exit {done.returncode}\n{said}")
        return Completed(done.args, done.returncode, "", said)

    def create(
        self, container: str, bundle: Path, *flags: str | Path, check: bool = True
    ) -> Completed:
        """`create`, see `detached`."""
        return self.detached("create", container, bundle, *flags, check=check)

    def run(
        self,
        container: str,
        bundle: Path,
        *flags: str | Path,
        check: bool = True,
        stdin: str | None = None,
        **options: Any,
    ) -> Completed:
        """`run` in the foreground: what the container printed, and its exit status."""
        self.used.add(container)
        return self(
            "run", "--bundle", bundle, *flags, container, check=check, stdin=stdin, **options
        )

    def state(self, container: str) -> dict[str, Any]:
        """The state document."""
        document: dict[str, Any] = json.loads(self("state", container).stdout)
        return document

    def status(self, container: str) -> str:
        """Status of the container, "none" if there is no such container."""
        done = self("state", container, check=False)
        return str(json.loads(done.stdout)["status"]) if done.returncode == 0 else "none"

    def wait(self, container: str, status: str) -> None:
        """Wait for a status."""
        wait_until(lambda: self.status(container) == status, f"{container} to be {status}")

    def clean(self) -> None:
        """Delete every container of this state directory, whatever its status."""
        left = sorted(self.used)
        if self.root.is_dir():
            left += sorted(entry.name for entry in self.root.iterdir() if entry.is_dir())
        for container in dict.fromkeys(left):
            self("delete", "--force", container, check=False)
        self.used.clear()


class SystemdRuntime(Runtime):
    """A runtime that has systemd make its cgroups."""

    def command(self, *arguments: str | Path) -> list[str]:
        return super().command("--systemd-cgroup", *arguments)
