"""`pyrunc events`."""

from __future__ import annotations

import sys

from pyrunc import log
from pyrunc.cli.parser import DURATION, Command, Flag
from pyrunc.errors import CgroupError, StateError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroups.oom import OomEvents
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
    try:
        pidfd = container.open_pidfd()
    except StateError:
        raise StateError(f"container {container.id} has no events: it is stopped") from None
    if arguments.switch("stats"):
        _print("stats", container.id, container.cgroup.stats())
        return 0
    _follow(container, pidfd, interval)
    return 0


def _follow(container: Container, pidfd: int, interval: float) -> None:
    """Print events until the process has ended."""
    import gc
    import select
    import time

    gc.enable()  # the launcher has turned it off, for commands that end at once
    cgroup = container.cgroup
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    oom: OomEvents | None = None
    try:
        oom = cgroup.oom_events()
        poll.register(oom.fileno(), select.POLLIN)
    except CgroupError as error:
        log.warning(f"events: no out-of-memory events: {error}")
    due = time.monotonic() + interval
    while True:
        wait = max(0.0, due - time.monotonic())
        ready = [fd for fd, _ in poll.poll(wait * 1000)]
        if oom is not None and oom.fileno() in ready:
            count = oom.read()
            for _ in range(count or 0):
                _print("oom", container.id, None)
            if count is None:
                poll.unregister(oom.fileno())
                oom = None
        if pidfd in ready:
            return
        if time.monotonic() >= due:
            _print("stats", container.id, cgroup.stats())
            due += interval


def _print(kind: str, name: str, data: dict[str, Any] | None) -> None:
    from pyrunc.spec.json import dumps

    event: dict[str, Any] = {"type": kind, "id": name}
    if data is not None:
        event["data"] = data
    sys.stdout.write(dumps(event) + "\n")
    sys.stdout.flush()
