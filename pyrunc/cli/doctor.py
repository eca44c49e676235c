"""`pyrunc doctor`."""

from __future__ import annotations

import os
import sys

from pyrunc.cli.parser import Command, Flag
from pyrunc.errors import OperationError, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings
    from pyrunc.host.checkup import Finding

COMMAND = Command(
    "doctor",
    "tell what this host can do for containers, and how to mend what it cannot",
    description="""\
Looks at the kernel, its cgroups and security modules, at what users need to have containers without
root, and at CRIU. Each finding is good, a note on what some containers need, or bad: then none can
run, and the exit code is 1. Findings that are not good are followed by the way to mend them.""",
    flags=(Flag("json", "print the findings as JSON"),),
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.host.checkup import BAD, Host, findings

    found = [*findings(Host()), *_state(settings), *_criu(settings.criu)]
    if arguments.switch("json"):
        from pyrunc.spec.json import dumps

        sys.stdout.write(dumps([finding.to_json() for finding in found], 2) + "\n")
    else:
        write(found)
    return int(any(finding.kind == BAD for finding in found))


def write(found: list[Finding]) -> None:
    """A line for each finding, and one below it where it can be mended."""
    from pyrunc.cli.colour import BOLD, GREEN, RED, YELLOW, paint, wanted
    from pyrunc.host.checkup import BAD, GOOD, NOTE

    on = wanted()
    colours = {GOOD: GREEN, NOTE: YELLOW, BAD: RED}
    width = max(len(finding.name) for finding in found)
    area = ""
    for finding in found:
        if finding.area != area:
            sys.stdout.write(paint(finding.area, BOLD, on=on) + "\n")
            area = finding.area
        kind = paint(finding.kind, colours[finding.kind], on=on)
        sys.stdout.write(f"  {kind}  {finding.name.ljust(width)}  {finding.text}\n")
        if finding.mend:
            sys.stdout.write(f"  {'':{width + 6}}  to mend it: {finding.mend}\n")


def _state(settings: Settings) -> Iterator[Finding]:
    """Where the state of containers is."""
    from pyrunc.host.checkup import BAD, GOOD, Finding

    root = settings.root
    place = root
    while not os.path.exists(place):
        place = os.path.dirname(place)
    if os.access(place, os.W_OK):
        yield Finding("state", "directory", GOOD, root)
    else:
        yield Finding(
            "state",
            "directory",
            BAD,
            f"{root}: {place} cannot be written to",
            "give another by --root",
        )


def _criu(program: str) -> Iterator[Finding]:
    """What checkpoint and restore need."""
    from pyrunc.host.checkup import GOOD, NOTE, Finding

    try:
        from pyrunc.container.criu import CHECK, Criu, message

        criu = Criu(program)
        number = criu.version
        version = f"{number // 10000}.{number // 100 % 100}"
        criu.call(message("Request", type=CHECK))
        yield Finding("checkpoint", "CRIU", GOOD, f"{version}, {criu.path}")
    except OperationError:
        mend = f"install one that is as new as the kernel; `{criu.path} check` says what it lacks"
        text = f"{version}, {criu.path}: cannot work on this kernel"
        yield Finding("checkpoint", "CRIU", NOTE, text, mend)
        return
    except PyruncError as error:
        mend = "install CRIU (Debian, Fedora: criu)"
        yield Finding("checkpoint", "CRIU", NOTE, f"{error}", mend)
        return
    for name, what in (("mem_track", "--pre-dump"), ("lazy_pages", "--lazy-pages")):
        try:
            criu.require_feature(name, what)
            yield Finding("checkpoint", what, GOOD, "can be used")
        except PyruncError as error:
            yield Finding("checkpoint", what, NOTE, str(error), "boot a kernel that has it")
