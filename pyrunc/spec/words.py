"""Small things that the checks share: entries of arrays, JSON pointers, values, null."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_SHOWN = 60


def entries(array: list[Any] | None) -> Iterator[tuple[int, Any]]:
    """Yield (index, entry) of an array; entries that were taken out (None) are left out."""
    if array:
        for i, entry in enumerate(array):
            if entry is not None:
                yield i, entry


def escape(name: str) -> str:
    """Return a member's name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def quoted(text: str) -> str:
    """Return a text as JSON shows it, cut when it is long."""
    from _json import encode_basestring_ascii

    return encode_basestring_ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def without_nulls(value: object) -> object:
    """Return a copy of a JSON value without the members whose value is null."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
