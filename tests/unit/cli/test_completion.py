"""Completion of command lines, in the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyrunc.cli.commands import COMMANDS, GLOBAL_FLAGS, load
from pyrunc.cli.completion import SHELLS
from pyrunc.cli.main import main

PYRUNC = Path(sys.executable).with_name("pyrunc")

#: Command line to its end, and some of what it can go on with; "!" before what it must not.
LINES = [
    ("pyrunc che", {"checkpoint"}),
    ("pyrunc --ro", {"--root", "--rootless", "!--log"}),
    ("pyrunc --log-format ", {"json", "text", "!list"}),
    ("pyrunc --root /x kill --", {"--all", "--regex", "!--force"}),
    ("pyrunc exec --c", {"--cwd", "--cap", "--cgroup", "--console-socket"}),
    ("pyrunc list --format ", {"table", "json", "!text"}),
    ("pyrunc plan --format ", {"text", "json", "!table"}),
    ("pyrunc --debug restore --manage-cgroups-mode s", {"soft", "strict", "!full"}),
    ("pyrunc help st", {"start", "state"}),
    ("pyrunc completion ", {"bash", "zsh", "fish"}),
    ("pyrunc install ", {"docker", "containerd", "podman", "cri-o"}),
    ("pyrunc validate bun", {"bundle"}),
    ("pyrunc spec --bundle bun", {"bundle"}),
    ("pyrunc kill ", {"web", "other"}),
    ("pyrunc mounts ", {"add", "remove", "!web"}),
    ("pyrunc --log-level ", {"error", "warning", "debug"}),
    ("pyrunc checkpoint --network-lock ", {"iptables", "nftables", "skip"}),
]

BASH = """
source "$1"
COMP_WORDS=($2)
[[ $2 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_pyrunc
printf '%s\\n' "${COMPREPLY[@]}"
"""

# What zsh would offer is known in an interactive shell only: one at a terminal of zpty, whose compadd
# also writes down what it adds.
ZSH_INSIDE = """
PROMPT=
fpath=($PWD $fpath)
autoload -Uz compinit
compinit -u -d $PWD/dump
compadd() {
	local -a hits
	if [[ " $* " != *" -"[OAD]" "* ]]; then
		builtin compadd -O hits "$@"
		print -rl -- "${hits[@]}" >>matches
	fi
	builtin compadd "$@"
}
ended() { : >ended }
comppostfuncs=(ended)
bindkey '^I' complete-word
"""
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'source inside; : >begun'
for try in {1..600}; do [[ -e begun ]] && break; sleep 0.1; done
zpty -w -n shell "$1"$'\\t'
for try in {1..600}; do [[ -e ended ]] && break; zpty -r -t shell >/dev/null; sleep 0.1; done
zpty -d shell
[[ -e ended ]] && cat matches 2>/dev/null
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a bundle, and a pyrunc that has two containers."""
    (tmp_path / "bundle").mkdir()
    program = tmp_path / "bin" / "pyrunc"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ncase "$*" in *"list -q") echo web; echo other ;; esac\n')
    program.chmod(0o755)
    return tmp_path


def need(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


def script(place: Path, shell: str, name: str) -> Path:
    path = place / name
    path.write_text(SHELLS[shell]())
    return path


def output(place: Path, *command: str | Path) -> str:
    done = subprocess.run(
        command,
        cwd=place,
        env={"PATH": f"{place / 'bin'}:/usr/bin:/bin", "HOME": str(place), "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


def check(found: set[str], wanted: set[str]) -> None:
    assert {word for word in wanted if not word.startswith("!")} <= found
    assert not {word[1:] for word in wanted if word.startswith("!")} & found


@pytest.mark.parametrize(("line", "wanted"), LINES, ids=[line for line, _ in LINES])
def test_bash(place: Path, line: str, wanted: set[str]) -> None:
    path = script(place, "bash", "pyrunc.bash")
    check(set(output(place, need("bash"), "-c", BASH, "bash", path, line).split()), wanted)


@pytest.mark.parametrize(("line", "wanted"), LINES, ids=[line for line, _ in LINES])
def test_fish(place: Path, line: str, wanted: set[str]) -> None:
    path = script(place, "fish", "pyrunc.fish")
    words = (need("fish"), "--no-config", "-c", f'source {path}; complete -C "{line}"')
    found = {text.split("\t")[0].rstrip("/") for text in output(place, *words).splitlines()}
    check(found, wanted)


@pytest.mark.parametrize(("line", "wanted"), LINES, ids=[line for line, _ in LINES])
def test_zsh(place: Path, line: str, wanted: set[str]) -> None:
    zsh = need("zsh")
    script(place, "zsh", "_pyrunc")
    (place / "inside").write_text(ZSH_INSIDE)
    found = output(place, zsh, "-f", "-c", ZSH, "zsh", line).splitlines()
    check({word.rstrip("/") for word in found}, wanted)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_flag_is_there(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert name in text
        for flag in (*GLOBAL_FLAGS, *load(name).COMMAND.flags):
            assert flag.name in text


def test_other_shells(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 1
    assert "must be one of bash, zsh, fish" in capfd.readouterr().err
