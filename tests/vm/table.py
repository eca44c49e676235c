"""`python -m vm.table V1.xml RESULTS`: docs/resources.md from what the tests of resources found.

V1.xml is JUnit of tests/integration/test_resources.py on a host with cgroup v1, RESULTS the directory of results of a
run of the virtual machine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

COLUMNS = {
    "v1": "v1",
    "root": "v2",
    "systemd": "v2, systemd driver",
    "rootless": "v2, rootless",
}
HEAD = """\
# Limits, as tested

What each limit of `linux.resources` came to in a container, by `tests/integration/test_resources.py`: the file that was
read back, or "refused" where `create` has to fail with an error that names the limit. Where something is missing, the
cell says what, and the test saw that `create` fails for that. Made by `python -m vm.table`; [cgroups.md](cgroups.md)
tells how values are converted.

"""


def cells(junit: Path) -> dict[str, str]:
    """What the tests of one file of results found, by the name of the limit; it must not have failures.

    Raises:
        ValueError: a test failed, or tells nothing.
    """
    found = {}
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        if "test_resources" not in case.get("classname", ""):
            continue
        function, _, name = case.get("name", "").rstrip("]").partition("[")
        if case.find("failure") is not None or case.find("error") is not None:
            raise ValueError(f"{junit}: {case.get('name')} failed")
        row = "devices" if function == "test_devices" else name
        skipped = case.find("skipped")
        told = [str(e.get("value")) for e in case.iter("property") if e.get("name") == "cell"]
        if skipped is not None:
            told = [f"missing: {skipped.get('message')}"]
        if not told:
            raise ValueError(f"{junit}: {case.get('name')} tells nothing")
        found[row] = told[0]
    return found


def table(columns: dict[str, dict[str, str]]) -> str:
    """The document, from the cells of each column by its title."""
    rows = list(dict.fromkeys(row for found in columns.values() for row in found))
    lines = [f"| `resources` | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for row in rows:
        values = [found.get(row, "not tested") for found in columns.values()]
        lines.append(
            f"| {', '.join(f'`{name}`' for name in row.split(', '))} | {' | '.join(values)} |"
        )
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    v1, results = map(Path, sys.argv[1:])
    files = {name: v1 if name == "v1" else results / f"{name}.xml" for name in COLUMNS}
    sys.stdout.write(table({COLUMNS[name]: cells(file) for name, file in files.items()}))
