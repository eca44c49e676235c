"""`pyrunc create`."""

from __future__ import annotations

from pyrunc.cli.flags import CREATE_FLAGS, NO_SUBREAPER, bundle_of, create_options
from pyrunc.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "create",
    "create a container",
    operands="<container-id>",
    minimum=1,
    description="""\
Creates a container from a bundle: a directory with a config.json and a root filesystem. All of it
is made, namespaces, mounts and cgroup, but the process of config.json is not executed until
`pyrunc start`.

The id names the container on this host, and may have letters, digits and any of _ + - .""",
    flags=(*CREATE_FLAGS, NO_SUBREAPER),
    examples=(("pyrunc create --bundle /srv/web --pid-file /run/web.pid web", "create it"),),
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.creation import create
    from pyrunc.container.store import check_id

    name = arguments.positional[0]
    check_id(name)
    options = create_options(settings, arguments)
    create(settings.root, name, bundle_of(arguments), options)
    return 0
