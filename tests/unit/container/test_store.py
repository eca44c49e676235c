"""The directory of a container, and files that the runtime writes where others may write too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pyrunc.container.store import Store, write_pid_file
from pyrunc.errors import StateError
from pyrunc.host import shim


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


STATE: dict[str, Any] = {
    "id": "c",
    "pid": 0,
    "startTime": 0,
    "bundle": "/b",
    "rootfs": "/b/rootfs",
    "rootfsMount": 1,
    "created": "now",
    "annotations": {},
    "cgroup": {},
    "namespaces": {},
    "hasProcess": True,
    "hasHooks": False,
    "hasListener": False,
    "late": {},
}


def test_a_state_that_is_known_is_taken_only_while_the_file_is_the_same(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "c")
    (tmp_path / "c").mkdir()
    known = dict(STATE)
    store.write_state(known)
    assert store.read_state(known) is known
    other = store.another()
    assert other.read_state(known) is known
    Store(str(tmp_path), "c").write_state(STATE | {"bundle": "/elsewhere"})
    for one in (store, other):
        assert one.read_state(known)["bundle"] == "/elsewhere"


def test_somebody_else_has_a_lock_of_his_own(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), "c")
    store.make()
    with pytest.raises(StateError, match="busy"):
        store.another().lock(timeout=0.01)
    store.unlock()
    with store.another() as other:
        other.lock()
        assert store.is_locked()


@pytest.mark.parametrize("loaded", [True, False])
def test_a_store_goes_with_all_that_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    monkeypatch.setattr(shim, "is_loaded", lambda: loaded)
    store = Store(str(tmp_path), "c")
    store.make()
    store.write_state(STATE)
    store.make_directory("notify", 0o755)
    (tmp_path / "c/notify/socket").touch()
    store.remove()
    assert list(tmp_path.iterdir()) == []
    store.remove()  # it is gone
