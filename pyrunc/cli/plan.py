"""`pyrunc plan`."""

from __future__ import annotations

import sys

from pyrunc.cli.flags import CREATE_FLAGS, bundle_at, create_options
from pyrunc.cli.parser import TEXT, Command, Flag
from pyrunc.errors import UsageError
from pyrunc.spec.json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings
    from pyrunc.plan.plan import Plan

FORMATS = ("text", "json")

COMMAND = Command(
    "plan",
    "show what create would do, without doing it",
    operands="[bundle]",
    maximum=1,
    description="""\
Prints the plan of a bundle: each step that would make the container, in order, on this host. It
changes nothing, and needs no privileges.

With --diff, only steps that differ are shown, and the exit code is 1 if there are any.""",
    flags=(
        Flag("format", "text or json", kind=TEXT, metavar="FORMAT", default="text"),
        Flag(
            "diff",
            "show how the plan of another bundle differs: - are steps of this one, + of the other",
            kind=TEXT,
            metavar="DIR",
        ),
        Flag("id", "the container id to plan for", kind=TEXT, metavar="ID", default="container"),
        *CREATE_FLAGS,
    ),
    examples=(
        ("pyrunc plan /srv/web", "read it"),
        ("pyrunc plan --diff /srv/new /srv/web", "what is different in /srv/new"),
    ),
)


def run(settings: Settings, arguments: Arguments) -> int:
    form = arguments.text("format", "text")
    if form not in FORMATS:
        raise UsageError(f'plan: --format "{form}": must be {" or ".join(FORMATS)}')
    path = arguments.positional[0] if arguments.positional else arguments.text("bundle")
    plan = plan_of(path, settings, arguments)
    other = arguments.text("diff")
    if other:
        steps = differences(plan.describe(), plan_of(other, settings, arguments).describe())
        if form == "json":
            found = [{"sign": sign, "step": step} for sign, step in steps]
            sys.stdout.write(dumps(found, 2) + "\n")
        else:
            write_differences(steps)
        return int(bool(steps))
    if form == "json":
        sys.stdout.write(dumps(plan.to_json(), 2) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in plan.describe()))
    return 0


def plan_of(path: str, settings: Settings, arguments: Arguments) -> Plan:
    """The plan of the bundle in a directory."""
    from pyrunc.container.creation import compile_bundle
    from pyrunc.container.store import check_id
    from pyrunc.host.facts import HostFacts

    name = arguments.text("id", "container")
    check_id(name)
    options = create_options(settings, arguments)
    return compile_bundle(settings.root, name, bundle_at(path, arguments), options, HostFacts())


def differences(ours: list[str], theirs: list[str]) -> list[tuple[str, str]]:
    """The steps that only one of two plans has: "-" for the first, "+" for the other.

    Neither the number of a step nor its place in config.json makes a difference.
    """
    from difflib import SequenceMatcher

    ours, theirs = (
        [line.partition(": ")[2] if line.lstrip()[:1].isdigit() else line for line in lines]
        for lines in (ours, theirs)
    )
    bare = [[line.partition("  (/")[0] for line in lines] for lines in (ours, theirs)]
    found: list[tuple[str, str]] = []
    matcher = SequenceMatcher(None, bare[0], bare[1], autojunk=False)
    for tag, first, last, other_first, other_last in matcher.get_opcodes():
        if tag != "equal":
            found += [("-", line) for line in ours[first:last]]
            found += [("+", line) for line in theirs[other_first:other_last]]
    return found


def write_differences(steps: list[tuple[str, str]]) -> None:
    from pyrunc.cli.colour import GREEN, RED, paint, wanted

    on = wanted()
    for sign, step in steps:
        line = paint(f"{sign} {step}", RED if sign == "-" else GREEN, on=on)
        sys.stdout.write(f"{line}\n")
