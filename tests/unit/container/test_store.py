"""Files that the runtime writes where others may write too."""

from __future__ import annotations

import os
from pathlib import Path

from pyrunc.container.store import write_pid_file


def test_a_pid_file_is_not_written_through_what_others_put_in_its_way(tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "pid"
    victim.write_text("precious")
    for plant in (os.link, os.symlink):
        plant(victim, tmp_path / f".pid.{os.getpid()}")
        write_pid_file(str(target), 42)
        assert target.read_text() == "42"
        assert not target.samefile(victim)
        assert victim.read_text() == "precious"
        target.unlink()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["victim"]
