"""Combinations of variants: each pair of variants of two dimensions occurs in some combination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from random import Random

Combination = dict[str, str]
_Pair = tuple[tuple[str, str], tuple[str, str]]


def pairwise(
    dimensions: Mapping[str, Sequence[str]], at_least: int, seed: int
) -> list[Combination]:
    """Combinations (dimension to variant) that cover all pairs, and more up to `at_least`.

    The result is the same for the same arguments. Each combination starts from a pair that is not
    covered and takes, one dimension after another, the variant that covers most new pairs.
    """
    random = Random(seed)
    uncovered: dict[_Pair, None] = {
        ((one, a), (two, b)): None
        for one, two in combinations(dimensions, 2)
        for a in dimensions[one]
        for b in dimensions[two]
    }
    found: list[Combination] = []
    while uncovered:
        chosen = dict(next(iter(uncovered)))
        rest = [name for name in dimensions if name not in chosen]
        random.shuffle(rest)
        for name in rest:
            candidates = list(dimensions[name])
            random.shuffle(candidates)
            chosen[name] = max(
                candidates,
                key=lambda v: sum(
                    p in uncovered for p in _pairs(chosen | {name: v}, name, dimensions)
                ),
            )
        for name in dimensions:
            for pair in _pairs(chosen, name, dimensions):
                uncovered.pop(pair, None)
        found.append(chosen)
    while len(found) < at_least:
        chosen = {name: random.choice(variants) for name, variants in dimensions.items()}
        if chosen not in found:
            found.append(chosen)
    return found


def each_once(combinations_: Sequence[Combination]) -> list[Combination]:
    """Some of the combinations, as few as the first that fit make: each variant that occurs still does."""
    uncovered = {item for chosen in combinations_ for item in chosen.items()}
    found: list[Combination] = []
    while uncovered:
        best = max(combinations_, key=lambda chosen: len(uncovered & set(chosen.items())))
        uncovered -= set(best.items())
        found.append(best)
    return found


def _pairs(chosen: Combination, name: str, dimensions: Mapping[str, Sequence[str]]) -> list[_Pair]:
    """The pairs of `name` with each other dimension in `chosen`, in the order of `dimensions`."""
    order = list(dimensions)
    mine = order.index(name)
    pairs: list[_Pair] = []
    for other, variant in chosen.items():
        place = order.index(other)
        if place < mine:
            pairs.append(((other, variant), (name, chosen[name])))
        elif place > mine:
            pairs.append(((name, chosen[name]), (other, variant)))
    return pairs
