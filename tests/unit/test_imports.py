"""The import diet: which modules the commands that engines call most may import.

Each module costs some tenth of a millisecond, each time that an engine calls the runtime; some of
the standard library cost more than the whole interpreter (docs/design.md has the figures).
"""

from __future__ import annotations

import ast
import importlib.util
import json
import marshal
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jeepney.wrappers import DBusAddress, new_method_call

_spec = importlib.util.spec_from_file_location(
    "freeze", Path(__file__).parents[2] / "csrc" / "launcher" / "freeze.py"
)
assert _spec is not None
assert _spec.loader is not None
freeze = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(freeze)

#: What the launcher's image holds from the start.
PRELOADED = {
    alias.name
    for node in ast.parse((Path(freeze.__file__).parent / "preload.py").read_text()).body
    if isinstance(node, ast.Import)
    for alias in node.names
}

#: Modules of the standard library that are cheap: built in or frozen, and small ones. `os` is not.
CHEAP = {
    "__future__",
    "_json",
    "_signal",
    "_stat",
    "_socket",
    "_struct",
    "array",
    "errno",
    "fcntl",
    "gc",
    "posix",
    "pyrunc_extensions",
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
import marshal, sys
from _frozen_importlib import ModuleSpec
before = set(sys.modules)
path, frozen, report, *words = sys.argv[1:]
with open(frozen, "rb") as file:
    codes = marshal.load(file)

class Frozen:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, Frozen, is_package=codes[name][0]) if name in codes else None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        exec(marshal.loads(codes[module.__name__][1]), module.__dict__)

sys.meta_path.insert(0, Frozen)
sys.path.append(path)
sys._xoptions["pyrunc"] = path
from pyrunc.cli.main import main
code = main(words)
loaded = sorted(set(sys.modules) - before)
with open(report, "w") as file:
    file.write("\\n".join(loaded))
sys.exit(code)
"""

SITE = Path(sysconfig.get_path("purelib"))


@pytest.fixture(scope="session")
def frozen_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules as the launcher carries them."""
    codes = {
        name: (freeze.is_package(name, path), freeze.frozen(name, path))
        for name, path in freeze.modules(SITE)
    }
    output: Path = tmp_path_factory.mktemp("frozen") / "modules"
    output.write_bytes(marshal.dumps(codes))
    return output


Imports = Callable[..., set[str]]


@pytest.fixture
def imports(tmp_path: Path, frozen_modules: Path) -> Imports:
    """Runs a command line as the launcher does; gives the modules that it has loaded."""

    def run(*words: str, cwd: Path | None = None, code: int = 0) -> set[str]:
        report = tmp_path / "modules"
        base = getattr(sys, "_base_executable", sys.executable)
        places = (str(SITE), str(frozen_modules), str(report))
        done = subprocess.run(
            [base, "-I", "-S", "-X", "utf8", "-c", TRACE, *places, *words],
            cwd=cwd,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        assert done.returncode == code
        return set(report.read_text().split())

    return run


def check(loaded: set[str], *, bindings: bool = False, compilers: bool = False) -> None:
    allowed = CHEAP | (BINDINGS if bindings else set())
    foreign = {name for name in loaded if name.partition(".")[0] != "pyrunc"}
    ours = {name for name in loaded - foreign if name not in BINDINGS}
    bound = loaded & BINDINGS
    assert sorted((foreign | bound) - allowed) == []
    assert sorted(ours & TALKATIVE) == []
    assert sorted(ours - PRELOADED) == [], "not in csrc/launcher/preload.py"
    if not compilers:
        assert sorted(ours & COMPILERS) == []


def test_the_frame_of_the_command_line(imports: Imports) -> None:
    """What each command has before it begins: a handful of modules."""
    loaded = imports("kill", "x", "NOSUCH", code=1)
    check(loaded)
    assert {name for name in loaded if name.startswith("pyrunc")} == {
        "pyrunc",
        "pyrunc.cli",
        "pyrunc.cli.commands",
        "pyrunc.cli.kill",
        "pyrunc.cli.main",
        "pyrunc.cli.parser",
        "pyrunc.cli.settings",
        "pyrunc.host.signal_names",
        "pyrunc.errors",
        "pyrunc.host",
        "pyrunc.host.lean_os",
        "pyrunc.log",
        "pyrunc_extensions",
    }


@pytest.mark.root
def test_hot_commands(
    imports: Imports, make_bundle: Callable[..., Any], container_id: str, runtime: Any
) -> None:
    """One life of a container, each command with its list."""
    bundle = make_bundle()
    config = json.loads((bundle.path / "config.json").read_text())
    config["process"]["args"] = ["sleep", "100"]
    config["process"]["terminal"] = False
    (bundle.path / "config.json").write_text(json.dumps(config))
    root = ("--root", str(runtime.root))

    def loaded(*words: str) -> set[str]:
        return imports(*root, *words, cwd=bundle.path)

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


@pytest.mark.root
def test_hot_commands_with_systemd(
    imports: Imports, make_bundle: Callable[..., Any], container_id: str, runtime: Any
) -> None:
    """Of jeepney only what turns messages into bytes and back, and nothing that it is not in the image for."""
    if not Path("/run/systemd/system").is_dir():
        pytest.skip("systemd does not run here")
    bundle = make_bundle()
    root = ("--root", str(runtime.root), "--systemd-cgroup")
    for words in (("create", container_id), ("delete", container_id)):
        loaded = imports(*root, *words, cwd=bundle.path)
        assert {name for name in loaded if name.startswith("jeepney")} == {
            "jeepney",
            "jeepney.low_level",
            "jeepney.wrappers",
        }
        assert loaded & {"os", "socket", "selectors", "typing"} == set()
        ours = {name for name in loaded if name.startswith("pyrunc.")} - BINDINGS
        assert sorted(ours - PRELOADED - {"pyrunc.host._shim"}) == []


def test_the_launcher_carries_the_part_of_jeepney_that_is_used() -> None:
    """Its code, without types, does as the module does."""
    names = dict(freeze.modules(SITE))
    code = marshal.loads(freeze.frozen("jeepney.low_level", names["jeepney.low_level"]))
    ours: dict[str, Any] = {"__name__": "jeepney.low_level"}
    exec(code, ours)
    assert "Optional" not in ours
    values = ("x.scope", "replace", [("Delegate", ("b", True)), ("PIDs", ("au", [1]))], [])
    theirs = new_method_call(
        DBusAddress("/a", bus_name="b.c", interface="d.e"), "F", "ssa(sv)a(sa(sv))", values
    ).serialise(serial=7)
    parser = ours["Parser"]()
    parser.add_data(theirs)
    message = parser.get_next_message()
    assert message.body == values
    assert message.serialise() == theirs
