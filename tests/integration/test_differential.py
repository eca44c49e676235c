"""The same bundle under runc, crun and pyrunc: what a program in the container sees must be the
same, or the difference must be in the table below with the reason why it is right.

The configs are combinations of the variants in helpers/differential/dimensions.py: each pair of
variants of two dimensions occurs in at least one. With PYRUNC_DIFFERENTIAL=each there are fewer, with
each variant in at least one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import pytest
from helpers.differential.accepted import ACCEPTED
from helpers.differential.combine import each_once, pairwise
from helpers.differential.compare import Accepted, differences, unexplained
from helpers.differential.dimensions import DIMENSIONS, UNPRIVILEGED, build
from helpers.differential.workshop import CAN_RUN, Result, Workshop, crun_wrapper
from helpers.runtime import Runtime

pytestmark = CAN_RUN

REFERENCES = ("runc", "crun")
VARIANTS = {name: list(variants) for name, variants in DIMENSIONS.items()}
COMBINATIONS = pairwise(VARIANTS, at_least=160, seed=1)
SHORTENED = os.environ.get("PYRUNC_DIFFERENTIAL") == "each"
if SHORTENED:
    COMBINATIONS = each_once(COMBINATIONS)

only_in_full = pytest.mark.skipif(SHORTENED, reason="fewer combinations are run than this needs")

Results = Callable[[str, int], Result]


@pytest.fixture(scope="module")
def results(workspace: Path, runtime_binary: Path, prefix: str) -> Results:
    """Gives the result of a runtime for the combination of a number; all are run at first use."""
    directory = workspace / "differential"
    directory.mkdir()
    options = os.environ.get("PYRUNC_OPTIONS", "").split()
    systemd = "--systemd-cgroup" in options
    workshop = Workshop(directory, f"{prefix}differential", systemd=systemd)
    binaries = {"pyrunc": runtime_binary, "crun": crun_wrapper(directory)}
    for name in REFERENCES:
        found = shutil.which(name)
        if found is None:
            pytest.fail(f"no {name}: scripts/install-deps test")
        binaries.setdefault(name, Path(found))
    runtimes = [
        Runtime(path, directory / f"state-{name}", options) for name, path in binaries.items()
    ]

    def run(number: int) -> dict[str, Result]:
        config = build(COMBINATIONS[number])
        return {
            name: workshop.run(runtime, config, f"{prefix}{name}-{number}")
            for name, runtime in zip(binaries, runtimes, strict=True)
        }

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found_results = list(pool.map(run, range(len(COMBINATIONS))))
    finally:
        workshop.close()
    return lambda name, number: found_results[number][name]


@only_in_full
def test_each_pair_of_variants_occurs() -> None:
    for one, two in combinations(VARIANTS, 2):
        pairs = {(c[one], c[two]) for c in COMBINATIONS}
        assert len(pairs) == len(VARIANTS[one]) * len(VARIANTS[two])


def test_each_variant_occurs() -> None:
    for name, variants in VARIANTS.items():
        assert {chosen[name] for chosen in each_once(COMBINATIONS)} == set(variants)


@pytest.mark.parametrize("number", range(len(COMBINATIONS)))
@pytest.mark.parametrize("reference", REFERENCES)
def test_same_as(reference: str, number: int, results: Results) -> None:
    found = differences(results(reference, number), results("pyrunc", number))
    left, _ = unexplained(reference, found, COMBINATIONS[number], ACCEPTED)
    assert not left, f"{COMBINATIONS[number]}\n" + "\n".join(left)


def test_pyrunc_takes_all_that_a_runtime_can(results: Results) -> None:
    """Configs that do not run compare nothing. In a user namespace devices come from the host,
    which does not have these two; and an unprivileged user may not do much else."""
    failed = [
        f"{number}: {results('pyrunc', number).error}"
        for number, chosen in enumerate(COMBINATIONS)
        if not results("pyrunc", number).ran
        and not (
            UNPRIVILEGED
            or (chosen["namespaces"] == "user" and chosen["devices"] in ("block", "no mode"))
        )
    ]
    assert not failed, "\n".join(failed)


@only_in_full
def test_each_accepted_difference_occurs(results: Results) -> None:
    used: list[Accepted] = []
    for reference in REFERENCES:
        for number, combination in enumerate(COMBINATIONS):
            found = differences(results(reference, number), results("pyrunc", number))
            used += unexplained(reference, found, combination, ACCEPTED)[1]
    assert [entry for entry in ACCEPTED if entry not in used] == []
