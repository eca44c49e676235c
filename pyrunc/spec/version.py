"""The version of the runtime specification that pyrunc implements, and which ones it accepts."""

from __future__ import annotations

#: Written to state and to new configurations; the newest version accepted.
OCI_VERSION = "1.3.0"

#: The oldest version accepted.
OCI_VERSION_MIN = "1.0.0"

_DIGITS = "0123456789"
_WORD = _DIGITS + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"


def refusal(version: str) -> str | None:
    """Return why a configuration of this version is not accepted, or None when it is.

    Accepted is what is in SemVer 2.0.0 format and of 1.0 to 1.3: a runtime takes the configurations
    of its own and of earlier minor versions (config.md, Specification version). Pre-releases and
    builds of a version count as that version, as engines write 1.0.2-dev or 1.2.1+dev.
    """
    core, plus, build = version.partition("+")
    core, dash, release = core.partition("-")
    numbers = core.split(".")
    if (
        len(numbers) != 3
        or not all(_is_number(number) for number in numbers)
        or (dash and not _are_words(release))
        or (plus and not _are_words(build))
    ):
        return "expected a version such as 1.3.0 (SemVer 2.0.0)"
    newest = OCI_VERSION.rpartition(".")[0]
    major, minor = int(numbers[0]), int(numbers[1])
    if major != 1 or minor > int(newest.partition(".")[2]):
        return f"version {core} is not supported; versions 1.0 to {newest} are"
    return None


def _is_number(text: str) -> bool:
    # Without a leading zero, and not so long that int() refuses it.
    return 0 < len(text) < 10 and not text.strip(_DIGITS) and (text[0] != "0" or text == "0")


def _are_words(text: str) -> bool:
    return all(word and not word.strip(_WORD) for word in text.split("."))
