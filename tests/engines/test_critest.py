"""critest, the validation suite of the CRI, with containerd and runc, and containerd and pyrunc."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers.cri import REGISTRY, Cri, pause_image
from helpers.critest import Verdicts, critest, fill_registry
from helpers.island import new_island
from helpers.leaks import cgroups, remove_cgroups

pytestmark = [pytest.mark.root, pytest.mark.engines]

#: Two halves that take about the same time.
HALVES = ("--ginkgo.focus=Security Context", "--ginkgo.skip=Security Context")
HANDLERS = ("runc", "tested")

#: What fails here with any runtime, and why.
KNOWN = {
    "[k8s.io] Idempotence StopPodSandbox should not return an error if not found": (
        "containerd before 1.7 says that there is no such pod"
    ),
    "[k8s.io] Idempotence StopContainer should not return an error if not found": (
        "containerd before 1.7 says that there is no such container"
    ),
    "[k8s.io] Security Context bucket runtime should support MaskedPaths": (
        "the shell of Debian's busybox does without the /bin/ls that is masked"
    ),
    "[k8s.io] Image Manager public image with digest should be pulled and removed [Conformance]": (
        "only the image of the registry that it names has that digest"
    ),
}


@pytest.fixture(scope="module")
def verdicts(
    workspace: Path,
    rootfs: Path,
    runtime_binary: Path,
    engine_runtime: Path,
    cri_tools: Path,
    prefix: str,
) -> Iterator[dict[str, Verdicts]]:
    """By handler. All run at a time, each with a containerd and a network of its own."""
    if not os.access(REGISTRY, os.X_OK):
        pytest.fail(f"no {REGISTRY}: scripts/install-deps test")
    others = cgroups("k8s.io")
    with ExitStack() as stack:
        runs = []
        for number, (handler, half) in enumerate((h, f) for h in HANDLERS for f in HALVES):
            cri = Cri(
                workspace / f"critest{number}",
                stack.enter_context(new_island("ipc")),
                runtime_binary,
                {"tested": engine_runtime},
                cri_tools / "crictl",
                f"{prefix}critest",
            )
            stack.callback(cri.stop)
            cri.load(pause_image(workspace))
            cri.start_registry(workspace / "critest-registry")
            if number == 0:
                fill_registry(cri, rootfs)
            runs.append((handler, cri, half))
        with ThreadPoolExecutor(len(runs)) as pool:
            program = cri_tools / "critest"
            reports = list(pool.map(lambda run: critest(run[1], program, run[0], run[2]), runs))
        found = {handler: Verdicts() for handler in HANDLERS}
        for (handler, _, _), report in zip(runs, reports, strict=True):
            found[handler].read(report)
        # on a machine that is busy, some of its waits are too short: alone they may be long enough
        for handler, cri, half in runs:
            again = [name for name in found[handler].failed if name not in KNOWN]
            if again and half == HALVES[-1]:
                focus = "|".join(map(re.escape, again))
                found[handler].read(critest(cri, program, handler, f"--ginkgo.focus={focus}"))
        yield found
    if not others:  # where containerd makes them when, as by critest, it is not told
        remove_cgroups("k8s.io")
        assert cgroups("k8s.io") == []


@pytest.mark.timeout(900)
def test_what_passes_with_runc_passes(verdicts: dict[str, Verdicts]) -> None:
    runc, ours = verdicts["runc"], verdicts["tested"]
    worse = {
        name: ours.failed.get(name) or ours.skipped.get(name, "did not run")
        for name in runc.passed - ours.passed
    }
    assert worse == {}
    assert len(runc.passed) >= len(runc.failed) + len(runc.skipped)


def test_what_does_not_pass_is_known(verdicts: dict[str, Verdicts]) -> None:
    """Images that were made wrong would make tests fail with both, which the comparison would not show."""
    for name, message in verdicts["tested"].failed.items():
        assert name in KNOWN, f"{name}: {message}"
    for name, message in verdicts["tested"].skipped.items():
        assert "runtime" in message or "AppArmor" in message, f"{name}: {message}"
