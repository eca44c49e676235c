"""Intel RDT for real containers, with a directory in the place of resctrl."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.leaks import Leaks
from helpers.runtime import Runtime

from pyrunc.container import creation
from pyrunc.container.container import Container
from pyrunc.container.creation import CreateOptions, create
from pyrunc.container.execute import ExecOptions
from pyrunc.host.facts import HostFacts
from pyrunc.spec.loader import load_bundle

pytestmark = pytest.mark.root


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Looks like resctrl with its default group and one more."""
    for group in (tmp_path, tmp_path / "gold"):
        (group / "mon_groups").mkdir(parents=True)
        (group / "schemata").write_text("L3:0=f\n")
        (group / "tasks").touch()
    monkeypatch.setattr(creation, "HostFacts", lambda: HostFacts(resctrl=str(tmp_path)))
    return tmp_path


def test_the_process_and_those_executed_later_are_in_the_group(
    runtime: Runtime, bundle: Bundle, container_id: str, mount: Path
) -> None:
    bundle.config["linux"]["intelRdt"] = {"closID": "gold", "schemata": ["L3:0=3"]}
    bundle.args("sleep", "1000")
    null = os.open("/dev/null", os.O_RDWR)
    loaded = load_bundle(str(bundle.path))
    container = create(str(runtime.root), container_id, loaded, CreateOptions(stdio=(null,) * 3))
    runtime.used.add(container_id)
    assert (mount / "gold" / "schemata").read_text() == "L3:0=3\n"
    assert (mount / "gold" / "tasks").read_text() == str(container.pid)
    container.start()
    (mount / "gold" / "tasks").write_text("")
    process = {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    again = Container.load(str(runtime.root), container_id)
    assert again.exec(process, ExecOptions(stdio=(null,) * 3)) == 0
    os.close(null)
    assert (mount / "gold" / "tasks").read_text().isdigit()
    runtime("update", "--l3-cache-schema", "L3:0=7", "--mem-bw-schema", "MB:0=50", container_id)
    assert (mount / "gold" / "schemata").read_text() == "L3:0=7\nMB:0=50\n"
    words = ("update", "--l3-cache-schema", "L3:0=f", "-r", "-", container_id)
    runtime(*words, stdin='{"pids": {"limit": 33}}')
    assert (mount / "gold" / "schemata").read_text() == "L3:0=f\nMB:0=50\n"
    stored = json.loads((runtime.root / container_id / "config.json").read_text())["linux"]
    assert stored["resources"]["pids"] == {"limit": 33}
    assert stored["intelRdt"]["l3CacheSchema"] == "L3:0=f"
    # the limit of the group was set, and is taken back, when that of the cgroup is refused
    words = ("update", "--l3-cache-schema", "L3:0=1", "--cpuset-cpus", "999", container_id)
    assert runtime(*words, check=False).returncode == 1
    assert (mount / "gold" / "schemata").read_text() == "L3:0=f\nMB:0=50\n"
    runtime("delete", "--force", container_id)
    assert (mount / "gold").is_dir()


def test_update_without_a_group(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    runtime.create(container_id, bundle.path)
    done = runtime("update", "--l3-cache-schema", "L3:0=7", container_id, check=False)
    assert done.returncode == 1
    assert "has no Intel RDT limits" in done.stderr


@pytest.mark.skipif(bool(HostFacts().resctrl), reason="resctrl is mounted here")
def test_without_resctrl_nothing_is_created(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.config["linux"]["intelRdt"] = {"closID": "/"}
    done = runtime.create(container_id, bundle.save().path, check=False)
    assert done.returncode == 1
    assert "Intel RDT needs a resctrl filesystem" in done.stderr
    assert "(config.json: /linux/intelRdt)" in done.stderr
