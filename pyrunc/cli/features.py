"""`pyrunc features`."""

from __future__ import annotations

import sys

from pyrunc.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "features",
    "show what the runtime supports",
    description="""\
Prints the features document of the runtime specification as JSON: what this build can do,
whatever the host can do.""",
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.spec.features import features
    from pyrunc.spec.json import dumps

    sys.stdout.write(dumps(features(), 2) + "\n")
    return 0
