"""Builds what pyproject.toml cannot say: cffi modules, static `pyrunc-init`, launcher `pyrunc`.

Environment:
    PYRUNC_INIT_LIBC: `musl` (musl-gcc), or `native` (the C library that CC uses). Default: musl
        where musl-gcc is installed. A musl init has a twentieth of the size and starts in an
        eighth of the time of a glibc one; it is copied to a memfd for each container, and counts
        against the container's memory limit until `start`.
    PYRUNC_LAUNCHER: `image` (the interpreter is part of the launcher, already initialised), or
        `shared` (the launcher loads libpython). Default: image, where Python has a static library.
    CC: the compiler; default gcc.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from glob import glob
from pathlib import Path
from typing import ClassVar, NamedTuple

from setuptools import Command, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

# setuptools has no such command of its own; it puts its copy of distutils in place on import.
from distutils.command.build_scripts import build_scripts  # isort: skip


ROOT = Path(__file__).parent.resolve()
CC = shlex.split(os.environ.get("CC", "gcc"))
HEADERS = [Path(p) for p in glob("csrc/**/*.h", recursive=True)]
CFFI_MODULES = ["pyrunc/host/shim_build.py:ffi", "pyrunc/host/seccomp_build.py:ffibuilder"]

MACHINE = os.uname().machine
HARDENING = [
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=3",
    "-fstack-protector-strong",
    "-fstack-clash-protection",
]
if MACHINE in ("x86_64", "i686"):
    HARDENING.append("-fcf-protection")
elif MACHINE == "aarch64":
    HARDENING.append("-mbranch-protection=standard")
CFLAGS = [
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wformat=2",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-D_GNU_SOURCE",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
    *HARDENING,
]
LDFLAGS = ["-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,--as-needed"]


def output_of(command: list[str]) -> str:
    """Standard output and error of a command, without the final newline."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return done.stdout.strip()


def compile_c(output: Path, sources: list[Path], command: list[str], depends: list[Path]) -> None:
    """Run `command` unless `output` is newer than its inputs and made by the same command."""
    line = shlex.join(command)
    record = output.with_name(output.name + ".command")
    inputs = [*sources, *depends]
    if (
        output.exists()
        and record.exists()
        and record.read_text() == line
        and all(output.stat().st_mtime >= path.stat().st_mtime for path in inputs)
    ):
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    print(f"compiling {output}", flush=True)
    subprocess.run(command, check=True)
    record.write_text(line)


def write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Toolchain(NamedTuple):
    """What a C library adds to the command line: flags, and what is linked around the sources."""

    flags: list[str]
    before: list[str]
    after: list[str]


def kernel_headers(directory: Path) -> Path:
    """A directory with only the kernel's headers: musl has none; those beside them are glibc's."""
    multiarch = output_of([*CC, "-print-multiarch"])
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("linux", "asm", "asm-generic"):
        places = [Path("/usr/include", multiarch, name), Path("/usr/include", name)]
        found = next((place for place in places if place.is_dir()), None)
        if found is None:
            raise SystemExit(f"kernel headers <{name}/…> not found: install linux-libc-dev")
        link = directory / name
        if not link.is_symlink() or link.readlink() != found:
            link.unlink(missing_ok=True)
            link.symlink_to(found)
    return directory


def musl_toolchain(work: Path) -> Toolchain:
    """As `musl-gcc` does, but to a static PIE (which it cannot link) and with kernel headers."""
    specs = re.search(r"Reading specs from (\S+)", output_of(["musl-gcc", "-v"]))
    library = Path(specs[1]).parent if specs else Path("/usr/local/musl/lib")
    include = re.search(r"-nostdinc -isystem (\S+)", (library / "musl-gcc.specs").read_text())
    if include is None:
        raise SystemExit(f"{library}/musl-gcc.specs names no directory of headers")

    def gcc(name: str) -> str:
        return output_of([*CC, f"-print-file-name={name}"])

    kernel = kernel_headers(work / "kernel-headers")
    directories = (include[1], gcc("include"), str(kernel))
    libraries = ["-Wl,--start-group", "-lc", "-lgcc", "-Wl,--end-group"]
    ends = [gcc("crtendS.o"), f"{library}/crtn.o"]
    return Toolchain(
        flags=["-nostdinc", *(flag for path in directories for flag in ("-isystem", path))],
        before=[f"{library}/rcrt1.o", f"{library}/crti.o", gcc("crtbeginS.o")],
        after=["-nostdlib", f"-L{library}", *libraries, *ends, "-Wl,--no-dynamic-linker"],
    )


def init_toolchain(work: Path) -> Toolchain:
    default = "musl" if shutil.which("musl-gcc") else "native"
    name = os.environ.get("PYRUNC_INIT_LIBC") or default
    if name == "musl":
        return musl_toolchain(work)
    if name == "native":
        return Toolchain([], [], [])
    raise SystemExit(f"PYRUNC_INIT_LIBC={name}: must be musl or native")


