"""The command line as a table: flags, commands, and the parser that both share.

The grammar is that of Go's `flag` package as runc uses it: `--name value`, `--name=value`, one dash
or two, switches with an optional `=true` or `=false`, `--` ends the flags. Flags may also follow
the positional arguments, except for commands that pass these on (`exec`, `ps`). As crun allows, one
dash may be followed by several one-letter flags.
"""

from __future__ import annotations

from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Kinds of flags.
SWITCH = "switch"
TEXT = "text"
TEXTS = "texts"  # may be given several times
NUMBER = "number"
NUMBERS = "numbers"  # may be given several times
DURATION = "duration"

MANY = 1 << 30

#: Exit code where there is no such command, as in runc.
UNKNOWN_COMMAND_CODE = 3

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class Flag:
    """One flag.

    Attributes:
        name: the long name, without dashes.
        aliases: other names; those of one letter are written with one dash.
        kind: one of the kinds above.
        metavar: what help calls the value; "" for a switch.
        help: one sentence without a capital and full stop.
        default: the value where the flag is not given.
    """

    __slots__ = ("aliases", "default", "help", "kind", "metavar", "name")

    def __init__(
        self,
        names: str,
        help: str,
        *,
        kind: str = SWITCH,
        metavar: str = "",
        default: str | int | float = "",
    ) -> None:
        self.name, *self.aliases = names.split()
        self.help = help
        self.kind = kind
        self.metavar = metavar
        self.default = default


class Command:
    """One command.

    Attributes:
        name: the word that chooses it.
        summary: one line for lists of commands.
        operands: the positional arguments, as usage shows them.
        minimum, maximum: how many positional arguments there must be.
        description: what help says, in paragraphs.
        flags: its flags, without --help.
        in_order: whether the first positional argument ends the flags.
        examples: (command line, what it does).
        failure_code: exit code for errors that are not of usage.
    """

    __slots__ = (
        "description",
        "examples",
        "failure_code",
        "flags",
        "in_order",
        "maximum",
        "minimum",
        "name",
        "operands",
        "summary",
    )

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        operands: str = "",
        minimum: int = 0,
        maximum: int | None = None,
        description: str = "",
        flags: Sequence[Flag] = (),
        in_order: bool = False,
        examples: Sequence[tuple[str, str]] = (),
        failure_code: int = 1,
    ) -> None:
        self.name = name
        self.summary = summary
        self.operands = operands
        self.minimum = minimum
        self.maximum = minimum if maximum is None else maximum
        self.description = description
        self.flags = flags
        self.in_order = in_order
        self.examples = examples
        self.failure_code = failure_code

    @property
    def usage(self) -> str:
        """The command line in one line."""
        words = ["pyrunc", self.name, "[options]" if self.flags else "", self.operands]
        return " ".join(word for word in words if word)


class Arguments:
    """The values of flags, by long name, and the positional arguments."""

    __slots__ = ("_values", "positional")

    def __init__(self, values: dict[str, object], positional: list[str]) -> None:
        self._values = values
        self.positional = positional

    def given(self, name: str) -> bool:
        """Whether the flag is on the command line."""
        return name in self._values

    def switch(self, name: str) -> bool:
        return bool(self._values.get(name, False))

    def text(self, name: str, default: str = "") -> str:
        return str(self._values.get(name, default))

    def number(self, name: str, default: int = 0) -> int:
        value = self._values.get(name, default)
        return value if isinstance(value, int) else default

    def seconds(self, name: str, default: float) -> float:
        value = self._values.get(name, default)
        return value if isinstance(value, float) else default

    def texts(self, name: str) -> list[str]:
        value = self._values.get(name)
        return [str(v) for v in value] if isinstance(value, list) else []

    def numbers(self, name: str) -> list[int]:
        value = self._values.get(name)
        return [int(v) for v in value] if isinstance(value, list) else []


class UnknownFlagError(UsageError):
    """No such flag; `flag` is as it was written, without its value."""

    def __init__(self, flag: str) -> None:
        super().__init__(f"unknown flag {flag}")
        self.flag = flag


def parse(flags: Sequence[Flag], words: Sequence[str], *, in_order: bool) -> Arguments:
    """Read the flags and positional arguments of one command.

    Raises:
        UsageError: an unknown flag, a value that is missing or wrong; the message names the flag.
    """
    table = {name: flag for flag in flags for name in (flag.name, *flag.aliases)}
    values: dict[str, object] = {}
    positional: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word[:1] != "-" or word == "-":
            if in_order:
                positional += words[index - 1 :]
                break
            positional.append(word)
            continue
        if word == "--":
            positional += words[index:]
            break
        name, equals, value = word[2 if word[1] == "-" else 1 :].partition("=")
        flag = table.get(name)
        if flag is None and word[1] != "-":
            for letter in name[:-1]:
                switch = table.get(letter)
                if switch is None or switch.kind is not SWITCH:
                    raise UnknownFlagError(f"-{name}")
                values[switch.name] = True
            flag = table.get(name[-1:])
        if flag is None:
            raise UnknownFlagError(word.partition("=")[0])
        if flag.kind is SWITCH:
            values[flag.name] = _boolean(flag, value) if equals else True
            continue
        if not equals:
            if index == len(words):
                raise UsageError(f"--{flag.name} needs a value: --{flag.name} {flag.metavar}")
            value = words[index]
            index += 1
        if flag.kind is TEXT:
            values[flag.name] = value
        elif flag.kind in (TEXTS, NUMBERS):
            collected = values.setdefault(flag.name, [])
            assert isinstance(collected, list)
            collected.append(value if flag.kind is TEXTS else _number(flag, value))
        else:
            values[flag.name] = _CONVERTERS[flag.kind](flag, value)
    return Arguments(values, positional)


def _boolean(flag: Flag, text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise UsageError(f'--{flag.name}="{text}": must be true or false, or without a value')


def _number(flag: Flag, text: str) -> int:
    """An integer as Go writes them: also 0x1f, 0b1, 0o17, 017 and 1_000."""
    digits = text.lstrip("+-")
    try:
        if len(digits) > 1 and digits[0] == "0" and digits.isdigit():
            return int(text, 8)
        return int(text, 0)
    except ValueError:
        raise UsageError(f'--{flag.name} "{text}": must be an integer') from None


_UNITS = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "ns": 1e-9,
}


def _duration(flag: Flag, text: str) -> float:
    """Seconds of a duration as Go writes them: "5s", "1m30s", "250ms", "1.5h"; or "0"."""
    total = 0.0
    rest = text[1:] if text[:1] in ("+", "-") else text
    wrong = UsageError(f'--{flag.name} "{text}": must be a duration such as 5s, 500ms or 1m30s')
    if not rest:
        raise wrong
    while rest and text != "0":
        number = _prefix(rest, "0123456789.")
        unit = _prefix(rest[len(number) :], "hmsnu\u00b5\u03bc")
        try:
            total += float(number) * _UNITS[unit]
        except (KeyError, ValueError):
            raise wrong from None
        rest = rest[len(number) + len(unit) :]
    return -total if text[0] == "-" else total


def _prefix(text: str, characters: str) -> str:
    return text[: len(text) - len(text.lstrip(characters))]


_CONVERTERS: dict[str, Callable[[Flag, str], object]] = {NUMBER: _number, DURATION: _duration}
