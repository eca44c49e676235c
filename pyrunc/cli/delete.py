"""`pyrunc delete`."""

from __future__ import annotations

from pyrunc.cli.parser import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "delete",
    "delete a container and all that it holds",
    operands="<container-id>",
    minimum=1,
    description="""\
Deletes a container that is stopped or was never started: its cgroup, its state and what is left of
its mounts. With --force it may also be running, and need not exist.""",
    flags=(
        Flag("force f", "kill the container first (SIGKILL) if it runs"),
        Flag(
            "regex r",
            "do it to all containers whose whole id matches <container-id>, a regular expression",
        ),
    ),
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.container import Container, delete_remains

    names = arguments.positional
    if arguments.switch("regex"):
        from pyrunc.cli.flags import matching

        names = matching(settings.root, "delete", names[0])
    for name in names:
        if arguments.switch("force"):
            delete_remains(settings.root, name)
        else:
            Container.load(settings.root, name).delete()
    return 0
