from __future__ import annotations

from pathlib import Path

import pytest
from helpers.resources import resources
from vm.table import COLUMNS, cells, table

JUNIT = """\
<testsuites><testsuite>
<testcase classname="tests.integration.test_resources" name="test_limit[cpu.quota, cpu.period]">
<properties><property name="cell" value="`cpu.max`"/></properties></testcase>
<testcase classname="tests.integration.test_resources" name="test_limit[rdma]">
<skipped type="pytest.skip" message="this host has no RDMA device"/></testcase>
<testcase classname="tests.integration.test_resources" name="test_devices[True]">
<properties><property name="cell" value="a BPF program"/></properties></testcase>
<testcase classname="tests.integration.test_other" name="test_limit[other]">
<properties><property name="cell" value="nothing"/></properties></testcase>
</testsuite></testsuites>
"""


def test_cells_come_from_properties_and_reasons(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(JUNIT)
    assert cells(junit) == {
        "cpu.quota, cpu.period": "`cpu.max`",
        "rdma": "missing: this host has no RDMA device",
        "devices": "a BPF program",
    }


@pytest.mark.parametrize("problem", ["failure", "error"])
def test_a_failed_test_makes_no_table(tmp_path: Path, problem: str) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(JUNIT.replace("<skipped", f"<{problem}/><skipped"))
    with pytest.raises(ValueError, match=r"test_limit\[rdma\] failed"):
        cells(junit)


def test_a_test_that_tells_nothing_makes_no_table(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(JUNIT.replace('"cell"', '"other"'))
    with pytest.raises(ValueError, match="tells nothing"):
        cells(junit)


def test_table() -> None:
    text = table({"v1": {"a, b": "`x`"}, "v2": {"a, b": "refused", "c": "`y`"}})
    assert text.splitlines()[-4:] == [
        "| `resources` | v1 | v2 |",
        "| --- | --- | --- |",
        "| `a`, `b` | `x` | refused |",
        "| `c` | not tested | `y` |",
    ]


def test_the_document_has_a_cell_for_each_limit_everywhere() -> None:
    document = Path(__file__).parents[3] / "docs" / "resources.md"
    rows = [line.split(" | ") for line in document.read_text().splitlines() if line[:1] == "|"]
    assert rows[0] == [
        "| `resources`",
        *list(COLUMNS.values())[:-1],
        f"{list(COLUMNS.values())[-1]} |",
    ]
    names = [row[0].removeprefix("| ").replace("`", "") for row in rows[2:]]
    assert names == [*(resource.name for resource in resources()), "devices"]
    for row in rows[2:]:
        assert all(cell.strip(" |") not in ("", "not tested") for cell in row), row
