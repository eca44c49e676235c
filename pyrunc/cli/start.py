"""`pyrunc start`."""

from __future__ import annotations

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
when the program cannot be executed, and says why.""",
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.container import Container

    Container.load(settings.root, arguments.positional[0]).start()
    return 0
