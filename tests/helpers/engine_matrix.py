"""docs/engines.md: what the tests of engines found, for pyrunc and for runc.

`python -m helpers.engine_matrix [TESTS]` runs these tests, or some of them, with each and writes the page.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers.engines import RUNC

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests" / "engines"
PAGE = REPOSITORY / "docs" / "engines.md"

#: Headings, by module.
ENGINES = {
    "test_docker": "Docker",
    "test_docker_host": "Docker: networks, builds, compose, restarts of the daemon",
    "test_swarm": "Docker Swarm",
    "test_containerd": "containerd",
    "test_cri": "containerd's CRI plugin, as Kubernetes uses it",
    "test_cri_systemd": "containerd's CRI plugin with systemd's cgroups",
    "test_critest": "critest",
    "test_podman": "Podman and Buildah",
    "test_podman_v2": "Podman with systemd's cgroups",
}

# What the page says of a test with pyrunc and with runc.
Cells = tuple[str, str]
NOT_HERE = "not here"

# By module and test, what came of each of its cases.
Results = dict[str, dict[str, list[str]]]

HEAD = """\
# Engines

Each row is a test in `tests/engines`, which drives the real engine. The page is written by `make engines-matrix` from
what these tests found with pyrunc and with Debian's runc 1.1.5 on one machine; a test holds it to the tests that there
are. Where a test has several cases, a cell says in how many the engine did what its users expect, unless in all.
That machine had no `CAP_SYS_RESOURCE`, for which runc refuses privileged containers; pyrunc grants them the rest.

How each engine is set up: [Docker](engines/docker.md), [containerd](engines/containerd.md),
[Podman and Buildah](engines/podman.md), [CRI-O](engines/cri-o.md), [Kubernetes](engines/kubernetes.md).
"""


def functions() -> dict[str, dict[str, str]]:
    """What each test shows, by module and name."""
    found: dict[str, dict[str, str]] = {}
    for module in ENGINES:
        tree = ast.parse((TESTS / f"{module}.py").read_text(encoding="utf-8"))
        found[module] = {
            node.name: node.name.removeprefix("test_").replace("_", " ")
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }
    return found


def collect(nodeid: str, outcome: str, results: Results) -> None:
    """Note the outcome of one case."""
    path, _, name = nodeid.partition("::")
    module = results.setdefault(Path(path).stem, {})
    module.setdefault(name.partition("[")[0], []).append(outcome)


def cell(outcomes: list[str]) -> str:
    """What the page says of a test."""
    ran = [outcome for outcome in outcomes if outcome != "skipped"]
    passed = ran.count("passed")
    if not ran:
        return NOT_HERE
    if passed == len(ran):
        return "yes"
    return f"{passed} of {len(ran)}" if passed else "no"


def page(ours: Results, runc: Results, before: dict[str, dict[str, Cells]]) -> str:
    """The page; what was not run again is as it was `before`."""
    parts = [HEAD]
    for module, tests in functions().items():
        heading = ENGINES[module]
        cells: dict[str, Cells] = {}
        for name, text in tests.items():
            if name in ours.get(module, {}):
                cells[text] = (cell(ours[module][name]), cell(runc[module][name]))
            else:
                cells[text] = before[heading][text]
        table = [f"| {text} | {one} | {other} |" for text, (one, other) in cells.items()]
        parts.append(
            "\n".join([f"## {heading}\n", "| | pyrunc | runc |", "| --- | --- | --- |", *table])
            + "\n"
        )
        if all(one == NOT_HERE for one, _ in cells.values()):
            parts.append(
                "These need cgroup v2 and systemd; they run in the [virtual machine](vm.md).\n"
            )
    return "\n".join(parts)


def rows(text: str) -> dict[str, dict[str, Cells]]:
    """The cells of a page, by heading and row."""
    found: dict[str, dict[str, Cells]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| ") and not line.startswith(("| | ", "| --- ")):
            name, ours, runc = (part.strip() for part in line.strip("|").split("|"))
            found.setdefault(heading, {})[name] = (ours, runc)
    return found


def run(runtime: str | None, tests: list[str]) -> Results:
    """Run tests with a runtime, or with that of this checkout."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "results.json")
        environment = {**os.environ, "ENGINE_RESULTS": str(report)}
        if runtime is not None:
            environment["ENGINE_RUNTIME"] = runtime
        pytest = Path(sys.executable).with_name("pytest")
        command = [str(pytest), "-q", "--tb=short", *tests]
        subprocess.run(command, cwd=REPOSITORY, env=environment, check=False)
        results: Results = json.loads(report.read_text())
        return results


if __name__ == "__main__":
    chosen = sys.argv[1:] or [str(TESTS)]
    known = rows(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    PAGE.write_text(page(run(None, chosen), run(RUNC, chosen), known), encoding="utf-8")
