"""This checkout, for what is built from it somewhere else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def copy_checkout(target: Path) -> None:
    """Copy the files that git tracks, as they are now, into a directory that is made."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=REPOSITORY, text=True)
    for name in listed.rstrip("\0").split("\0"):
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, file)
