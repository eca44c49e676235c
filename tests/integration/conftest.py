"""Fixtures of the tests with a real kernel."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.cgroups import Sleepers
from helpers.runtime import Runtime, SystemdRuntime


@pytest.fixture
def sleeper() -> Iterator[Sleepers]:
    """Starts processes that sleep; they are ended afterwards."""
    sleepers = Sleepers()
    yield sleepers
    sleepers.close()


@pytest.fixture
def runc(make_runtime: Callable[[Path], Runtime]) -> Runtime:
    """Debian's runc, to compare with."""
    path = shutil.which("runc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        pytest.skip("runc is not installed")
    return make_runtime(Path(path))


@pytest.fixture
def systemd_runtime(runtime_binary: Path, workspace: Path, container_id: str) -> Iterator[Runtime]:
    """The runtime under test, with --systemd-cgroup; its containers are deleted afterwards."""
    runtime = SystemdRuntime(runtime_binary, workspace / f"state-{container_id}")
    yield runtime
    runtime.clean()
    shutil.rmtree(runtime.root, ignore_errors=True)