def build_init(output: Path, work: Path) -> bool:
    """The static executor of plans; False where there are no sources of it."""
    sources = [Path(p) for d in ("init", "common") for p in sorted(glob(f"csrc/{d}/*.c"))]
    if not sources:
        return False
    toolchain = init_toolchain(work)
    command = [
        *(*CC, "-Os", *CFLAGS, "-fPIE", "-ffunction-sections", "-fdata-sections"),
        *(*toolchain.flags, "-Icsrc", "-static-pie", *LDFLAGS, "-Wl,--gc-sections", "-s"),
        *("-o", str(output), *toolchain.before, *map(str, sources), *toolchain.after),
    ]
    compile_c(output, sources, command, [*HEADERS, Path("setup.py")])
    return True


def interpreter_config() -> str:
    """`launcher_config.h`: the paths of this interpreter, or of the one under its environment."""
    python = getattr(sys, "_base_executable", sys.executable)
    show = "import sys; print(*sys.path, sep='\\n')"
    stdlib = output_of([python, "-I", "-S", "-c", show]).splitlines()
    show = "import site; print(*site.getsitepackages(), sep='\\n')"
    site = output_of([python, "-I", "-c", show]).splitlines()
    libpython = ""
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        directory, name = map(sysconfig.get_config_var, ("LIBDIR", "INSTSONAME"))
        if os.path.exists(f"{directory}/{name}"):
            libpython = f"{directory}/{name}"

    def string(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def strings(paths: list[str]) -> str:
        return " ".join(string(p) + "," for p in paths if os.path.isdir(p))

    values = {
        "PYRUNC_PYTHON": string(python),
        "PYRUNC_PYTHON_NAME": string(f"python{sys.version_info[0]}.{sys.version_info[1]}"),
        "PYRUNC_LIBPYTHON": string(libpython),
        "PYRUNC_PREFIX": string(sys.base_prefix),
        "PYRUNC_EXEC_PREFIX": string(sys.base_exec_prefix),
        "PYRUNC_STDLIB_PATHS": strings(stdlib),
        "PYRUNC_SITE_PATHS": strings(site),
    }
    return "".join(f"#define {name} {value}\n" for name, value in values.items())


def static_libpython() -> list[str]:
    """What links the interpreter into the launcher; [] where there is none to link."""
    kind = os.environ.get("PYRUNC_LAUNCHER", "image")
    if kind not in ("image", "shared"):
        raise SystemExit(f"PYRUNC_LAUNCHER={kind}: must be image or shared")
    library = os.path.join(*map(sysconfig.get_config_var, ("LIBPL", "LIBRARY")))
    if kind == "shared" or MACHINE not in ("x86_64", "aarch64") or not os.path.exists(library):
        return []
    variables = map(sysconfig.get_config_var, ("MODLIBS", "LIBS", "SYSLIBS"))
    words = [word for value in variables for word in (value or "").split()]

    def is_static(word: str) -> bool:
        return os.path.isabs(output_of([*CC, f"-print-file-name=lib{word[2:]}.a"]))

    # not every system has these, and they are small
    inside = [word for word in ("-lexpat", "-lz") if word in words and is_static(word)]
    return [
        *(library, "-Wl,-Bstatic", *inside, "-Wl,-Bdynamic"),
        *dict.fromkeys(word for word in words if word not in inside),
    ]


def build_launcher(output: Path, work: Path, packages: Path) -> None:
    """The `pyrunc` of bin/, with the modules that were built into `packages`."""
    config = work / "launcher_config.h"
    write_if_changed(config, interpreter_config())
    # lines are enough to find an error by; columns would double what has to be loaded for that
    freeze = [sys.executable, "-X", "no_debug_ranges", "csrc/launcher/freeze.py"]
    freeze += [str(packages), str(work)]
    subprocess.run(freeze, check=True)
    inputs = [config, work / "frozen_modules.h", work / "frozen_modules.bin", Path("setup.py")]
    includes = [f"-I{work}", "-isystem", sysconfig.get_path("include")]
    sources = [Path("csrc/launcher/launcher.c")]
    libraries = static_libpython()
    if not libraries:
        command = [*CC, "-O2", *CFLAGS, "-fPIE", "-pie", *LDFLAGS, "-s", *includes]
        command += ["-o", str(output), *map(str, sources), "-ldl"]
        compile_c(output, sources, command, inputs)
        return
    # an interpreter that starts from nothing, and from it the one that is installed: image.c
    blank = work / "pyrunc-blank"
    sources.append(Path("csrc/launcher/image.c"))
    wraps = [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc", "free")]
    command = [*CC, "-O2", *CFLAGS, "-DPYRUNC_IMAGE", "-fno-pie", "-no-pie", *includes, *LDFLAGS]
    command += [*wraps, "-Wl,--export-dynamic", "-s", "-o", str(blank), *map(str, sources)]
    compile_c(blank, sources, [*command, *libraries], [*inputs, *HEADERS])
    if not output.exists() or output.stat().st_mtime <= blank.stat().st_mtime:
        output.unlink(missing_ok=True)
        subprocess.run([str(blank), "--make-image", str(output)], check=True)


class BuildPy(build_py):
    """Generates the check of config.json, and leaves out what only the build needs."""

    def run(self) -> None:
        generator = Path("pyrunc/spec/codegen.py")
        target = Path("pyrunc/spec/_check.py")
        if generator.exists():
            inputs = [p for p in Path("pyrunc/spec").rglob("*") if p.suffix in (".py", ".json")]
            newest = max(p.stat().st_mtime for p in inputs if p != target)
            if not target.exists() or target.stat().st_mtime < newest:
                environment = os.environ | {"PYTHONPATH": str(ROOT)}
                command = [sys.executable, "-m", "pyrunc.spec.codegen"]
                subprocess.run(command, check=True, env=environment)
                target.touch()
        super().run()
        self.remove_stale()

    def remove_stale(self) -> None:
        """Delete what earlier builds put into the build directory and that is no more."""
        kept = {Path(path).resolve() for path in self.get_outputs()}
        for path in Path(self.build_lib, "pyrunc").rglob("*"):
            if path.suffix in (".py", ".json", ".pyi") and path.resolve() not in kept:
                path.unlink()

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        modules = super().find_package_modules(package, package_dir)
        return [m for m in modules if not m[1].endswith("_build")]


class BuildExt(build_ext):
    """Builds the cffi modules, and `pyrunc-init` beside them."""

    def run(self) -> None:
        for extension in self.extensions:
            extension.depends = [*extension.depends, *map(str, HEADERS), "setup.py"]
            # nothing in the package tells where it was built
            extension.extra_compile_args += [*HARDENING, f"-ffile-prefix-map={ROOT}=."]
            extension.extra_link_args += LDFLAGS
        super().run()
        work = Path(self.build_temp)
        target = Path("." if self.inplace else self.build_lib, "pyrunc/libexec/pyrunc-init")
        if build_init(work / "pyrunc-init", work):
            self.mkpath(str(target.parent))
            self.copy_file(str(work / "pyrunc-init"), str(target))


class BuildScripts(build_scripts):
    """Compiles the launcher where scripts would be copied."""

    def run(self) -> None:
        self.mkpath(self.build_dir)
        build = self.get_finalized_command("build")
        work = Path(build.build_temp)
        build_launcher(work / "pyrunc", work, Path(build.build_lib))
        self.copy_file(str(work / "pyrunc"), os.path.join(self.build_dir, "pyrunc"))

    def get_source_files(self) -> list[str]:
        return list(self.scripts)


# Without those of its checkers that do not know of cleanup attributes.
CLANG_ANALYZER = [
    *("clang", "--analyze", "-Xclang", "-analyzer-werror", "-Xclang", "-analyzer-output=text"),
    *("-Xclang", "-analyzer-disable-checker=unix.Malloc,deadcode.DeadStores"),
    *("-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"),
]


class Analyze(Command):
    """Runs the compilers' static analysers over all C sources (`make lint`)."""

    description = "check the C sources with gcc -fanalyzer and clang --analyze"
    user_options: ClassVar[list[tuple[str, str, str]]] = []

    def initialize_options(self) -> None:
        pass

    def finalize_options(self) -> None:
        pass

    def run(self) -> None:
        work = Path(self.get_finalized_command("build").build_temp)
        write_if_changed(work / "launcher_config.h", interpreter_config())
        for source in sorted(glob("csrc/**/*.c", recursive=True)):
            output = work / "analyze" / source.replace("/", "-").replace(".c", ".o")
            includes = ["-Icsrc", f"-I{work}", "-isystem", sysconfig.get_path("include")]
            includes.append("-DPYRUNC_IMAGE")
            for name, command in (
                ("gcc", [*CC, "-O2", "-fanalyzer", *CFLAGS, "-fPIC", "-c"]),
                ("clang", CLANG_ANALYZER),
            ):
                target = output.with_suffix(f".{name}")
                line = [*command, *includes, "-o", str(target), source]
                compile_c(target, [Path(source)], line, [*HEADERS, Path("setup.py")])


class PlatformDistribution(Distribution):
    """There is machine code in the package, also where no extension module is."""

    def has_ext_modules(self) -> bool:
        return True


os.chdir(ROOT)
setup(
    distclass=PlatformDistribution,
    packages=[str(p.parent).replace("/", ".") for p in sorted(Path("pyrunc").rglob("__init__.py"))],
    package_data={"": ["*.json", "py.typed"]},
    scripts=["csrc/launcher/launcher.c"],
    cffi_modules=[m for m in CFFI_MODULES if os.path.exists(m.partition(":")[0])],
    cmdclass={
        "build_py": BuildPy,
        "build_ext": BuildExt,
        "build_scripts": BuildScripts,
        "analyze": Analyze,
    },
)
