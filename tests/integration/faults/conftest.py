"""Fixtures of the tests with faults: a container to suffer them, and one that must not notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import NewId
from helpers.bundle import Bundle
from helpers.leaks import Leaks
from helpers.runtime import Runtime
from helpers.victim import Victim


@pytest.fixture
def bystander(
    runtime_binary: Path,
    make_runtime: Callable[[Path], Runtime],
    make_bundle: Callable[[], Bundle],
    new_id: NewId,
) -> Iterator[None]:
    """Another container, which must not notice."""
    tested = make_runtime(runtime_binary)
    name = new_id()
    tested.detached("run", name, make_bundle().args("sleep", "10000").path, "--detach")
    before = tested.state(name)
    yield
    assert tested.state(name) == before
    assert tested("exec", name, "echo", "here").stdout == "here\n"


@pytest.fixture
def victim(
    bystander: None, runtime: Runtime, bundle: Bundle, workspace: Path, prefix: str, new_id: NewId
) -> Victim:
    bundle.config["linux"]["resources"]["pids"] = {"limit": 100}
    bundle.args("sleep", "10000")
    runtime.root.mkdir()
    return Victim(runtime, bundle, Leaks(workspace, prefix), new_id)
