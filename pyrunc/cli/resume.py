"""`pyrunc resume`."""

from __future__ import annotations

from pyrunc.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "resume",
    "resume all processes of a paused container",
    operands="<container-id>",
    minimum=1,
    description="""\
Thaws the cgroup of a container that `pyrunc pause` has frozen.""",
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.container import Container

    Container.load(settings.root, arguments.positional[0]).resume()
    return 0
