"""JSON, by the accelerator behind the standard library's `json` but without its imports.

Reading is strict, as RFC 8259 asks of exchanged documents: UTF-8 without a byte order mark, no
`NaN` or `Infinity`, no name twice in one object. Field names are matched exactly (Go's decoder also
accepts other cases of a name).
"""

from __future__ import annotations

from pyrunc.errors import BundleError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

_BLANK = " \t\n\r"
_BOMS = {
    b"\xef\xbb\xbf": "it begins with a byte order mark; write it without one",
    b"\xff\xfe": "it is UTF-16 (or UTF-32); it must be UTF-8",
    b"\xfe\xff": "it is UTF-16; it must be UTF-8",
    b"\x00\x00": "it is UTF-32; it must be UTF-8",
}


class _DuplicateName(Exception):
    """An object has one name twice; args[0] is the name."""


class _NotANumber(Exception):
    """`NaN`, `Infinity` or `-Infinity`, which JSON does not have; args[0] is the word."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise _DuplicateName(name)
            seen.add(name)
    return result


def _object_without_nulls(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = _object(pairs)
    if None in result.values():
        return {name: value for name, value in result.items() if value is not None}
    return result


def _constant(word: str) -> NoReturn:
    raise _NotANumber(word)


class _Context:
    """What the scanner asks of a decoder."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_object)
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_constant)


class _ContextWithoutNulls(_Context):
    object_pairs_hook = staticmethod(_object_without_nulls)


_context: Any = _Context
_context_without_nulls: Any = _ContextWithoutNulls


def loads(data: bytes, source: str, nulls: bool = True) -> object:
    """Return the value that the JSON text `data` stands for.

    Args:
        data: the whole document.
        source: what the document is called in errors, as a rule its path.
        nulls: False to leave out the members of objects whose value is null.

    Raises:
        BundleError: not UTF-8, not JSON, a name twice in one object, or nested too deeply. The
            message says where.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{source}: not JSON: {_encoding(data, error.start)}") from None
    import _json

    scan = _json.make_scanner(_context if nulls else _context_without_nulls)
    try:
        start = 0
        while text[start : start + 1] and text[start] in _BLANK:
            start += 1
        value, end = scan(text, start)
    except RecursionError:
        raise BundleError(f"{source}: nested too deeply") from None
    except (StopIteration, ValueError, SystemError, _DuplicateName, _NotANumber) as error:
        # SystemError: the accelerator has no words for the error while json.decoder is not loaded
        from pyrunc.spec.json_errors import explain

        raise BundleError(f"{source}: {explain(data, text, error)}") from None
    if text[end:].strip(_BLANK):
        from pyrunc.spec.json_errors import place

        while text[end] in _BLANK:
            end += 1
        raise BundleError(f"{source}: not JSON: {place(text, end)}: text after the document's end")
    return value


def _encoding(data: bytes, start: int) -> str:
    for bom, message in _BOMS.items():
        if data.startswith(bom):
            return message
    line = data.count(b"\n", 0, start) + 1
    column = start - data.rfind(b"\n", 0, start)
    return f"line {line}, byte {column}: byte 0x{data[start]:02x} is not valid UTF-8"


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def dumps(value: object, indent: int = 0) -> str:
    """Return `value` as JSON text, in ASCII, on one line or indented by `indent` spaces a level.

    Raises:
        TypeError: a value that JSON has no form for.
        ValueError: NaN or an infinity.
    """
    if indent:
        return "".join(_indented(value, " " * indent, "\n"))
    import _json

    encode = _json.make_encoder(
        None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, False
    )
    return "".join(encode(value, 0))


def _indented(value: object, step: str, newline: str) -> Iterator[str]:
    import _json

    inner = newline + step
    if isinstance(value, dict) and value:
        separator = "{"
        for name, item in value.items():
            yield f"{separator}{inner}{_json.encode_basestring_ascii(name)}: "
            yield from _indented(item, step, inner)
            separator = ","
        yield newline + "}"
    elif isinstance(value, (list, tuple)) and value:
        separator = "["
        for item in value:
            yield separator + inner
            yield from _indented(item, step, inner)
            separator = ","
        yield newline + "]"
    else:
        yield dumps(value)
