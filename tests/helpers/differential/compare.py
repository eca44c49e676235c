"""What differs between two results, and which differences are accepted, for what reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from helpers.differential.combine import Combination
from helpers.differential.dimensions import UNPRIVILEGED
from helpers.differential.workshop import Result


class Accepted(NamedTuple):
    """Differences that are right.

    Attributes:
        reference: the runtime compared with.
        pattern: what matches the whole of a difference, as `differences` words it.
        reason: why pyrunc is right all the same.
        when: variants, by dimension, to which this is limited.
        on: whether it can be seen on this host.
        always: it is seen in each run, and not just when the other runtime happens to lose a race with itself.
    """

    reference: str
    pattern: str
    reason: str
    when: Mapping[str, Sequence[str]] = {}
    on: bool = True
    always: bool = True

    def covers(self, reference: str, difference: str, combination: Combination) -> bool:
        return (
            self.reference == reference
            and all(
                _is_one(name, combination[name], variants) for name, variants in self.when.items()
            )
            and re.fullmatch(self.pattern, difference, re.DOTALL) is not None
        )


def _is_one(name: str, variant: str, variants: Sequence[str]) -> bool:
    """An unprivileged user has a user namespace beside each variant."""
    of_all = UNPRIVILEGED and name == "namespaces" and "user" in variants
    return of_all or variant in variants


def differences(reference: Result, result: Result) -> list[str]:
    """One line for each line that only one of the two has: "section: -of the reference" or
    "section: +of pyrunc". Where one of them did not run the program, that is the only
    difference."""
    if reference.ran != result.ran:
        return [
            f"run: {sign}{'ran' if one.ran else f'failed: {one.error}'}"
            for sign, one in (("-", reference), ("+", result))
        ]
    if not result.ran:
        return []
    found = _lines("exit code", [str(reference.exit_code)], [str(result.exit_code)])
    for section in dict.fromkeys([*reference.seen, *result.seen]):
        found += _lines(section, reference.seen.get(section, []), result.seen.get(section, []))
    found += _lines("hooks", reference.hooks, result.hooks)
    found += _lines("tree", reference.tree, result.tree)
    return found


def _lines(section: str, reference: Sequence[str], result: Sequence[str]) -> list[str]:
    found: list[str] = []
    matcher = SequenceMatcher(None, reference, result, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            found += (f"{section}: -{line}" for line in reference[a:b])
            found += (f"{section}: +{line}" for line in result[c:d])
    return found


def unexplained(
    name: str, found: Iterable[str], combination: Combination, table: Iterable[Accepted]
) -> tuple[list[str], list[Accepted]]:
    """The differences that nothing in `table` covers, and what in it was used."""
    left: list[str] = []
    used: list[Accepted] = []
    for difference in found:
        covering = [entry for entry in table if entry.covers(name, difference, combination)]
        used += covering
        if not covering:
            left.append(difference)
    return left, used
