"""Help and manual pages: one table, nothing left out, and in step with what is committed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyrunc.cli import help as help_
from pyrunc.cli import man
from pyrunc.cli.commands import COMMANDS, GLOBAL_FLAGS, load
from pyrunc.cli.main import main
from pyrunc.cli.parser import SWITCH, Flag

MAN = Path(__file__).parents[3] / "docs" / "man"


def all_flags() -> list[tuple[str, Flag]]:
    flags = [("", flag) for flag in GLOBAL_FLAGS]
    return flags + [(name, flag) for name in COMMANDS for flag in load(name).COMMAND.flags]


@pytest.mark.parametrize("words", [[], ["help"], ["h"], ["--help"], ["-h"], ["-help"]])
def test_program_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in text
    for flag in GLOBAL_FLAGS:
        assert f"\n  --{flag.name}" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_command_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = load(name).COMMAND
    assert command.name == name
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert main(["help", name]) == 0
    assert capsys.readouterr().out == text
    assert text.startswith(f"Usage: pyrunc {name}")
    for flag in command.flags:
        assert help_.flag_forms(flag) in text
    assert max(map(len, text.splitlines())) <= help_.WIDTH


@pytest.mark.parametrize(("command", "flag"), all_flags())
def test_flags_are_well_formed(command: str, flag: Flag) -> None:
    assert (flag.kind is SWITCH) == (flag.metavar == "")
    assert flag.help
    assert not flag.help.endswith(".")


@pytest.mark.parametrize("name", COMMANDS)
def test_names_of_flags_are_unique(name: str) -> None:
    names = [word for flag in load(name).COMMAND.flags for word in (flag.name, *flag.aliases)]
    assert len(names) == len(set(names))
    assert not {"help", "h"} & set(names)


@pytest.mark.parametrize("words", [["--version"], ["-v"], ["-version"], ["version"]])
def test_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("pyrunc version ")
    assert "spec: 1.3.0" in lines
    assert any(line.startswith("libseccomp: 2.") for line in lines)


def test_manual_pages_are_in_step() -> None:
    """`python -m pyrunc.cli.man docs/man` writes them."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in MAN.glob("*.8")}
    assert committed == man.pages()


def test_the_example_of_update_is_json() -> None:
    description = load("update").COMMAND.description
    assert json.loads(description[description.index("{") :])["cpu"]
