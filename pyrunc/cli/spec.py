"""`pyrunc spec`."""

from __future__ import annotations

import os

from pyrunc.cli.flags import BUNDLE
from pyrunc.cli.parser import TEXT, Command, Flag
from pyrunc.cli.settings import absolute
from pyrunc.errors import BundleError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "spec",
    "write a config.json to start from",
    description="""\
Writes a config.json that runs sh in a new container with few privileges, to be edited. An existing
config.json is not touched.""",
    flags=(
        BUNDLE,
        Flag("file f", "write this file instead of config.json", kind=TEXT, metavar="FILE"),
        Flag("rootless", "for a container that is run without root, in a user namespace"),
    ),
    examples=(
        (
            "mkdir -p web/rootfs && cd web && pyrunc spec && pyrunc run web",
            "after rootfs was filled",
        ),
    ),
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.spec.json import dumps
    from pyrunc.spec.template import default_config

    directory = absolute(arguments.text("bundle") or ".")
    path = os.path.join(directory, arguments.text("file") or "config.json")
    data = dumps(default_config(arguments.switch("rootless")), 2) + "\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o666)
    except FileExistsError:
        raise BundleError(f"{path} exists already: remove it first") from None
    with open(fd, "w", encoding="utf-8") as file:
        file.write(data)
    return 0
