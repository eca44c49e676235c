"""`pyrunc mounts`, as crun has it."""

from __future__ import annotations

from pyrunc.cli.parser import Command
from pyrunc.cli.settings import absolute
from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "mounts",
    "add mounts to a container that runs, or remove them",
    operands="add|remove <container-id> <file>",
    minimum=3,
    description="""\
The file has an array of mounts in the form of mounts of config.json. `add` makes them in the
container, all of them or, if one fails, none; what has to be there to mount on is made. `remove`
unmounts their destinations, the last one first; a destination must not lead over symbolic links.

[{"destination": "/data", "source": "/srv/data", "options": ["bind"]}]""",
    examples=(("pyrunc mounts add web data.json", "show a directory of the host in a container"),),
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.container import Container
    from pyrunc.container.remount import add_mounts, remove_mounts
    from pyrunc.spec.json import loads
    from pyrunc.spec.loader import read_file

    what, name, file = arguments.positional
    actions = {"add": add_mounts, "remove": remove_mounts}
    if what not in actions:
        raise UsageError(f'mounts: "{what}": must be add or remove')
    path = absolute(file)
    container = Container.load(settings.root, name)
    mounts: Any = loads(read_file(path), path, nulls=False)
    actions[what](container, mounts, path)
    return 0
