"""The executable `pyrunc`: it finds its package and interpreter by itself, whoever calls it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

PYRUNC = Path(sys.executable).with_name("pyrunc")
SOURCE = Path(__file__).parents[3] / "csrc" / "launcher" / "launcher.c"
FREEZE = SOURCE.with_name("freeze.py")

PROBE = """
import sys

def main(words):
    sys.stdout.write(repr({
        "words": words,
        "path": sys.path,
        "isolated": sys.flags.isolated,
        "no_site": sys.flags.no_site,
        "utf8": sys.flags.utf8_mode,
        "executable": sys.executable,
        "version": sys.version_info[:2],
        "site": "site" in sys.modules,
    }))
    sys.stdout.flush()
    return int(words[0]) if words else 0
"""

SIGNALS = """
import posix

def main(words):
    reader, writer = posix.pipe()
    posix.close(reader)
    try:
        posix.write(writer, b"x")
    except BrokenPipeError:
        posix.execv("/bin/cat", ["cat", "/proc/self/status"])
    return 1
"""


def run(line: list[str | bytes | Path], **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(line, capture_output=True, check=False, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(params=["libpython", "interpreter"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A prefix whose bin/pyrunc is built for this interpreter, with a package that tells of itself.

    Built with libpython and without: then it executes the interpreter.
    """
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("Python.h is not installed")
    base = getattr(sys, "_base_executable", sys.executable)
    show = "import sys; print(*[p for p in sys.path if not p.endswith('.zip')], sep='\\n')"
    paths = run([base, "-I", "-S", "-c", show]).stdout.decode().splitlines()
    library = Path(
        sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME") or "-"
    )
    if request.param == "interpreter":
        library = Path("/nonexistent/libpython.so")
    elif not library.is_file():
        pytest.skip(f"{library} is not installed")
    values = {
        "PYTHON": base,
        "PYTHON_NAME": f"python{sys.version_info[0]}.{sys.version_info[1]}",
        "LIBPYTHON": str(library),
        "PREFIX": sys.base_prefix,
        "EXEC_PREFIX": sys.base_exec_prefix,
    }
    lines = [f'#define PYRUNC_{name} "{value}"' for name, value in values.items()]
    lines.append("#define PYRUNC_STDLIB_PATHS " + "".join(f'"{path}",' for path in paths))
    lines.append(f'#define PYRUNC_SITE_PATHS "{tmp_path}/system",')
    (tmp_path / "launcher_config.h").write_text("\n".join(lines) + "\n")
    (tmp_path / "prefix" / "bin").mkdir(parents=True)
    compile_launcher(tmp_path)
    return tmp_path / "prefix"


def compile_launcher(work: Path) -> None:
    """Compile it with the headers in `work`, to `work`/prefix/bin/pyrunc."""
    output = work / "prefix" / "bin" / "pyrunc"
    flags = ["-D_GNU_SOURCE", f"-I{work}", f"-I{sysconfig.get_path('include')}"]
    done = run(["gcc", *flags, SOURCE, "-o", output, "-ldl"])
    assert done.returncode == 0, done.stderr.decode()


def install(directory: Path) -> Path:
    """Put the package that tells of itself into a directory."""
    (directory / "pyrunc" / "cli").mkdir(parents=True)
    (directory / "pyrunc" / "__init__.py").write_text("")
    (directory / "pyrunc" / "cli" / "__init__.py").write_text("")
    (directory / "pyrunc" / "cli" / "main.py").write_text(PROBE)
    return directory


def told(done: subprocess.CompletedProcess[bytes]) -> dict[str, object]:
    assert done.stderr == b""
    return eval(done.stdout)  # type: ignore[no-any-return]


