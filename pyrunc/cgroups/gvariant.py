"""Values in GVariant text format, as annotations have them, to D-Bus types and values.

Source: GLib's "GVariant Text Format". Not there: positional parameters and maybe types, which D-Bus
does not have.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEYWORDS = {
    "boolean": "b",
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "handle": "h",
    "int64": "x",
    "uint64": "t",
    "double": "d",
    "string": "s",
    "objectpath": "o",
    "signature": "g",
}

_RANGES = {
    "y": (0, 2**8 - 1),
    "n": (-(2**15), 2**15 - 1),
    "q": (0, 2**16 - 1),
    "i": (-(2**31), 2**31 - 1),
    "u": (0, 2**32 - 1),
    "h": (0, 2**31 - 1),
    "x": (-(2**63), 2**63 - 1),
    "t": (0, 2**64 - 1),
}

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

_MOST_LEVELS = 64  # what D-Bus allows


def parse(text: str) -> tuple[str, Any]:
    """The D-Bus type and the value, as jeepney takes it, of a text. Raises ValueError."""
    parser = _Parser(text)
    signature, value = parser.value(None, 0)
    parser.blank()
    if parser.at < len(text):
        raise ValueError(f"unexpected {text[parser.at :]!r}")
    return signature, value


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def blank(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def peek(self) -> str:
        self.blank()
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> bool:
        if self.peek() != expected:
            return False
        self.at += 1
        return True

    def need(self, expected: str) -> None:
        if not self.take(expected):
            found = self.peek() or "the end"
            raise ValueError(f"expected {expected!r}, found {found!r}")

    def word(self) -> str:
        start = self.at
        while self.at < len(self.text) and (
            self.text[self.at].isalnum() or self.text[self.at] in "+-._"
        ):
            self.at += 1
        return self.text[start : self.at]

    def value(self, wanted: str | None, level: int) -> tuple[str, Any]:
        """One value, of the wanted type if there is one."""
        if level > _MOST_LEVELS:
            raise ValueError("nested too deeply")
        char = self.peek()
        if char == "@":
            self.at += 1
            return self.value(self.signature(), level + 1)
        if char in "'\"" and char:
            return self.typed(wanted, "sog", self.string())
        if char == "b" and self.text[self.at + 1 : self.at + 2] in ("'", '"'):
            self.at += 1
            return self.typed(wanted, ("ay",), self.string().encode("latin-1") + b"\0")
        if char == "[":
            return self.array(wanted, level)
        if char == "(":
            return self.structure(wanted, level)
        if char == "{":
            return self.dictionary(wanted, level)
        if char == "<":
            self.at += 1
            inner = self.value(None, level + 1)
            self.need(">")
            return self.typed(wanted, "v", inner)
        return self.plain(wanted, level)

    @staticmethod
    def typed(wanted: str | None, possible: str | tuple[str, ...], value: Any) -> tuple[str, Any]:
        if wanted is None:
            return possible[0], value
        if wanted not in possible:
            raise ValueError(f"a value of type {possible[0]!r} where one of {wanted!r} is due")
        return wanted, value

    def plain(self, wanted: str | None, level: int) -> tuple[str, Any]:
        """A number, a boolean, or a type's name before a value."""
        word = self.word()
        if word in _KEYWORDS:
            return self.value(_KEYWORDS[word], level + 1)
        if word in ("true", "false"):
            return self.typed(wanted, "b", word == "true")
        if not word:
            raise ValueError(f"expected a value, found {self.peek() or 'the end'!r}")
        try:
            number: int | float = int(word, 0)
        except ValueError:
            try:
                number = int(word, 8) if word.lstrip("+-").isdigit() else float(word)
            except ValueError:
                raise ValueError(f"{word!r} is not a value") from None
        if wanted == "d" or (wanted is None and isinstance(number, float)):
            return "d", float(number)
        kind, _ = self.typed(wanted, "iynquhxt", number)
        low, high = _RANGES[kind]
        if isinstance(number, float) or not low <= number <= high:
            raise ValueError(f"{word} is not in the range of type {kind!r}")
        return kind, number

    def string(self) -> str:
        quote = self.text[self.at]
        self.at += 1
        result = ""
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == quote:
                return result
            if char == "\\":
                char = self.escaped()
            result += char
        raise ValueError("a string has no end")

    def escaped(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        digits = {"u": 4, "U": 8}.get(char)
        if digits is None:
            return _ESCAPES.get(char, char)
        code = self.text[self.at : self.at + digits]
        self.at += digits
        try:
            return chr(int(code, 16))
        except (ValueError, OverflowError):
            raise ValueError(f"\\{char}{code} is not a character") from None

    def signature(self) -> str:
        """One complete type (the D-Bus specification, "Type System")."""
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char and char in "ybnqiuxtdsogvh":
            return char
        if char == "a":
            return f"a{self.signature()}"
        if char and char in "({":
            close = {"(": ")", "{": "}"}[char]
            inner = ""
            while self.text[self.at : self.at + 1] not in (close, ""):
                inner += self.signature()
            self.need(close)
            return f"{char}{inner}{close}"
        raise ValueError(f"{char!r} is not a D-Bus type")

    def members(self, close: str) -> bool:
        """Whether another member follows, after the first."""
        if self.take(","):
            return self.peek() != close
        return False

    def array(self, wanted: str | None, level: int) -> tuple[str, Any]:
        self.at += 1
        if wanted is not None and wanted[0] != "a":
            raise ValueError(f"an array where a value of type {wanted!r} is due")
        member = wanted[1:] if wanted else None
        values = []
        more = self.peek() != "]"
        while more:
            member, value = self.value(member, level + 1)
            values.append(value)
            more = self.members("]")
        self.need("]")
        if member is None:
            raise ValueError("an empty array needs a type, as in @as []")
        return f"a{member}", bytes(values) if member == "y" else values

    def structure(self, wanted: str | None, level: int) -> tuple[str, Any]:
        self.at += 1
        kinds: list[str] = []
        values: list[Any] = []
        expected: list[str | None] = []
        if wanted is not None:
            inner = _Parser(wanted[1:-1])
            while wanted[0] == "(" and inner.at < len(inner.text):
                expected.append(inner.signature())
        more = self.peek() != ")"
        while more:
            position = len(values)
            due = expected[position] if position < len(expected) else None
            kind, value = self.value(due, level + 1)
            kinds.append(kind)
            values.append(value)
            more = self.members(")")
        self.need(")")
        signature = f"({''.join(kinds)})"
        if not kinds or (wanted is not None and signature != wanted):
            raise ValueError(f"a structure {signature} where {wanted or 'members'} is due")
        return signature, tuple(values)

    def dictionary(self, wanted: str | None, level: int) -> tuple[str, Any]:
        self.at += 1
        key_kind = value_kind = None
        if wanted is not None:
            if not wanted.startswith("a{"):
                raise ValueError(f"a dictionary where a value of type {wanted!r} is due")
            key_kind, value_kind = wanted[2], wanted[3:-1]
        values = {}
        more = self.peek() != "}"
        while more:
            key_kind, key = self.value(key_kind, level + 1)
            self.need(":")
            value_kind, values[key] = self.value(value_kind, level + 1)
            more = self.members("}")
        self.need("}")
        if key_kind is None:
            raise ValueError("an empty dictionary needs a type, as in @a{sv} {}")
        return f"a{{{key_kind}{value_kind}}}", values
