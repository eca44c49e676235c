"""`pyrunc validate`."""

from __future__ import annotations

import os
import sys

from pyrunc.cli.parser import Command
from pyrunc.cli.settings import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "validate",
    "check a config.json",
    operands="<bundle|file>",
    minimum=1,
    description="""\
Checks config.json, of a bundle or as a file, against the runtime specification. Prints every
violation, one a line, after the JSON pointer to its place, and then exits with 1; or prints
"valid".""",
    examples=(("pyrunc validate /srv/web", "check /srv/web/config.json"),),
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.spec.json import loads
    from pyrunc.spec.loader import read_file
    from pyrunc.spec.validate import violations

    path = absolute(arguments.positional[0])
    if os.path.isdir(path):
        path = os.path.join(path, "config.json")
    found = violations(loads(read_file(path), path))
    if not found:
        sys.stdout.write("valid\n")
        return 0
    sys.stdout.write("".join(f"{violation}\n" for violation in found))
    return 1
