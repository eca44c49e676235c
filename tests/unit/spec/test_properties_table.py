"""docs/properties.md has a row for each property of the specification, and what it says is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.official_schema import load

from pyrunc.spec import schema

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "docs" / "properties.md"

#: Sections for other platforms, which have one row each.
OTHERS = ("/windows", "/solaris", "/freebsd", "/zos", "/vm")


def properties(node: Any, pointer: str = "") -> Iterator[str]:
    """Yield the pointers of all properties below a node of a schema; * is any entry or name."""
    for part in node.get("allOf", ()):
        yield from properties(part, pointer)
    for part in node.get("anyOf", ()):
        yield from properties(part, pointer)
    for name, child in node.get("properties", {}).items():
        yield f"{pointer}/{name}"
        if f"{pointer}/{name}" not in OTHERS:
            yield from properties(child, f"{pointer}/{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from properties(node[key], f"{pointer}/*")


@pytest.fixture(scope="module")
def rows() -> dict[str, tuple[str, str]]:
    """Pointer -> (module, test) of the table."""
    found: dict[str, tuple[str, str]] = {}
    for line in TABLE.read_text("utf-8").splitlines():
        if match := re.fullmatch(
            r"\| `((?:state|features)?/[^`]+)` \| (.*?) ?\| (.*?) ?\| .*?\|", line
        ):
            pointer, module, test = match.groups()
            assert pointer not in found, f"{pointer} has two rows"
            found[pointer] = (module, test)
    return found


def test_each_property_of_the_specification_has_a_row(
    rows: dict[str, tuple[str, str]], specification: Path
) -> None:
    official = list(properties(load(specification / "schema", "config-schema.json")))
    assert len(official) > 150
    for document in ("state", "features"):
        official += properties(load(specification / "schema", f"{document}-schema.json"), document)
    assert [pointer for pointer in official if pointer not in rows] == []
    assert [pointer for pointer in rows if pointer not in official] == []


def test_our_schema_has_the_properties_of_the_specification(specification: Path) -> None:
    for document in schema.DOCUMENTS:
        ours = set(properties(schema.load(document)))
        name = "config" if document == "process" else document
        official = load(specification / "schema", f"{name}-schema.json")
        if document == "process":
            official = official["properties"]["process"]
        assert ours == set(properties(official)), document


def test_modules_and_tests_of_the_table_exist(rows: dict[str, tuple[str, str]]) -> None:
    for pointer, columns in rows.items():
        for column in columns:
            for path in re.findall(r"`([^`]+)`", column):
                assert (ROOT / path).exists(), f"{pointer}: there is no {path}"


def paths(column: str) -> list[str]:
    return re.findall(r"`([^`]+)`", column)


def word(pointer: str) -> re.Pattern[str]:
    """Finds the name of a property in a text."""
    name = [part for part in pointer.split("/") if part != "*"][-1]
    return re.compile(rf"\b{re.escape(name)}\b")


def test_each_row_has_a_module_and_a_test(rows: dict[str, tuple[str, str]]) -> None:
    for pointer, (module, test) in rows.items():
        assert module, f"{pointer}: no module acts on it"
        assert paths(test), f"{pointer}: no test shows it"


def test_modules_and_tests_of_a_row_know_its_property(rows: dict[str, tuple[str, str]]) -> None:
    for pointer, (modules, tests) in rows.items():
        if not paths(modules):  # for other platforms
            continue
        for path in paths(modules) + paths(tests):
            text = (ROOT / path).read_text("utf-8")
            assert word(pointer).search(text), f"{pointer}: {path} does not have its name"
