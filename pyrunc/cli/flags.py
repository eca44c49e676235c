"""Flags that several commands have, and what is done with their values."""

from __future__ import annotations

import os

from pyrunc.cli.parser import NUMBER, TEXT, Flag
from pyrunc.cli.settings import absolute
from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings
    from pyrunc.container.creation import CreateOptions
    from pyrunc.spec.loader import Bundle

BUNDLE = Flag(
    "bundle b", "the bundle's directory (default: the current one)", kind=TEXT, metavar="DIR"
)
CONFIG = Flag(
    "config f", "read this file instead of the bundle's config.json", kind=TEXT, metavar="FILE"
)
CONSOLE_SOCKET = Flag(
    "console-socket",
    "AF_UNIX socket that is sent the descriptor of the terminal's master side",
    kind=TEXT,
    metavar="PATH",
)
PIDFD_SOCKET = Flag(
    "pidfd-socket",
    "AF_UNIX socket that is sent a pidfd of the process",
    kind=TEXT,
    metavar="PATH",
)
PID_FILE = Flag("pid-file", "write the process id to this file", kind=TEXT, metavar="FILE")
PRESERVE_FDS = Flag(
    "preserve-fds",
    "pass this many more descriptors to the process, after stdio and those of LISTEN_FDS",
    kind=NUMBER,
    metavar="N",
    default=0,
)
DETACH = Flag("detach d", "do not wait for the process")

NO_SUBREAPER = Flag(
    "no-subreaper", "for scripts of other runtimes: this command never adopts orphaned processes"
)

CREATE_FLAGS = (
    BUNDLE,
    CONFIG,
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    PID_FILE,
    Flag("no-pivot", "make the root filesystem the root with MS_MOVE and chroot, not pivot_root"),
    Flag("no-new-keyring", "keep the session keyring of the caller"),
    PRESERVE_FDS,
)


def matching(root: str, command: str, expression: str) -> list[str]:
    """The ids that a regular expression matches whole.

    Raises:
        UsageError: it is none.
    """
    import re

    from pyrunc.container.store import list_ids

    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise UsageError(f'{command}: --regex "{expression}": {error}') from None
    return [each for each in list_ids(root) if pattern.fullmatch(each)]


def preserved_fds(arguments: Arguments) -> int:
    count = arguments.number("preserve-fds")
    if count < 0:
        raise UsageError(f"--preserve-fds {count}: must not be negative")
    return count


def bundle_of(arguments: Arguments) -> Bundle:
    """Read and check the bundle that --bundle and --config name."""
    return bundle_at(arguments.text("bundle"), arguments)


def bundle_at(path: str, arguments: Arguments) -> Bundle:
    """Read and check the bundle in a directory ("" is the current one), with --config."""
    from pyrunc.spec.loader import load_bundle

    config = absolute(arguments.text("config")) or None
    return load_bundle(absolute(path or "."), config)


def create_options(settings: Settings, arguments: Arguments) -> CreateOptions:
    """The options of `create` and `run`."""
    from pyrunc.container.creation import CreateOptions

    return CreateOptions(
        pid_file=absolute(arguments.text("pid-file")),
        console_socket=absolute(arguments.text("console-socket")),
        pidfd_socket=absolute(arguments.text("pidfd-socket")),
        preserve_fds=preserved_fds(arguments),
        no_pivot=arguments.switch("no-pivot"),
        no_new_keyring=arguments.switch("no-new-keyring"),
        cgroup_driver=settings.cgroup_driver,
        rootless=settings.rootless,
        detach=arguments.switch("detach"),
        keep=arguments.switch("keep"),
        no_subreaper=arguments.switch("no-subreaper"),
        notify_socket=os.environ.get("NOTIFY_SOCKET") or "",
    )
