"""docs/commands.md: held to our flags, to the help of runc and crun, and to the tests that it names."""

from __future__ import annotations

import ast
import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pyrunc.cli.commands import COMMANDS, GLOBAL_FLAGS, HELP, VERSION, load

REPOSITORY = Path(__file__).parents[3]
TEXT = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
GLOBAL = "Before the command"

Row = list[str]


def tables() -> dict[str, list[Row]]:
    """The rows of each section: cells without spaces at their ends."""
    found: dict[str, list[Row]] = {}
    for section in TEXT.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        rows = [line.strip("|").split("|") for line in body.splitlines() if line.startswith("|")]
        found[title] = [[cell.strip() for cell in row] for row in rows[2:]]
    return found


TABLES = tables()
ROWS = [(section, row) for section, rows in TABLES.items() for row in rows]
IDS = [f"{section}: {row[0]}" for section, row in ROWS]


def flags(command: str) -> set[str]:
    """All spellings of our flags, as the table has them."""
    if command == GLOBAL:
        table = [*GLOBAL_FLAGS, HELP, VERSION]
    else:
        table = list(load(command).COMMAND.flags)
    return {spelled(name) for flag in table for name in (flag.name, *flag.aliases)}


def spelled(name: str) -> str:
    return f"--{name}" if len(name) > 1 else f"-{name}"


def in_rows(section: str, *, column: int, value: str = "yes") -> set[str]:
    rows = [row for row in TABLES.get(section, []) if row[column].startswith(value)]
    return {word for row in rows for word in re.findall("`([^`]+)`", row[0])}


def test_each_command_has_a_row() -> None:
    assert {row[0].strip("`") for row in TABLES["Commands"] if row[3] == "yes"} == set(COMMANDS)


@pytest.mark.parametrize("command", [GLOBAL, *COMMANDS])
def test_each_flag_has_a_row(command: str) -> None:
    assert in_rows(command, column=3) == flags(command)


@functools.cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_bytes())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def names_a_test(cell: str) -> bool:
    path, _, name = cell.strip("`").partition("::")
    file = REPOSITORY / path
    return file.is_file() and name.startswith("test_") and name in functions_of(file)


@pytest.mark.parametrize(("section", "row"), ROWS, ids=IDS)
def test_each_row_has_a_test(section: str, row: Row) -> None:
    assert names_a_test(row[4])


@pytest.mark.parametrize(
    ("cell", "is_one"),
    [
        ("`tests/unit/cli/test_table.py::test_rows_are_whole`", True),
        ("`tests/unit/cli/test_table.py::test_that_is_not_there`", False),
        ("`tests/unit/cli/test_table.py::names_a_test`", False),
        ("`tests/unit/cli/no_such_file.py::test_rows_are_whole`", False),
        ("`tests/unit/cli/test_table.py`", False),
        ("", False),
    ],
)
def test_a_row_without_a_test_is_found(cell: str, is_one: bool) -> None:
    assert names_a_test(cell) == is_one


@pytest.mark.parametrize(
    ("section", "row"),
    [(section, row) for section, row in ROWS if section != "Commands"],
    ids=[name for name in IDS if not name.startswith("Commands: ")],
)
def test_the_test_of_a_row_uses_its_flag(section: str, row: Row) -> None:
    """One of its spellings stands in the file of the test, or in what all of them call."""
    text = (REPOSITORY / row[4].strip("`").partition("::")[0]).read_text(encoding="utf-8")
    text += (REPOSITORY / "tests" / "helpers" / "runtime.py").read_text(encoding="utf-8")
    spellings = re.findall("`([^`]+)`", row[0])
    assert any(re.search(rf"(?<![\w-]){spelling}(?![\w-])", text) for spelling in spellings)


def test_rows_are_whole() -> None:
    assert [name for name, (_, row) in zip(IDS, ROWS, strict=True) if len(row) != 5] == []
    for _, row in ROWS:
        assert row[1] in ("yes", "") and row[2] in ("yes", "")  # noqa: PT018
        assert row[3] == "yes" or row[3].startswith("no: ")


def help_of(program: str, command: str) -> str:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    words = [path, *([command] if command else []), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("program", "column"), [("runc", 1), ("crun", 2)])
def test_each_flag_of_other_runtimes_has_a_row(program: str, column: int) -> None:
    """The versions that are installed are older than those of the table, and have fewer flags."""
    missing = []
    for section in (GLOBAL, *(row[0].strip("`") for row in TABLES["Commands"])):
        command = "" if section == GLOBAL else section
        if command and f"`{command}`" not in in_commands(column):
            continue
        text = help_of(program, command)
        listed = {
            w for line in text.splitlines() for w in re.findall(r"^ +(?:-\w, )?(--[\w-]+)", line)
        }
        known = in_rows(section, column=column) | {"--help", "--usage", "--version"}
        missing += [f"{section} {flag}" for flag in sorted(listed - known)]
    assert missing == []


def in_commands(column: int) -> set[str]:
    return {row[0] for row in TABLES["Commands"] if row[column] == "yes"}
