"""Entry point of the command line: finds the command, and imports no more than it needs."""

from __future__ import annotations

import sys

from pyrunc import __version__, log
from pyrunc.cli.commands import COMMANDS, GLOBAL_FLAGS, HELP, VERSION, load
from pyrunc.cli.parser import UNKNOWN_COMMAND_CODE, UnknownFlagError, parse
from pyrunc.cli.settings import Settings
from pyrunc.errors import PyruncError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Command

INTERRUPTED_CODE = 130


def main(words: list[str]) -> int:
    """Run the command line `words` (without the program's name); returns the exit code."""
    try:
        code = _main(words)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of standard output has seen enough
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED_CODE
    except OSError as error:
        return _fail(f"standard output: {error.strerror}", 1)
    return code


def _main(words: list[str]) -> int:
    try:
        arguments = parse((*GLOBAL_FLAGS, HELP, VERSION), words, in_order=True)
        log.configure(
            arguments.text("log"),
            arguments.text("log-format", "text"),
            arguments.switch("debug"),
            arguments.text("log-level", "warning"),
        )
        settings = Settings(arguments)
    except UsageError as error:
        return _usage_error(error, None)
    if arguments.switch("version"):
        return _version()
    name, *rest = arguments.positional or [""]
    if arguments.switch("help") or not name:
        name, rest = "help", arguments.positional
    if name == "h":
        name = "help"
    if name not in COMMANDS:
        return _unknown_command(name)
    module = load(name)
    command = module.COMMAND
    try:
        arguments = parse((*command.flags, HELP), rest, in_order=command.in_order)
        if arguments.switch("help"):
            from pyrunc.cli.help import show

            return show(command.name)
        _check_count(command, len(arguments.positional))
    except UsageError as error:
        return _usage_error(error, command)
    log.debug(f"pyrunc {__version__}: {command.name}")
    try:
        return module.run(settings, arguments)
    except PyruncError as error:
        code = command.failure_code if error.exit_code == 1 else error.exit_code
        return _fail(str(error), code)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except OSError as error:
        return _fail(_describe(error), command.failure_code)
    except ImportError as error:
        if error.path is None:
            return _defect(error, command.failure_code)
        return _fail(str(error), command.failure_code)  # a compiled module cannot be loaded
    except Exception as error:
        return _defect(error, command.failure_code)


def _version() -> int:
    from pyrunc.cli.version import show

    return show()


def _check_count(command: Command, count: int) -> None:
    if command.minimum <= count <= command.maximum:
        return
    if count < command.minimum:
        missing = command.operands.split()[count] if command.operands else "an argument"
        raise UsageError(f"{missing} is missing")
    if command.maximum == 0:
        raise UsageError("no arguments are allowed")
    least = "exactly" if command.minimum == command.maximum else "at most"
    plural = "" if command.maximum == 1 else "s"
    raise UsageError(f"{count} arguments given, {least} {command.maximum} argument{plural} allowed")


def _fail(message: str, code: int) -> int:
    log.error(message)
    if log.is_file():
        log.stderr(message)
    return code


def _describe(error: OSError) -> str:
    if error.filename is not None:
        name = error.filename
        if isinstance(name, bytes):
            name = name.decode("utf-8", "surrogateescape")
        return f"{name}: {error.strerror}"
    return error.strerror or str(error)


def _usage_error(error: UsageError, command: Command | None) -> int:
    """Say what is wrong, and how it is done right."""
    message = str(error)
    if command is None:
        usage, more = "pyrunc [global options] <command> …", "pyrunc --help"
    else:
        usage, more = command.usage, f"pyrunc {command.name} --help"
        message = f"{command.name}: {message}"
    if isinstance(error, UnknownFlagError):
        message += _flag_hint(error.flag, command)
    code = _fail(message, 1)
    log.stderr(f"Usage: {usage}\nSee `{more}`.")
    return code


def _flag_hint(flag: str, command: Command | None) -> str:
    name = flag.lstrip("-")
    globals_ = [f.name for f in (*GLOBAL_FLAGS, VERSION)]
    if command is None:
        for other in COMMANDS:
            if any(f.name == name or name in f.aliases for f in load(other).COMMAND.flags):
                return f": it belongs after a command (as in `pyrunc {other} {flag}`)"
        known = globals_
    else:
        if name in globals_:
            return ": it is a global flag, which belongs before the command"
        known = [f.name for f in command.flags]
    nearest = _nearest(name, known)
    return f" (did you mean --{nearest}?)" if nearest else ""


def _nearest(word: str, known: list[str]) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, known, 1)), "")


def _unknown_command(name: str) -> int:
    nearest = _nearest(name, list(COMMANDS))
    hint = f" (did you mean {nearest}?)" if nearest else ""
    code = _fail(f'there is no command "{name}"{hint}', UNKNOWN_COMMAND_CODE)
    log.stderr("See `pyrunc --help` for the list of commands.")
    return code


def _defect(error: Exception, code: int) -> int:
    """An error that nobody foresaw: tell where, and all of it with --debug."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    if log.debugging():
        from traceback import format_exception

        log.debug("".join(format_exception(error)))
    return _fail(
        f"internal error, please report it: {type(error).__name__}: {error} ({where};"
        " --debug logs the traceback)",
        code,
    )
