"""`pyrunc run`."""

from __future__ import annotations

from pyrunc.cli import flags
from pyrunc.cli.parser import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "run",
    "create and start a container",
    operands="<container-id>",
    minimum=1,
    description="""\
Creates a container from a bundle and starts it at once. Without --detach it waits for the process,
passes signals on to it, deletes the container afterwards and exits with the exit code of the
process, or 128 and the number of the signal that ended it.""",
    flags=(
        *flags.CREATE_FLAGS,
        flags.DETACH,
        Flag("keep", "do not delete the container when its process has ended"),
        Flag("no-subreaper", "do not adopt orphaned processes of the container"),
    ),
    examples=(("pyrunc run -b /srv/web web", "run it in this terminal"),),
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.running import run as run_container
    from pyrunc.container.store import check_id

    name = arguments.positional[0]
    check_id(name)
    options = flags.create_options(settings, arguments)
    return run_container(settings.root, name, flags.bundle_of(arguments), options)
