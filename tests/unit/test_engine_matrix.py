"""docs/engines.md, the matrix of engines: in step with the tests that it is written from."""

from __future__ import annotations

from helpers.engine_matrix import ENGINES, NOT_HERE, PAGE, TESTS, cell, functions, rows


def test_each_test_has_its_row() -> None:
    wanted = {ENGINES[module]: set(tests.values()) for module, tests in functions().items()}
    found = {heading: set(table) for heading, table in rows(PAGE.read_text("utf-8")).items()}
    assert found == wanted


def test_each_module_has_its_table() -> None:
    assert {path.stem for path in TESTS.glob("test_*.py")} == set(ENGINES)


def test_no_cell_is_worse_than_that_of_runc() -> None:
    cells = [c for table in rows(PAGE.read_text("utf-8")).values() for c in table.values()]
    assert [c for c in cells if c[0] != c[1] and c[0] != "yes"] == []
    assert ("yes", "yes") in cells


def test_cells() -> None:
    assert cell(["passed", "passed"]) == "yes"
    assert cell(["passed", "failed", "skipped"]) == "1 of 2"
    assert cell(["failed"]) == "no"
    assert cell(["skipped"]) == NOT_HERE
