"""`pyrunc help`: texts made from the table of commands."""

from __future__ import annotations

import sys

from pyrunc.cli.commands import COMMANDS, GLOBAL_FLAGS, HELP, VERSION, load
from pyrunc.cli.parser import SWITCH, UNKNOWN_COMMAND_CODE, Command
from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyrunc.cli.parser import Arguments, Flag
    from pyrunc.cli.settings import Settings

WIDTH = 80

COMMAND = Command(
    "help",
    "show the commands, or help for one of them",
    operands="[command]",
    maximum=1,
)

ABOUT = """\
pyrunc runs containers as the Open Container Initiative specifies them. A container is made from a
bundle: a directory with a config.json and a root filesystem. Engines such as containerd, Docker,
Podman and CRI-O call it as they call runc."""


def run(settings: Settings, arguments: Arguments) -> int:
    return show(arguments.positional[0] if arguments.positional else "")


def show(name: str) -> int:
    """Print the help of a command, or of the program for ""."""
    if name and name not in COMMANDS:
        error = UsageError(f'there is no command "{name}"; `pyrunc help` lists all')
        error.exit_code = UNKNOWN_COMMAND_CODE
        raise error
    sys.stdout.write(command_help(load(name).COMMAND) if name else program_help())
    return 0


def program_help() -> str:
    summaries = [(name, load(name).COMMAND.summary) for name in COMMANDS]
    parts = [
        "Usage: pyrunc [global options] <command> [options] [arguments]",
        fill(ABOUT),
        "Commands:\n" + columns(summaries),
        "Global options:\n" + columns(flag_rows([*GLOBAL_FLAGS, HELP, VERSION])),
        "`pyrunc <command> --help` tells more of a command.",
    ]
    return "\n\n".join(parts) + "\n"


def command_help(command: Command) -> str:
    parts = [f"Usage: {command.usage}", sentence(command.summary)]
    if command.description:
        parts.append(fill(command.description))
    parts.append("Options:\n" + columns(flag_rows([*command.flags, HELP])))
    if command.examples:
        lines = [f"  {line}\n      {what}" for line, what in command.examples]
        parts.append("Examples:\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def flag_forms(flag: Flag) -> str:
    """`-f, --format FORMAT`."""
    letters = [f"-{name}" for name in flag.aliases if len(name) == 1 and name.isalpha()]
    names = [*letters[:1], f"--{flag.name}"]
    return ", ".join(names) + (f" {flag.metavar}" if flag.kind is not SWITCH else "")


def flag_help(flag: Flag) -> str:
    default = f" (default: {flag.default})" if flag.default not in ("", 0) else ""
    return flag.help + default


def flag_rows(flags: Iterable[Flag]) -> list[tuple[str, str]]:
    return [(flag_forms(flag), flag_help(flag)) for flag in flags]


def columns(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns; the second is filled, and begins on the next line where the first is long."""
    indent = min(26, 4 + max(len(left) for left, _ in rows))
    lines = []
    for left, right in rows:
        filled = fill(right, WIDTH - indent).split("\n")
        if len(left) + 4 > indent:
            lines.append(f"  {left}")
        else:
            lines.append(f"  {left}".ljust(indent) + filled.pop(0))
        lines += [" " * indent + line for line in filled]
    return "\n".join(lines)


def fill(text: str, width: int = WIDTH) -> str:
    """Break paragraphs into lines of at most `width` characters."""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        lines = [""]
        for word in paragraph.split():
            if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
                lines.append(word)
            else:
                lines[-1] = f"{lines[-1]} {word}".lstrip()
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)
