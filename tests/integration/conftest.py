"""Fixtures of the tests with a real kernel."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
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
def systemd_runtime(runtime_binary: Path, workspace: Path, container_id: str) -> Iterator[Runtime]:
    """The runtime under test, with --systemd-cgroup; its containers are deleted afterwards."""
    runtime = SystemdRuntime(runtime_binary, workspace / f"state-{container_id}")
    yield runtime
    runtime.clean()
    shutil.rmtree(runtime.root, ignore_errors=True)
