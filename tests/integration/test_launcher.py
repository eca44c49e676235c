"""Both kinds of launcher, each built for the test and installed somewhere else (docs/design.md)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.checkout import copy_checkout
from helpers.runtime import Runtime

SITE = sysconfig.get_path("purelib")
KINDS = ("image", "shared")


def install(kind: str, directory: Path, **environment: str) -> Path:
    """Build a launcher and put it below `directory`, with the package that is installed already."""
    source = directory / "source"
    copy_checkout(source)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "build_scripts"],
        cwd=source,
        env=os.environ | {"PYRUNC_LAUNCHER": kind} | environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (launcher,) = source.glob("build/scripts-*/pyrunc")
    binary = directory / "prefix" / "bin" / "pyrunc"
    binary.parent.mkdir(parents=True)
    shutil.copy2(launcher, binary)
    (directory / "prefix" / "lib").mkdir()
    (directory / "prefix" / "lib" / "pyrunc").symlink_to(SITE)
    return binary


@pytest.fixture(scope="module", params=KINDS)
def launcher(request: pytest.FixtureRequest, workspace: Path) -> Path:
    return install(request.param, workspace / f"launcher-{request.param}")


@pytest.mark.root
def test_life_of_a_container(
    launcher: Path, runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    installed = Runtime(launcher, runtime.root)
    bundle.args("sleep", "1000")
    installed.create(container_id, bundle.path)
    installed("start", container_id)
    assert installed("exec", container_id, "echo", "in").stdout == "in\n"
    assert installed.status(container_id) == "running"
    installed("delete", "--force", container_id)


@pytest.mark.root
def test_what_only_other_commands_import(launcher: Path, runtime: Runtime, bundle: Bundle) -> None:
    installed = Runtime(launcher, runtime.root)
    bundle.config["process"]["args"] = "none"
    bundle.save()
    done = installed("validate", bundle.path, check=False)
    assert done.returncode == 1
    assert "/process/args" in done.stdout + done.stderr
    assert "seccomp" in installed("features").stdout


def test_arguments_and_environment_are_those_of_the_process(launcher: Path, tmp_path: Path) -> None:
    """Also such as are not text, and nothing that is meant for Python."""
    (tmp_path / "json.py").write_text("raise SystemExit(99)")
    environment = {
        b"PYTHONPATH": os.fsencode(tmp_path),
        b"PYTHONHOME": b"/nowhere",
        b"PYTHONUNBUFFERED": b"1",
        b"XDG_RUNTIME_DIR": os.fsencode(tmp_path) + b"/\xff",
    }
    done = subprocess.run(
        [launcher, "state", b"no\xff"], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"no" in done.stderr
    done = subprocess.run([launcher, "--help"], env=environment, capture_output=True, check=True)
    assert b"Usage" in done.stdout


def test_output_goes_on_where_the_file_is(launcher: Path, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("first\n")
    with path.open("a") as file:
        file.seek(0, os.SEEK_END)
        subprocess.run([launcher, "--version"], stdout=file, check=True)
        subprocess.run([launcher, "--version"], stdout=file, check=True)
    lines = path.read_text().splitlines()
    assert lines[0] == "first"
    assert lines[1:] == lines[1 : 1 + len(lines) // 2] * 2


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_standard_files_may_be_closed(launcher: Path, closed: int) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" --version {closed}>&-', launcher], capture_output=True, check=True
    )
    assert (b"pyrunc" in done.stdout) == (closed != 1)


def test_the_image_is_the_same_whenever_it_is_made(workspace: Path) -> None:
    made = {
        install("image", workspace / f"image-{name}", SOME_NAME=name * 100).read_bytes()
        for name in ("a", "b")
    }
    if not any(b"pyrunc_preload" in image for image in made):
        pytest.skip("Python has no static library here")
    assert len(made) == 1
