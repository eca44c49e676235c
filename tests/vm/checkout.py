"""The disk that carries the checkout, its virtual environment and the plan of a run into the machine."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from vm.images import make_disk, run
from vm.sessions import Session

#: Parts of the virtual environment that only serve development; half of its size.
LEFT_OUT = ("mypy", "mypyc", "ruff", "pip", "setuptools", "librt", "ast_serialize")

#: What is built outside because the machine has no compilers.
BUILT = (Path("build/cri-tools/crictl"),)


def is_needed(path: Path) -> bool:
    """Whether a file of the virtual environment is needed in the machine; `path` is relative to it."""
    parts = path.parts
    if parts[0] == "bin":
        return parts[-1] not in LEFT_OUT
    if "site-packages" not in parts:
        return True
    top = parts[parts.index("site-packages") + 1]
    return top.split("-")[0] not in LEFT_OUT and "__mypyc" not in top


def tracked_files(repository: Path) -> list[Path]:
    """Files of the checkout that git tracks or would, relative to it."""
    listed = run(
        *("git", "-C", str(repository), "ls-files", "-z"),
        *("--cached", "--others", "--exclude-standard"),
    )
    return [Path(name) for name in listed.split("\0") if name]


def _walk(directory: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(directory):
        for name in names:
            yield (Path(parent) / name).relative_to(directory)


def stage(repository: Path, target: Path) -> None:
    """Put what the machine gets of the checkout into an empty directory, by hard links where possible."""
    # bytecode too: compiling is what takes longest in an emulated machine
    bytecode = (Path("tests") / p for p in _walk(repository / "tests") if p.suffix == ".pyc")
    _link(repository, target, tracked_files(repository))
    _link(repository, target, bytecode)
    environment = repository / ".venv"
    _link(environment, target / ".venv", filter(is_needed, _walk(environment)))
    _link(repository, target, BUILT)


def _link(source: Path, target: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        new = target / path
        new.parent.mkdir(parents=True, exist_ok=True)
        old = source / path
        if not os.path.lexists(old):
            continue  # deleted, but git has not been told
        try:
            os.link(old, new, follow_symlinks=False)
        except OSError:
            shutil.copy2(old, new, follow_symlinks=False)


def make_checkout(repository: Path, sessions: list[Session], disk: Path) -> None:
    """Make the disk. Raises RuntimeError."""
    with TemporaryDirectory(dir=disk.parent) as temporary:
        tree = Path(temporary) / "checkout"
        tree.mkdir(mode=0o755)
        stage(repository, tree)
        (tree / "sessions.json").write_text(json.dumps(sessions))
        make_disk(disk, tree, room=256 << 20)
