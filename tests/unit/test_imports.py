"""The import diet: which modules the commands that engines call most may import.

Each module costs some tenth of a millisecond, each time that an engine calls the runtime; some of
the standard library cost more than the whole interpreter (docs/design.md has the figures).
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: Modules of the standard library that are cheap: built in or frozen, and small ones.
CHEAP = {
    "__future__",
    "_abc",
    "_collections_abc",
    "_json",
    "_signal",
    "_socket",
    "_stat",
    "_struct",
    "abc",
    "array",
    "errno",
    "fcntl",
    "gc",
    "genericpath",
    "os",
    "os.path",
    "posix",
    "posixpath",
    "pwd",
    "select",
    "stat",
    "termios",
    "time",
}

#: What comes with the cffi modules.
BINDINGS = {"_cffi_backend", "pyrunc.host._shim", "pyrunc.host._shim.lib"}

#: Parts of pyrunc that are only for errors, or for people.
TALKATIVE = {
    "pyrunc.cli.help",
    "pyrunc.cli.man",
    "pyrunc.plan.header",
    "pyrunc.spec.codegen",
    "pyrunc.spec.features",
    "pyrunc.spec.json_errors",
    "pyrunc.spec.template",
    "pyrunc.spec.validate",
}

#: Parts that only what makes a container or a process in one needs.
COMPILERS = {"pyrunc.spec._check", "pyrunc.spec.rules", "pyrunc.plan.compiler"}

TRACE = """
import sys
before = set(sys.modules)
path, report, *words = sys.argv[1:]
sys.path.append(path)
from pyrunc.cli.main import main
code = main(words)
loaded = sorted(set(sys.modules) - before)
with open(report, "w") as file:
    file.write("\\n".join(loaded))
sys.exit(code)
"""


def imports(tmp_path: Path, *words: str, cwd: Path | None = None, code: int = 0) -> set[str]:
    """The modules that a command line loads into an isolated interpreter."""
    report = tmp_path / "modules"
    site = sysconfig.get_path("purelib")
    base = getattr(sys, "_base_executable", sys.executable)
    line = [base, "-I", "-S", "-X", "utf8", "-c", TRACE, site, str(report), *words]
    done = subprocess.run(
        line, cwd=cwd, check=False, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    assert done.returncode == code
    return set(report.read_text().split())


def check(loaded: set[str], *, bindings: bool = False, compilers: bool = False) -> None:
    allowed = CHEAP | (BINDINGS if bindings else set())
    foreign = {name for name in loaded if name.partition(".")[0] != "pyrunc"}
    ours = {name for name in loaded - foreign if name not in BINDINGS}
    bound = loaded & BINDINGS
    assert sorted((foreign | bound) - allowed) == []
    assert sorted(ours & TALKATIVE) == []
    if not compilers:
        assert sorted(ours & COMPILERS) == []


def test_the_frame_of_the_command_line(tmp_path: Path) -> None:
    """What each command has before it begins: a handful of modules."""
    loaded = imports(tmp_path, "kill", "x", "NOSUCH", code=1)
    check(loaded)
    assert {name for name in loaded if name.startswith("pyrunc")} == {
        "pyrunc",
        "pyrunc.cli",
        "pyrunc.cli.commands",
        "pyrunc.cli.kill",
        "pyrunc.cli.main",
        "pyrunc.cli.parser",
        "pyrunc.cli.settings",
        "pyrunc.cli.signals",
        "pyrunc.errors",
        "pyrunc.log",
    }


@pytest.mark.root
def test_hot_commands(
    tmp_path: Path, make_bundle: Callable[..., Any], container_id: str, runtime: Any
) -> None:
    """One life of a container, each command with its list."""
    bundle = make_bundle()
    config = json.loads((bundle.path / "config.json").read_text())
    config["process"]["args"] = ["sleep", "100"]
    config["process"]["terminal"] = False
    (bundle.path / "config.json").write_text(json.dumps(config))
    root = ("--root", str(runtime.root))

    def loaded(*words: str) -> set[str]:
        return imports(tmp_path, *root, *words, cwd=bundle.path)

    check(loaded("create", container_id), bindings=True, compilers=True)
    check(loaded("state", container_id))
    check(loaded("start", container_id))
    check(loaded("state", container_id))
    check(loaded("exec", container_id, "true"), bindings=True, compilers=True)
    check(loaded("list"))
    check(loaded("kill", container_id, "KILL"))
    check(loaded("delete", "--force", container_id))
    config["process"]["args"] = ["true"]
    (bundle.path / "config.json").write_text(json.dumps(config))
    check(loaded("run", container_id), bindings=True, compilers=True)
