"""`pyrunc state`."""

from __future__ import annotations

import sys

from pyrunc.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings
    from pyrunc.container.container import Container

COMMAND = Command(
    "state",
    "show the state of a container",
    operands="<container-id>",
    minimum=1,
    description="""\
Prints the state of a container as JSON: the fields of the runtime specification, and rootfs,
created and owner.""",
)


def document(container: Container, owner: str) -> dict[str, Any]:
    """What `state` and `list` show of a container, in the order that runc has."""
    shown = container.document()
    shown.pop("owner", None)
    shown["owner"] = owner
    return shown


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.container import Container
    from pyrunc.spec.json import dumps

    container = Container.load(settings.root, arguments.positional[0])
    sys.stdout.write(dumps(document(container, ""), 2) + "\n")
    return 0
