"""`pyrunc version`, and `pyrunc --version`."""

from __future__ import annotations

import sys

from pyrunc.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "version",
    "print the version",
    description="""\
Prints the versions of pyrunc, of the runtime specification, of Python and of libseccomp.""",
)


def show() -> int:
    from pyrunc import __version__
    from pyrunc.spec.version import OCI_VERSION

    lines = [f"pyrunc version {__version__}", f"spec: {OCI_VERSION}"]
    lines.append(f"python: {'.'.join(map(str, sys.version_info[:3]))}")
    try:
        from pyrunc.host.libseccomp import version
    except ImportError as error:
        lines.append(f"libseccomp: not available ({error})")
    else:
        lines.append(f"libseccomp: {version()}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def run(settings: Settings, arguments: Arguments) -> int:
    return show()
