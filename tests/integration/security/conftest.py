"""Fixtures of the tests that attack the runtime."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.attacker import Attackers
from helpers.runtime import Runtime


@pytest.fixture(scope="session")
def attackers(workspace: Path) -> Attackers:
    """The programs that attack."""
    return Attackers(workspace / "attackers")


@pytest.fixture
def runc(make_runtime: Callable[[Path], Runtime]) -> Runtime:
    """Debian's runc, to show that an attack works where there is no defence."""
    path = Path("/usr/sbin/runc")
    if not path.exists():
        pytest.fail("no runc: scripts/install-deps test")
    return make_runtime(path)


@pytest.fixture
def copied_runtime(
    runtime_binary: Path, workspace: Path, make_runtime: Callable[[Path], Runtime]
) -> Runtime:
    """A copy of the runtime and its package, which may be overwritten."""
    prefix = workspace / "copied"
    if prefix.exists():
        shutil.rmtree(prefix)
    packages = next(runtime_binary.parent.parent.glob("lib/python3*/site-packages"))
    target = prefix / "lib" / "pyrunc"
    target.mkdir(parents=True)
    shutil.copytree(packages / "pyrunc", target / "pyrunc")
    for extension in packages.glob("_cffi_backend*.so"):
        shutil.copy(extension, target)
    (prefix / "bin").mkdir()
    shutil.copy(runtime_binary, prefix / "bin")
    return make_runtime(prefix / "bin" / runtime_binary.name)
