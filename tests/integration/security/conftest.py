"""Fixtures of the tests that attack the runtime."""

from __future__ import annotations

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