LAYOUTS = [
    "lib/pyrunc",
    f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages",
    f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/dist-packages",
    "lib/python3/dist-packages",
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_finds_the_package(tree: Path, layout: str) -> None:
    package = install(tree / layout)
    answer = told(run([tree / "bin" / "pyrunc", "0", "a"], env={}, cwd="/"))
    assert answer["words"] == ["0", "a"]
    assert str(package) in answer["path"]  # type: ignore[operator]
    assert answer["version"] == sys.version_info[:2]
    system = f"{tree.parent}/system" in answer["path"]  # type: ignore[operator]
    assert system is (layout != "lib/pyrunc")


def test_the_interpreter_is_isolated(tree: Path, tmp_path: Path) -> None:
    install(tree / "lib/pyrunc")
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("os", "sitecustomize", "pyrunc", "encodings"):
        (evil / f"{name}.py").write_text("raise SystemExit('evil')")
    environment = {"PYTHONPATH": str(evil), "PYTHONHOME": str(evil), "PYTHONSTARTUP": str(evil)}
    answer = told(run([tree / "bin" / "pyrunc"], env=environment, cwd=evil))
    assert (answer["isolated"], answer["no_site"], answer["utf8"]) == (1, 1, 1)
    assert answer["site"] is False


@pytest.mark.parametrize("closed", [True, False])
def test_in_a_virtual_environment(tree: Path, closed: bool) -> None:
    install(tree / LAYOUTS[1])
    flag = "false" if closed else "true"
    (tree / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = {flag}\n")
    answer = told(run([tree / "bin" / "pyrunc"]))
    assert (f"{tree.parent}/system" in answer["path"]) is not closed  # type: ignore[operator]


def test_called_by_other_names(tree: Path, tmp_path: Path) -> None:
    install(tree / "lib/pyrunc")
    link = tmp_path / "runc"
    link.symlink_to(tree / "bin" / "pyrunc")
    assert told(run([link, "0"]))["words"] == ["0"]
    answer = told(run([b"-odd name", b"0"], executable=os.fsencode(link), env={}))
    assert answer["words"] == ["0"]
    assert answer["executable"] == getattr(sys, "_base_executable", sys.executable)


def test_bytes_and_exit_codes(tree: Path) -> None:
    install(tree / "lib/pyrunc")
    program = os.fsencode(tree / "bin" / "pyrunc")
    done = run([program, b"37", b"\xff\xe4", b"", "ä".encode()], env={"LC_ALL": "C"})
    assert told(done)["words"] == ["37", "\udcff\udce4", "", "ä"]
    assert done.returncode == 37


def test_closed_descriptors_are_not_taken_for_files(tree: Path) -> None:
    install(tree / "lib/pyrunc")
    program = """
import posix

def main(words):
    links = [posix.readlink(f"/proc/self/fd/{fd}") for fd in range(3)]
    fd = posix.open(words[0], posix.O_WRONLY | posix.O_CREAT)
    posix.write(fd, repr((fd > 2, links)).encode())
    print("lost", flush=True)
    return 0
"""
    (tree / "lib/pyrunc/pyrunc/cli/main.py").write_text(program)
    output = tree / "output"
    line = f"exec {tree}/bin/pyrunc {output} <&- >&- 2>&-"
    assert run(["/bin/sh", "-c", line]).returncode == 0
    assert output.read_text() == repr((True, ["/dev/null"] * 3))


def test_without_a_package_it_says_where_it_looked(tree: Path) -> None:
    done = run([tree / "bin" / "pyrunc"])
    assert done.returncode == 1
    assert f"looked for {tree}/lib/pyrunc" in done.stderr.decode()


def test_the_installed_one_needs_no_environment() -> None:
    done = run([PYRUNC, "--version"], env={}, cwd="/", stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert done.stdout.startswith(b"pyrunc version ")


def test_signals(tree: Path) -> None:
    """A write to a closed pipe fails, but programs that are executed do not ignore SIGPIPE."""
    install(tree / "lib/pyrunc")
    (tree / "lib/pyrunc/pyrunc/cli/main.py").write_text(SIGNALS)
    done = run([tree / "bin" / "pyrunc"])
    assert done.stderr == b""
    masks = dict(line.split(":") for line in done.stdout.decode().splitlines() if "Sig" in line)
    assert int(masks["SigIgn"], 16) & (1 << (signal.SIGPIPE - 1)) == 0
    assert masks["SigCgt"].split() == ["0" * 16]


FROZEN = """
import sys
from pyrunc import part
from pyrunc.part import cold

def main(words):
    loaders = {name: module.__spec__.origin for name, module in sys.modules.items()
               if name.startswith(("pyrunc", "encodings")) and module.__spec__}
    sys.stdout.write(repr((loaders, part.__path__, cold.HERE, main.__doc__)))
    sys.stdout.flush()
    return 0
"""


@pytest.mark.parametrize("tree", ["libpython"], indirect=True)
def test_modules_in_the_executable(tree: Path) -> None:
    """They are used instead of the files, and find those that are not in it."""
    package = install(tree / "lib/pyrunc") / "pyrunc"
    (package / "cli" / "main.py").write_text(FROZEN)
    (package / "part").mkdir()
    (package / "part" / "__init__.py").write_text(
        '"""A docstring."""\nfrom __future__ import annotations\n'
    )
    (package / "part" / "cold.py").write_text("HERE = __file__\n")
    freeze = run([sys.executable, FREEZE, package.parent, tree.parent])
    assert (freeze.returncode, freeze.stderr) == (0, b"")
    compile_launcher(tree.parent)
    (package / "cli" / "main.py").write_text("raise SystemExit('not this one')")
    done = run([tree / "bin" / "pyrunc"])
    assert done.stderr == b""
    loaders, path, file, _ = eval(done.stdout)
    assert path == [str(package / "part")]
    assert file == str(package / "part" / "cold.py")
    assert loaders.pop("pyrunc.part.cold") == file
    assert set(loaders.values()) == {"frozen"}
    assert "encodings" in loaders
    assert "encodings.utf_8" not in loaders


FREED_OF_TYPES = """
from __future__ import annotations
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nowhere import Unknown
    raise SystemExit("not reached")

class Kept:
    field: Unknown

if not TYPE_CHECKING:
    def main(words: list[Unknown]) -> Unknown:
        import sys
        sys.stdout.write(repr((main.__annotations__, Kept.__annotations__)))
        sys.stdout.flush()
        return 0
else:
    def main(words): ...
"""


@pytest.mark.parametrize("tree", ["libpython"], indirect=True)
def test_modules_in_the_executable_have_no_types_but_those_of_classes(tree: Path) -> None:
    assert frozen_output(tree, FREED_OF_TYPES) == ({}, {"field": "Unknown"})


CODECS = """
import sys

def main(words):
    lean = "codecs" not in sys.modules
    import codecs
    text = "grün, 漢字, \\U0001f600, \\udcff"
    data = text.encode("utf-8", "surrogateescape")
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    pieces = "".join(decode.decode(data[i:i + 1]) for i in range(len(data)))
    info = codecs.lookup("utf-8")
    others = [codecs.lookup(name).name for name in ("latin-1", "utf-16", "ascii", "utf8")]
    try:
        "".encode("no such codec")
    except LookupError as error:
        others.append(str(error))
    writer = info.streamwriter.__name__
    import io
    read = io.TextIOWrapper(io.BytesIO("a\\r\\nü".encode()), "utf-8").read()
    sys.stdout.write(repr((lean, pieces == text, info.name, others, writer, read)))
    sys.stdout.flush()
    return 0
"""


@pytest.mark.parametrize("tree", ["libpython"], indirect=True)
def test_codecs_in_the_executable(tree: Path) -> None:
    """It starts with the codec of UTF-8 alone; all the others are there when they are asked for."""
    names = ["iso8859-1", "utf-16", "ascii", "utf-8", "unknown encoding: no such codec"]
    answer = frozen_output(tree, CODECS)
    assert answer == (True, True, "utf-8", names, "StreamWriter", "a\nü")


EXTENSIONS = """
import sys

def main(words):
    import _json
    listed = [path for path in sys.path_importer_cache if path.startswith("/usr")]
    sys.stdout.write(repr((_json.__spec__.loader.path, listed)))
    sys.stdout.flush()
    return 0
"""


@pytest.mark.parametrize("tree", ["libpython"], indirect=True)
def test_extension_modules_are_found_without_a_search(tree: Path) -> None:
    import _json

    if _json.__spec__.origin in (None, "built-in"):
        pytest.skip("_json is built into this interpreter")
    assert frozen_output(tree, EXTENSIONS) == (_json.__spec__.origin, [])


def frozen_output(tree: Path, program: str) -> object:
    """What a program as pyrunc.cli.main writes, when it is a part of the executable."""
    package = install(tree / "lib/pyrunc") / "pyrunc"
    (package / "cli" / "main.py").write_text(program)
    freeze = run([sys.executable, FREEZE, package.parent, tree.parent])
    assert (freeze.returncode, freeze.stderr) == (0, b"")
    compile_launcher(tree.parent)
    (package / "cli" / "main.py").unlink()
    (package / "cli" / "main.py").touch()
    done = run([tree / "bin" / "pyrunc"])
    assert done.stderr == b""
    return eval(done.stdout)


STREAMS = """
import sys

def main(words):
    lean = "abc" not in sys.modules
    import io
    wrapper = io.TextIOWrapper
    from io import BytesIO, StringIO
    class Stream(io.RawIOBase):
        pass
    kinds = (isinstance(sys.stdout, io.TextIOBase), isinstance(Stream(), io.IOBase))
    names = {}
    exec("from io import *", names)
    sys.stdout.write(repr((lean, wrapper is io.TextIOWrapper, kinds, "SEEK_SET" in names)))
    sys.stdout.flush()
    return 0
"""


@pytest.mark.parametrize("tree", ["libpython"], indirect=True)
def test_streams_in_the_executable(tree: Path) -> None:
    """`io` has what the standard streams need, and becomes the whole module when it is asked for more."""
    assert frozen_output(tree, STREAMS) == (True, True, (True, True), True)
