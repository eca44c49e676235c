"""`pyrunc ps`."""

from __future__ import annotations

import os
import sys

from pyrunc.cli.parser import MANY, TEXT, Command, Flag
from pyrunc.errors import HostError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

FORMATS = ("table", "json")

COMMAND = Command(
    "ps",
    "show the processes of a container",
    operands="<container-id> [ps-option…]",
    minimum=1,
    maximum=MANY,
    in_order=True,
    description="""\
Shows the processes in the cgroup of a container, or in its pid namespace if it has no cgroup: as a
table, the lines of ps(1) for them, with the given options (default: -ef), which must keep the column
PID; as JSON, their ids on this host.""",
    flags=(Flag("format f", "table or json", kind=TEXT, metavar="FORMAT", default="table"),),
    examples=(("pyrunc ps web aux", "the processes in BSD's format"),),
)


def run(settings: Settings, arguments: Arguments) -> int:
    name, *options = arguments.positional
    form = arguments.text("format", "table")
    if form not in FORMATS:
        raise UsageError(f'ps: --format "{form}": must be {" or ".join(FORMATS)}')
    from pyrunc.container.container import Container

    pids = Container.load(settings.root, name).pids()
    if form == "json":
        from pyrunc.spec.json import dumps

        sys.stdout.write((dumps(sorted(pids)) if pids else "null") + "\n")  # as runc has none
        return 0

    import subprocess

    words = options or ["-ef"]
    try:
        done = subprocess.run(["ps", *words], capture_output=True, check=False)
    except OSError as error:
        raise HostError(f"ps cannot be executed: {error.strerror}; install procps") from None
    output = done.stdout.decode("utf-8", "surrogateescape")
    if done.returncode:
        reason = os.fsdecode(done.stderr).strip().partition("\n")[0]
        raise UsageError(f"ps {' '.join(words)} failed: {reason or f'exit code {done.returncode}'}")
    sys.stdout.write(lines_of(output, set(pids)))
    return 0


def lines_of(table: str, pids: Collection[int]) -> str:
    """The header of a table of ps(1), and its lines for `pids`.

    Raises:
        UsageError: it has no column PID.
    """
    header, *lines = table.splitlines(keepends=True) or [""]
    try:
        column = header.split().index("PID")
    except ValueError:
        raise UsageError("ps: the output has no column PID: choose other options") from None
    kept = [header]
    for line in lines:
        words = line.split(None, column + 1)
        if len(words) > column and words[column].isdigit() and int(words[column]) in pids:
            kept.append(line)
    return "".join(kept)
