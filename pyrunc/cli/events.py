"""`pyrunc events`."""

from __future__ import annotations

import sys

from pyrunc.cli.parser import DURATION, Command, Flag
from pyrunc.errors import StateError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings
    from pyrunc.container.container import Container

INTERVAL = 5.0

COMMAND = Command(
    "events",
    "show what a container uses, and when it runs out of memory",
    operands="<container-id>",
    minimum=1,
    description="""\
Prints statistics of a container at regular intervals, and each time that the kernel ends one of its
processes for want of memory, as JSON objects, one a line. It ends when the container ends.""",
    flags=(
        Flag("interval", "time between statistics", kind=DURATION, metavar="TIME", default="5s"),
        Flag("stats", "print the statistics once"),
    ),
)


def run(settings: Settings, arguments: Arguments) -> int:
    interval = arguments.seconds("interval", INTERVAL)
    if interval <= 0:
        raise UsageError("events: --interval must be more than 0")
    from pyrunc.container.container import Container

    container = Container.load(settings.root, arguments.positional[0])
    if arguments.switch("stats"):
        if not container.is_alive():
            raise StateError(f"container {container.id} has no events: it is stopped")
        _print("stats", container.id, container.stats())
        return 0
    _follow(container, interval)
    return 0


def _follow(container: Container, interval: float) -> None:
    """Print events until the process has ended."""
    import gc
    import time

    from pyrunc.container.events import EventSource
    from pyrunc.host.waiting import block

    gc.enable()  # the launcher has turned it off, for commands that end at once
    with EventSource(container, interval) as source:
        while not source.ended:
            block(source.fileno(), source.due - time.monotonic())
            for kind, data in source.take():
                _print(kind, container.id, data)


def _print(kind: str, name: str, data: dict[str, Any] | None) -> None:
    from pyrunc.spec.json import dumps

    event: dict[str, Any] = {"type": kind, "id": name}
    if data is not None:
        event["data"] = data
    sys.stdout.write(dumps(event) + "\n")
    sys.stdout.flush()
