from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers.bundle import default_config

import pyrunc


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(default_config()))
    return tmp_path


def test_load(directory: Path) -> None:
    bundle = pyrunc.Bundle.load(directory)
    assert bundle.path == str(directory)
    assert bundle.rootfs == str(directory / "rootfs")
    assert bundle.config["process"]["args"] == ["true"]


def test_another_file(directory: Path, tmp_path: Path) -> None:
    config = default_config()
    config["process"]["args"] = ["other"]
    (tmp_path / "other.json").write_text(json.dumps(config))
    bundle = pyrunc.Bundle.load(directory, tmp_path / "other.json")
    assert bundle.config["process"]["args"] == ["other"]


def test_of_takes_a_configuration_and_does_not_keep_it(directory: Path) -> None:
    config = default_config()
    bundle = pyrunc.Bundle.of(directory, config)
    config["process"]["args"].append("changed")
    assert bundle.config["process"]["args"] == ["true"]


def test_a_copy_can_be_changed(directory: Path) -> None:
    bundle = pyrunc.Bundle.load(directory)
    config = bundle.copy_config()
    config["process"]["args"] = ["other"]
    assert pyrunc.Bundle.of(bundle.path, config).config["process"]["args"] == ["other"]
    assert bundle.config["process"]["args"] == ["true"]


def test_errors_name_each_violation(directory: Path) -> None:
    config = default_config()
    config["process"]["cwd"] = "relative"
    config["linux"]["namespaces"].append({"type": "nosuch"})
    with pytest.raises(pyrunc.ConfigError) as caught:
        pyrunc.Bundle.of(directory, config)
    pointers = {violation.pointer for violation in caught.value.violations}
    assert pointers == {"/process/cwd", "/linux/namespaces/5/type"}
    assert caught.value.pointer in pointers


def test_what_json_cannot_say(directory: Path) -> None:
    with pytest.raises(pyrunc.BundleError, match="no JSON"):
        pyrunc.Bundle.of(directory, {"process": object()})


def test_validate(directory: Path) -> None:
    config = default_config()
    assert pyrunc.Bundle.validate(directory) == []
    assert pyrunc.Bundle.validate(directory / "config.json") == []
    assert pyrunc.Bundle.validate(config) == []
    del config["ociVersion"]
    (found,) = pyrunc.Bundle.validate(config)
    assert isinstance(found, pyrunc.Violation)
    assert "ociVersion" in str(found)


def test_a_plan_needs_no_container(directory: Path, tmp_path: Path) -> None:
    runtime = pyrunc.Runtime(tmp_path / "state")
    config = pyrunc.Bundle.default_config(rootless=os.geteuid() != 0)
    config["process"] |= {"args": ["true"], "terminal": False}
    plan = runtime.plan(pyrunc.Bundle.of(directory, config), "box")
    assert isinstance(plan, pyrunc.Plan)
    assert isinstance(plan.operations[0], pyrunc.Operation)
    assert any("exec true" in line for line in plan.describe())
    assert not (tmp_path / "state").exists()


def test_there_are_three_cgroup_managers(tmp_path: Path) -> None:
    with pytest.raises(pyrunc.UsageError, match="cgroupfs, systemd, disabled"):
        pyrunc.Runtime(tmp_path, cgroup_manager="systemc")  # type: ignore[arg-type]
