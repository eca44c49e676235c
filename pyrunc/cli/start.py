"""`pyrunc start`."""

from __future__ import annotations

import os

from pyrunc.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "start",
    "execute the process of a created container",
    operands="<container-id>",
    minimum=1,
    description="""\
Executes the process that config.json names in a container that `pyrunc create` has made. It fails
when the program cannot be executed, and says why.

Where NOTIFY_SOCKET is set, for this command and for `pyrunc create`, the program may report to the
service manager by sd_notify(3), and the command ends when it has reported that it is ready.""",
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.container import Container

    container = Container.load(settings.root, arguments.positional[0])
    manager = os.environ.get("NOTIFY_SOCKET")
    if manager and container.state.get("notify"):
        from pyrunc.container.notify import start_and_notify

        start_and_notify(container, manager)
    else:
        container.start()
    return 0
