"""`pyrunc pause`."""

from __future__ import annotations

from pyrunc.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "pause",
    "suspend all processes of a container",
    operands="<container-id>",
    minimum=1,
    description="""\
Freezes the cgroup of a running container, so that none of its processes runs until
`pyrunc resume`.""",
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.container import Container

    Container.load(settings.root, arguments.positional[0]).pause()
    return 0
