"""The documents that pyrunc writes: the starting configuration and the features."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyrunc.spec.features import features
from pyrunc.spec.rules import warnings
from pyrunc.spec.template import default_config
from pyrunc.spec.validate import violations
from pyrunc.spec.version import OCI_VERSION, OCI_VERSION_MIN, refusal


@pytest.mark.parametrize("rootless", [False, True])
def test_the_starting_configuration_is_right(rootless: bool) -> None:
    config = default_config(rootless)
    assert violations(config) == []
    assert warnings(config) == []
    assert json.loads(json.dumps(config)) == config


def test_each_call_gives_a_document_of_its_own() -> None:
    default_config()["process"]["args"].append("changed")
    default_config()["linux"]["maskedPaths"].clear()
    assert default_config()["process"]["args"] == ["sh"]
    assert default_config()["linux"]["maskedPaths"]


@pytest.mark.parametrize("rootless", [False, True])
def test_the_starting_configuration_is_that_of_runc(rootless: bool, tmp_path: Path) -> None:
    if shutil.which("runc") is None:
        pytest.skip("runc is missing: `runc spec` is what we compare with")
    command = ["runc", "spec", "--bundle", str(tmp_path), *(["--rootless"] if rootless else [])]
    subprocess.run(command, check=True)
    theirs = json.loads((tmp_path / "config.json").read_text("utf-8"))
    ours = default_config(rootless)
    # What is each runtime's own.
    assert (ours.pop("ociVersion"), ours.pop("hostname")) == (OCI_VERSION, "pyrunc")
    del theirs["ociVersion"], theirs["hostname"]
    # Newer versions of runc no longer give ambient capabilities, and hide the TPM's event log.
    theirs["process"]["capabilities"].pop("ambient", None)
    assert set(ours["linux"]["maskedPaths"]) - set(theirs["linux"]["maskedPaths"]) <= {
        "/sys/devices/virtual/tpm"
    }
    theirs["linux"]["maskedPaths"] = ours["linux"]["maskedPaths"]
    assert ours == theirs


def test_the_rootless_configuration_maps_the_caller_to_root() -> None:
    linux = default_config(rootless=True)["linux"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    kinds = {entry["type"] for entry in linux["namespaces"]}
    assert "user" in kinds
    assert "network" not in kinds


def test_the_features_document_follows_its_schema() -> None:
    document: Any = features()
    assert violations(document, "features") == []
    assert json.loads(json.dumps(document)) == document


def test_the_features_document_has_every_property_of_the_specification() -> None:
    document: Any = features()
    assert set(document) == {
        "ociVersionMin",
        "ociVersionMax",
        "hooks",
        "mountOptions",
        "linux",
        "annotations",
        "potentiallyUnsafeConfigAnnotations",
    }
    assert set(document["linux"]) == {
        "namespaces",
        "capabilities",
        "cgroup",
        "seccomp",
        "apparmor",
        "selinux",
        "intelRdt",
        "memoryPolicy",
        "mountExtensions",
        "netDevices",
    }


def test_the_features_document_claims_versions_that_are_accepted() -> None:
    document: Any = features()
    assert (document["ociVersionMin"], document["ociVersionMax"]) == (OCI_VERSION_MIN, OCI_VERSION)
    for version in (OCI_VERSION_MIN, OCI_VERSION):
        assert refusal(version) is None


def test_the_features_document_claims_what_runc_does_where_it_is_built() -> None:
    if shutil.which("runc") is None:
        pytest.skip("runc is missing: `runc features` is what we compare with")
    done = subprocess.run(["runc", "features"], capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout)
    document: Any = features()
    assert document["hooks"] == theirs["hooks"]
    assert set(theirs["linux"]["capabilities"]) <= set(document["linux"]["capabilities"])
    assert set(theirs["linux"]["namespaces"]) <= set(document["linux"]["namespaces"])
    if document["linux"]["seccomp"]["enabled"]:
        for name in ("actions", "operators", "archs"):
            assert set(theirs["linux"]["seccomp"][name]) <= set(document["linux"]["seccomp"][name])
