"""Strings of JSON that are no strings to the kernel."""

from __future__ import annotations

from pyrunc.errors import Violation
from pyrunc.spec.words import escape, quoted


def may_have_bad_text(data: bytes) -> bool:
    """Say whether `text_violations` can find something in the value of this JSON text.

    JSON can write a NUL, and half of a surrogate pair, only as an escape.
    """
    return b"\\u0000" in data or b"\\ud" in data or b"\\uD" in data


def text_violations(document: object) -> list[Violation]:
    """Return the strings that no file name, argument or kernel interface can hold.

    Those with a NUL character, which C would end them at, and those with half of a surrogate pair,
    which is no character and has no UTF-8 form.
    """
    found = []
    pending: list[tuple[str, object]] = [("", document)]
    while pending:
        pointer, value = pending.pop()
        if isinstance(value, dict):
            for name, item in reversed(value.items()):
                if message := _bad_text(name):
                    found.append(Violation(pointer, f"the name {quoted(name)} {message}"))
                pending.append((f"{pointer}/{escape(name)}", item))
        elif isinstance(value, list):
            pending += [(f"{pointer}/{i}", item) for i, item in reversed(list(enumerate(value)))]
        elif isinstance(value, str) and (message := _bad_text(value)):
            found.append(Violation(pointer, message))
    return found


def _bad_text(text: str) -> str | None:
    if "\0" in text:
        return "has a NUL character"
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        return "has half of a surrogate pair, which is no character"
    return None
