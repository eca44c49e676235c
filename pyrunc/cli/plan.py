"""`pyrunc plan`."""

from __future__ import annotations

import sys

from pyrunc.cli.flags import CREATE_FLAGS, bundle_at, create_options
from pyrunc.cli.parser import TEXT, Command, Flag
from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

FORMATS = ("text", "json")

COMMAND = Command(
    "plan",
    "show what create would do, without doing it",
    operands="[bundle]",
    maximum=1,
    description="""\
Prints the plan of a bundle: each step that would make the container, in order, on this host. It
changes nothing, and needs no privileges.""",
    flags=(
        Flag("format", "text or json", kind=TEXT, metavar="FORMAT", default="text"),
        Flag("id", "the container id to plan for", kind=TEXT, metavar="ID", default="container"),
        *CREATE_FLAGS,
    ),
    examples=(("pyrunc plan /srv/web", "read it"),),
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.creation import compile_bundle
    from pyrunc.container.store import check_id
    from pyrunc.host.facts import HostFacts

    form = arguments.text("format", "text")
    if form not in FORMATS:
        raise UsageError(f'plan: --format "{form}": must be {" or ".join(FORMATS)}')
    name = arguments.text("id", "container")
    check_id(name)
    path = arguments.positional[0] if arguments.positional else arguments.text("bundle")
    options = create_options(settings, arguments)
    plan = compile_bundle(settings.root, name, bundle_at(path, arguments), options, HostFacts())
    if form == "json":
        from pyrunc.spec.json import dumps

        sys.stdout.write(dumps(plan.to_json(), 2) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in plan.describe()))
    return 0
