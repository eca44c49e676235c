"""The documents that pyrunc writes: the starting configuration and the features."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyrunc.plan.mounts import Options
from pyrunc.spec.features import features
from pyrunc.spec.rules import warnings
from pyrunc.spec.tables import CAPABILITIES, FSCONFIG_FLAGS
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


def accepted(**linux: Any) -> bool:
    """Whether these fields of linux are right."""
    return not violations({"ociVersion": OCI_VERSION, "root": {"path": "a"}, "linux": linux})


def test_the_features_document_claims_only_what_is_recognised() -> None:
    document: Any = features()
    linux = document["linux"]
    # options that are not known would go to the filesystem
    assert Options(document["mountOptions"]).data == sorted(
        set(document["mountOptions"]) & FSCONFIG_FLAGS - {"ro", "rw"}
    )
    mapping = [{"containerID": 0, "hostID": 0, "size": 1}]
    for kind in linux["namespaces"]:
        maps = {"uidMappings": mapping, "gidMappings": mapping} if kind == "user" else {}
        assert accepted(namespaces=[{"type": kind}], **maps), kind
    assert set(linux["capabilities"]) == set(CAPABILITIES)
    seccomp = linux["seccomp"]
    assert seccomp["enabled"]
    assert set(seccomp["supportedFlags"]) <= set(seccomp["knownFlags"])
    for action in seccomp["actions"]:
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent"}
        rule = {"names": ["getpid"], "action": action}
        assert accepted(seccomp={**profile, "syscalls": [rule]}), action
    for operator in seccomp["operators"]:
        arg = {"index": 0, "value": 1, "valueTwo": 1, "op": operator}
        rule = {"names": ["getpid"], "action": "SCMP_ACT_LOG", "args": [arg]}
        assert accepted(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}), operator
    for field, values in (("architectures", seccomp["archs"]), ("flags", seccomp["knownFlags"])):
        for value in values:
            assert accepted(seccomp={"defaultAction": "SCMP_ACT_ALLOW", field: [value]}), value
    policy = linux["memoryPolicy"]
    for mode in policy["modes"]:
        nodes = "" if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else "0"
        assert accepted(memoryPolicy={"mode": mode, "nodes": nodes}), mode
    for flag in policy["flags"]:
        assert accepted(memoryPolicy={"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}), flag


def test_the_features_document_claims_all_that_is_built() -> None:
    document: Any = features()
    linux = document["linux"]
    assert set(linux["cgroup"]) == {"v1", "v2", "systemd", "systemdUser", "rdma"}
    assert all(linux["cgroup"].values())
    for name in ("apparmor", "selinux", "netDevices"):
        assert linux[name] == {"enabled": True}, name
    assert linux["mountExtensions"] == {"idmap": {"enabled": True}}
    assert linux["intelRdt"] == {"enabled": True, "schemata": True, "monitoring": True}
    # what a configuration from somewhere else could do by its annotations
    assert document["potentiallyUnsafeConfigAnnotations"] == ["org.systemd.property."]
    assert document["annotations"]["pyrunc.version"]


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
