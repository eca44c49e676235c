"""`pyrunc install`: make pyrunc a runtime of a container engine, or take that back."""

from __future__ import annotations

import os
import sys

from pyrunc.cli.parser import TEXT, Command, Flag
from pyrunc.errors import PyruncError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.engines import Engine
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "install",
    "make this a runtime of a container engine, or take that back",
    operands="<containerd|cri-o|docker|podman>",
    minimum=1,
    description="""\
Shows, as a diff, the change to the configuration of an engine that makes pyrunc one of its
runtimes. With --write the change is made; the file as it was before is kept beside it, with
".before-pyrunc" at the end of its name. Where the engine knows the runtime already, nothing is
changed.

With --remove it shows, and with --write makes, the change that takes the runtime out again; a
default runtime that there was before becomes the default again.

No engine is restarted: it is said how to do that.""",
    flags=(
        Flag("write", "make the change"),
        Flag("remove", "take the runtime out of the configuration"),
        Flag("default", "make it the runtime of all containers that ask for none"),
        Flag(
            "file",
            "the configuration to change, instead of the engine's own in /etc",
            kind=TEXT,
            metavar="FILE",
        ),
        Flag(
            "name",
            "what the engine is to call the runtime",
            kind=TEXT,
            metavar="NAME",
            default="pyrunc",
        ),
        Flag(
            "path",
            "the program that the engine is to start (default: this one)",
            kind=TEXT,
            metavar="FILE",
        ),
    ),
    examples=(
        ("pyrunc install docker", "show what would be changed"),
        ("pyrunc install docker --write", "change it"),
        ("pyrunc install docker --remove --write", "and take that back"),
    ),
)

BACKUP = ".before-pyrunc"

_NAME = "abcdefghijklmnopqrstuvwxyz0123456789-._"


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.cli.engines import ENGINES, Runtime, add, remove

    key = arguments.positional[0]
    if key not in ENGINES:
        raise UsageError(f'install: "{key}": must be one of {", ".join(ENGINES)}')
    engine = ENGINES[key]
    name = arguments.text("name", "pyrunc")
    if not name or name.lower().strip(_NAME) or name == "runc":
        raise UsageError(
            f'install: --name "{name}": must be letters, digits, "-", "." and "_", and not runc'
        )
    runtime = Runtime(
        name,
        program(arguments.text("path")),
        systemd=True if settings.cgroup_driver == "systemd" else None,
        default=arguments.switch("default"),
    )
    removing = arguments.switch("remove")
    # A link, such as those of configuration managers, stays one.
    path = os.path.realpath(arguments.text("file") or engine.file)
    before = read(path)
    try:
        if removing:
            after = remove(engine, before or "", name, read(backup_of(path)) or "")
        else:
            after = add(engine, before or "", runtime)
    except PyruncError as error:
        raise PyruncError(f"{path}: {error}") from None
    if after == (before or ""):
        sys.stdout.write(f"{path}: nothing to change\n")
        return 0
    show(path, before, after)
    again = f"pyrunc install {key}{' --remove' if removing else ''}"
    if not arguments.switch("write"):
        sys.stderr.write(f"Nothing was changed. To make this change: {again} … --write\n")
        return 0
    write(engine, path, before, after, name)
    if engine.reload:
        sys.stderr.write(f"Changed. For {key} to learn of it: {engine.reload}\n")
    if not removing:
        sys.stderr.write(f"To use it: {engine.use.format(name=name)}\n")
    return 0


def program(given: str) -> str:
    """The path that an engine can start the runtime by."""
    path = os.path.abspath(given) if given else os.readlink("/proc/self/exe")
    if given and not (os.path.isfile(path) and os.access(path, os.X_OK)):
        raise UsageError(f'install: --path "{given}": is not a program')
    return path


def read(path: str) -> str | None:
    """The text of a file, or None where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise PyruncError(f"{path}: is not UTF-8") from None


def backup_of(path: str) -> str:
    """Where the file is kept as it was; not among drop-in files, all of which some engines read."""
    directory, base = os.path.split(path)
    if directory.endswith(".d"):
        directory = os.path.dirname(directory)
    return os.path.join(directory, base + BACKUP)


def show(path: str, before: str | None, after: str) -> None:
    """Print the difference, as diff -u."""
    from difflib import unified_diff

    from pyrunc.cli.colour import BOLD, CYAN, GREEN, RED, paint, wanted

    colours = {"+": GREEN, "-": RED, "@": CYAN}
    on = wanted()
    lines = unified_diff(
        (before or "").splitlines(),
        after.splitlines(),
        "/dev/null" if before is None else path,
        path if after else "/dev/null",
        lineterm="",
    )
    for number, line in enumerate(lines):
        colour = BOLD if number < 2 else colours.get(line[:1])
        sys.stdout.write((paint(line, colour, on=on) if colour else line) + "\n")


def write(engine: Engine, path: str, before: str | None, after: str, name: str) -> None:
    """Make the change, whole or not at all, and see to the backup."""
    from pyrunc.cli.engines import has

    backup = backup_of(path)
    if before is not None and not has(engine, before, name):
        replace(backup, before, like=path)
    if not after:
        os.unlink(path)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        replace(path, after, like=path)
    if not has(engine, after, name) and read(backup) == after:
        os.unlink(backup)


def replace(path: str, text: str, *, like: str) -> None:
    """Write a file anew with the owner and mode of another, or 0644."""
    temporary = f"{path}.{os.getpid()}.new"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            try:
                known = os.stat(like)
                os.fchown(file.fileno(), known.st_uid, known.st_gid)
                os.fchmod(file.fileno(), known.st_mode & 0o7777)
            except FileNotFoundError:
                os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
