"""The specification's own files, to which the tests hold ours."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = "github.com/opencontainers/runtime-spec@v1.3.0"


@pytest.fixture(scope="session")
def specification() -> Path:
    """The directory of runtime-spec 1.3.0, as the Go tool fetches it."""
    if shutil.which("go") is None:
        pytest.skip("go is missing: it fetches runtime-spec")
    done = subprocess.run(
        ["go", "mod", "download", "-json", MODULE],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd="/",  # whatever go.mod there is here
    )
    return Path(json.loads(done.stdout)["Dir"])
