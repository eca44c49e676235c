"""Processes executed in a container of runc, crun and pyrunc must see the same, or the difference
must be in helpers/differential/accepted.py with the reason why it is right.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.differential.accepted import ACCEPTED, EXEC
from helpers.differential.combine import Combination, each_once, pairwise
from helpers.differential.compare import Accepted, differences, unexplained
from helpers.differential.dimensions import DIMENSIONS, UNPRIVILEGED, base
from helpers.differential.workshop import CAN_RUN, Result, Workshop, crun_wrapper
from helpers.runtime import Runtime

pytestmark = CAN_RUN

REFERENCES = ("runc", "crun")
OF_THE_CONTAINER = {
    # the other two have a user namespace of their own, or none in which proc could be mounted
    "namespaces": ["usual", "cgroup too"]
    if UNPRIVILEGED
    else ["usual", "user", "host pid", "cgroup too"],
    "seccomp": ["none", "denying", "allowing"],
    "kernel": ["usual", "personality"],
}
OF_THE_PROCESS = {
    name: list(DIMENSIONS[name]) for name in ("user", "capabilities", "rlimits", "process")
}
# The rest of what the probe tells is the container's, and the same for its first process.
SECTIONS = "status pid arguments environment limits links values id namespaces cgroup descriptors calls end"
USUAL: Combination = {name: next(iter(variants)) for name, variants in DIMENSIONS.items()}
COMBINATIONS = [
    USUAL | chosen
    for chosen in pairwise({**OF_THE_CONTAINER, **OF_THE_PROCESS}, at_least=60, seed=1)
]
SHORTENED = os.environ.get("PYRUNC_DIFFERENTIAL") == "each"
if SHORTENED:
    COMBINATIONS = each_once(COMBINATIONS)

Results = Callable[[str, int], Result]


def container_of(combination: Combination) -> tuple[str, ...]:
    return tuple(combination[name] for name in OF_THE_CONTAINER)


def changed(combination: Combination, names: dict[str, list[str]]) -> dict[str, Any]:
    config = base()
    for name in names:
        DIMENSIONS[name][combination[name]](config)
    return config


@pytest.fixture(scope="module")
def results(workspace: Path, runtime_binary: Path, prefix: str) -> Results:
    """Gives the result of a runtime for the combination of a number; all are run at first use."""
    directory = workspace / "differential-exec"
    directory.mkdir()
    options = os.environ.get("PYRUNC_OPTIONS", "").split()
    systemd = "--systemd-cgroup" in options
    workshop = Workshop(directory, f"{prefix}differential-exec", systemd=systemd)
    binaries = {"pyrunc": runtime_binary, "crun": crun_wrapper(directory)}
    for name in REFERENCES:
        found = shutil.which(name)
        if found is None:
            pytest.fail(f"no {name}: scripts/install-deps test")
        binaries.setdefault(name, Path(found))
    numbers: dict[tuple[str, ...], list[int]] = {}
    for number, combination in enumerate(COMBINATIONS):
        numbers.setdefault(container_of(combination), []).append(number)

    def run(name: str, group: list[int]) -> dict[tuple[str, int], Result]:
        runtime = Runtime(binaries[name], directory / f"state-{name}", options)
        config = changed(COMBINATIONS[group[0]], OF_THE_CONTAINER)
        processes = [changed(COMBINATIONS[n], OF_THE_PROCESS)["process"] for n in group]
        made = workshop.execute(runtime, config, processes, f"{prefix}{name}-exec-{group[0]}")
        return {(name, number): result for number, result in zip(group, made, strict=True)}

    found_results: dict[tuple[str, int], Result] = {}
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [pool.submit(run, name, g) for g in numbers.values() for name in binaries]
            for job in jobs:
                found_results.update(job.result())
    finally:
        workshop.close()
    return lambda name, number: _of_the_process(found_results[name, number])


def _of_the_process(result: Result) -> Result:
    seen = {name: lines for name, lines in result.seen.items() if name in SECTIONS.split()}
    return result._replace(seen=seen)


@pytest.mark.parametrize("number", range(len(COMBINATIONS)))
@pytest.mark.parametrize("reference", REFERENCES)
def test_same_as(reference: str, number: int, results: Results) -> None:
    found = differences(results(reference, number), results("pyrunc", number))
    left, _ = unexplained(reference, found, COMBINATIONS[number], [*ACCEPTED, *EXEC])
    assert not left, f"{COMBINATIONS[number]}\n" + "\n".join(left)


def test_what_cannot_be_executed(results: Results) -> None:
    """A working directory that is not there is not made, and all else runs."""
    for number, combination in enumerate(COMBINATIONS):
        missing = combination["process"] == "new directory"
        assert results("pyrunc", number).ran is not missing, results("pyrunc", number).error


@pytest.mark.skipif(SHORTENED, reason="fewer combinations are run than this needs")
def test_each_accepted_difference_occurs(results: Results) -> None:
    used: list[Accepted] = []
    for reference in REFERENCES:
        for number, combination in enumerate(COMBINATIONS):
            found = differences(results(reference, number), results("pyrunc", number))
            used += unexplained(reference, found, combination, EXEC)[1]
    assert [row for row in EXEC if row.always and row not in used] == []
