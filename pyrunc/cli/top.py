"""`pyrunc top`."""

from __future__ import annotations

import os
import sys

from pyrunc.cli.parser import DURATION, MANY, TEXT, Command, Flag
from pyrunc.errors import PyruncError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings
    from pyrunc.container.container import Container

INTERVAL = 2.0


COLUMNS = ("ID", "STATUS", "CPU", "THROTTLED", "MEMORY", "LIMIT", "PIDS", "READ/S", "WRITE/S")
SORTS = ("cpu", "memory", "pids", "io", "id")

COMMAND = Command(
    "top",
    "show what containers use, again and again",
    operands="[container-id…]",
    maximum=MANY,
    description="""\
Shows CPU time, memory, processes and block I/O of all containers that run, or of those that are
named, from their cgroups. CPU is in percent of one CPU; throttled is the part of periods in which
its quota was used up. At a terminal the table is shown in place until q is pressed; elsewhere one
table follows another. It ends when all containers that were named have.""",
    flags=(
        Flag("interval d", "time between tables", kind=DURATION, metavar="TIME", default="2s"),
        Flag("once", "one table, of what is used in one interval"),
        Flag(
            "sort",
            f"what comes first: the highest {', '.join(SORTS[:-1])}, or by {SORTS[-1]}",
            kind=TEXT,
            metavar="COLUMN",
            default="cpu",
        ),
    ),
    examples=(("pyrunc top --once --sort memory", "who uses most memory"),),
)


class Sample:
    """What a container had used at one time."""

    __slots__ = (
        "cpu",
        "limit",
        "memory",
        "periods",
        "pids",
        "read",
        "status",
        "throttled",
        "when",
        "written",
    )

    def __init__(self, data: dict[str, Any], status: str, when: float) -> None:
        self.when = when
        self.status = status
        cpu = data.get("cpu") or {}
        self.cpu: int = (cpu.get("usage") or {}).get("total") or 0
        throttling = cpu.get("throttling") or {}
        self.periods: int = throttling.get("periods") or 0
        self.throttled: int = throttling.get("throttledPeriods") or 0
        usage = (data.get("memory") or {}).get("usage") or {}
        self.memory: int = usage.get("usage") or 0
        self.limit: int = usage.get("limit") or 0
        self.pids: int = (data.get("pids") or {}).get("current") or 0
        blocks = (data.get("blkio") or {}).get("ioServiceBytesRecursive") or ()
        # an entry without a value stands for 0
        amounts = [(entry["op"].lower(), entry.get("value", 0)) for entry in blocks]
        self.read = sum(amount for operation, amount in amounts if operation == "read")
        self.written = sum(amount for operation, amount in amounts if operation == "write")


class Use:
    """What a container uses, between two samples: percentages and bytes a second."""

    __slots__ = ("cpu", "id", "last", "read", "throttled", "written")

    def __init__(self, name: str, first: Sample, last: Sample) -> None:
        seconds = max(last.when - first.when, 1e-3)
        self.id = name
        self.last = last
        self.cpu = 100 * (last.cpu - first.cpu) / 1e9 / seconds
        periods = last.periods - first.periods
        self.throttled = 100 * (last.throttled - first.throttled) / periods if periods else 0.0
        self.read = (last.read - first.read) / seconds
        self.written = (last.written - first.written) / seconds

    def key(self, sort: str) -> Any:
        return {
            "cpu": -self.cpu,
            "memory": -self.last.memory,
            "pids": -self.last.pids,
            "io": -self.read - self.written,
            "id": 0,
        }[sort], self.id

    def row(self) -> list[str]:
        last = self.last
        return [
            self.id,
            last.status,
            f"{self.cpu:.1f}%",
            f"{self.throttled:.0f}%",
            size(last.memory),
            size(last.limit) if 0 < last.limit < 1 << 60 else "-",
            str(last.pids),
            size(self.read),
            size(self.written),
        ]


def run(settings: Settings, arguments: Arguments) -> int:
    interval = arguments.seconds("interval", INTERVAL)
    if interval <= 0:
        raise UsageError("top: --interval must be more than 0")
    sort = arguments.text("sort", SORTS[0])
    if sort not in SORTS:
        raise UsageError(f'top: --sort "{sort}": must be one of {", ".join(SORTS)}')
    names = arguments.positional
    from pyrunc.container.container import Container

    for name in names:
        Container.load(settings.root, name)  # one that is not there is an error, at the beginning
    screen = Screen(live=not arguments.switch("once") and os.isatty(0) and os.isatty(1))
    import gc

    gc.enable()  # the launcher has turned it off, for commands that end at once
    with screen:
        before = samples(settings.root, names)
        while not screen.wait(interval):
            after = samples(settings.root, names)
            used = [Use(name, before[name], after[name]) for name in after if name in before]
            used.sort(key=lambda use: use.key(sort))
            screen.show([COLUMNS, *(use.row() for use in used)])
            before = after
            if arguments.switch("once") or (names and not after):
                break
    return 0


def samples(root: str, names: Sequence[str]) -> dict[str, Sample]:
    """A sample of each container that runs; of those in `names`, unless that is empty."""
    import time

    from pyrunc.container.container import Container
    from pyrunc.container.store import list_ids

    found = {}
    for name in names or list_ids(root):
        try:
            container: Container = Container.load(root, name)
            status = container.status
            if status in ("created", "running", "paused"):
                found[name] = Sample(container.cgroup.stats(), status, time.monotonic())
        except PyruncError:
            continue  # it has ended meanwhile
    return found


def size(number: float) -> str:
    """Bytes, short: 512B, 1.5K, 12M."""
    unit = 0
    while number >= 1000 and unit < 5:
        number /= 1024
        unit += 1
    if unit == 0:
        return f"{number:.0f}B"
    return f"{number:.1f}{'BKMGTP'[unit]}" if number < 10 else f"{number:.0f}{'BKMGTP'[unit]}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns; the first two to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


class Screen:
    """Where tables go: one place on a terminal, or one after the other."""

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._modes: list[Any] | None = None

    def __enter__(self) -> Screen:
        if self._live:
            import termios

            self._modes = termios.tcgetattr(0)
            modes = termios.tcgetattr(0)
            modes[3] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(0, termios.TCSANOW, modes)
            self._write("\x1b[?1049h\x1b[?25l")  # the other screen, without a cursor
        return self

    def __exit__(self, *_: object) -> None:
        if self._modes is not None:
            import termios

            self._write("\x1b[?25h\x1b[?1049l")
            termios.tcsetattr(0, termios.TCSANOW, self._modes)

    def wait(self, seconds: float) -> bool:
        """Wait; True when a person has pressed q."""
        import select
        import time

        if not self._live:
            time.sleep(seconds)
            return False
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([0], [], [], left)[0] and os.read(0, 64)[:1] in (b"q", b"Q", b""):
                return True
        return False

    def show(self, rows: Sequence[Sequence[str]]) -> None:
        lines = table(rows)
        if not self._live:
            self._write("".join(f"{line}\n" for line in lines))
            return
        from pyrunc.cli.colour import BOLD, paint, wanted

        size = os.get_terminal_size(1)
        shown = [line[: size.columns] for line in lines[: max(1, size.lines - 1)]]
        shown[0] = paint(shown[0], BOLD, on=wanted())
        self._write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in shown) + "\x1b[J")

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
