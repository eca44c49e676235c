"""The list of commands, and the flags before the command."""

from __future__ import annotations

import sys

from pyrunc.cli.parser import TEXT, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, cast

    from pyrunc.cli.parser import Arguments, Command
    from pyrunc.cli.settings import Settings

    class CommandModule(Protocol):
        """What each module pyrunc.cli.NAME has."""

        COMMAND: Command

        def run(self, settings: Settings, arguments: Arguments) -> int:
            """Do it; returns the exit code."""


#: Each is a module of this package, which is imported when it is needed.
COMMANDS = (
    "checkpoint",
    "completion",
    "create",
    "delete",
    "doctor",
    "events",
    "exec",
    "features",
    "help",
    "install",
    "kill",
    "list",
    "mounts",
    "pause",
    "plan",
    "ps",
    "restore",
    "resume",
    "run",
    "spec",
    "start",
    "state",
    "top",
    "update",
    "validate",
    "version",
)

HELP = Flag("help h ?", "show help")
VERSION = Flag("version v V", "print the version")

GLOBAL_FLAGS = (
    Flag(
        "root",
        "directory that holds the state of containers; it should be on a tmpfs"
        " (default: /run/pyrunc, for others than root $XDG_RUNTIME_DIR/pyrunc)",
        kind=TEXT,
        metavar="DIR",
    ),
    Flag(
        "log",
        "append log records to this file instead of writing them to standard error, or send them to"
        " journald:NAME or syslog:NAME",
        kind=TEXT,
        metavar="FILE",
    ),
    Flag(
        "log-format",
        "form of log records: text or json",
        kind=TEXT,
        metavar="FORMAT",
        default="text",
    ),
    Flag(
        "log-level",
        "the least grave records that are logged: error, warning or debug",
        kind=TEXT,
        metavar="LEVEL",
        default="warning",
    ),
    Flag("debug", "log what is done, too: the plan of each container and process"),
    Flag(
        "systemd-cgroup",
        "let systemd make the cgroup; cgroupsPath then has the form slice:prefix:name",
    ),
    Flag(
        "cgroup-manager",
        "who makes the cgroup: cgroupfs, systemd or disabled",
        kind=TEXT,
        metavar="MANAGER",
        default="cgroupfs",
    ),
    Flag(
        "rootless",
        "go on without cgroups that cannot be made for want of privilege: true, false or auto",
        kind=TEXT,
        metavar="WHEN",
        default="auto",
    ),
    Flag(
        "criu",
        "the CRIU program, for checkpoint and restore",
        kind=TEXT,
        metavar="FILE",
        default="criu",
    ),
)


def load(name: str) -> CommandModule:
    """The module of the command `name`, which is one of `COMMANDS`."""
    module = f"pyrunc.cli.{name}"
    __import__(module)
    loaded = sys.modules[module]
    if TYPE_CHECKING:
        return cast("CommandModule", loaded)
    return loaded
