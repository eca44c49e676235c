"""What is built: hardened, and the same from the same sources wherever it is built."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.checkout import copy_checkout

from pyrunc.host import shim


def output_of(*command: str | Path, cwd: Path | None = None) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout


def is_image(launcher: Path) -> bool:
    return b"pyrunc_preload" in launcher.read_bytes()


@pytest.fixture(params=["launcher", "init", "_shim", "_seccomp"])
def built(request: pytest.FixtureRequest, runtime_binary: Path) -> Iterator[Path]:
    """One file of machine code after the other."""
    host = Path(shim.__file__).parent
    if request.param == "launcher":
        yield runtime_binary
    elif request.param == "init":
        yield Path(shim.init_path())
    else:
        (module,) = host.glob(f"{request.param}.*.so")
        yield module


def test_it_can_be_loaded_anywhere(built: Path, runtime_binary: Path) -> None:
    """Position-independent, without text relocations; but the image (docs/design.md) is at one address."""
    if built == runtime_binary and is_image(built):
        assert re.search(r"Type:\s+EXEC", output_of("readelf", "-hW", built))
        return
    assert re.search(r"Type:\s+DYN", output_of("readelf", "-hW", built))
    assert "TEXTREL" not in output_of("readelf", "-dW", built)


def test_its_relocations_are_read_only(built: Path) -> None:
    assert "GNU_RELRO" in output_of("readelf", "-lW", built)
    assert re.search(r"BIND_NOW|Flags:.* NOW", output_of("readelf", "-dW", built))


def test_no_memory_is_writable_and_executable(built: Path) -> None:
    segments = output_of("readelf", "-lW", built)
    assert re.search(r"GNU_STACK .* RW ", segments)
    assert not re.search(r" RWE ", segments)


def test_it_looks_for_libraries_in_no_other_place(built: Path) -> None:
    assert not re.search("RPATH|RUNPATH", output_of("readelf", "-dW", built))


def test_the_init_needs_nobody() -> None:
    """Nothing of the container's file system is loaded by it."""
    assert "INTERP" not in output_of("readelf", "-lW", shim.init_path())
    assert "NEEDED" not in output_of("readelf", "-dW", shim.init_path())


def test_stacks_are_protected(built: Path) -> None:
    if built == Path(shim.init_path()):
        # it has no symbols: the canary lies at a fixed place of the thread
        code = output_of("objdump", "-d", built)
        assert len(re.findall(r"%fs:0x28|tpidr_el0", code)) > 20
    else:
        assert "__stack_chk_fail" in output_of("readelf", "-DsW", built)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="not x86-64")
def test_branches_are_protected(built: Path) -> None:
    if is_image(built):  # it has no sections that a disassembler could find
        assert built.read_bytes().count(bytes.fromhex("f30f1efa")) > 5  # ours, not the interpreter
    else:
        assert "endbr64" in output_of("objdump", "-d", built)


def test_functions_of_the_c_library_are_checked(runtime_binary: Path) -> None:
    assert "__vasprintf_chk" in output_of("readelf", "-DsW", runtime_binary)


@pytest.mark.slow
def test_the_wheel_is_reproducible(tmp_path: Path) -> None:
    digests = set()
    for place in ("here", "elsewhere/and/deeper"):
        copy = tmp_path / place
        copy_checkout(copy)
        flags = ("--no-build-isolation", "--no-deps", "--quiet", "-w", copy / "out")
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", *flags, copy],
            check=True,
            env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
        )
        (wheel,) = (copy / "out").iterdir()
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1
