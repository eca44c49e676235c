"""Tables, against the kernel's headers and other runtimes."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from pyrunc.spec import tables
from pyrunc.spec.tables import (
    ACTION,
    ATTRIBUTE,
    CAPABILITIES,
    FSCONFIG_FLAGS,
    MOUNT_ACTIONS,
    MOUNT_ATTR__ATIME,
    MOUNT_OPTIONS,
    NAMESPACES,
    PROPAGATION,
    RLIMITS,
    SUPERBLOCK,
)


def header(path: str) -> dict[str, int]:
    """The numbers that a header of the kernel defines."""
    file = Path("/usr/include") / path
    if not file.exists():
        pytest.skip(f"{file} is missing: the kernel's headers")
    numbers = {}
    for name, value in re.findall(
        r"^#\s*define\s+(\w+)\s+(?:BIT\()?\(?(0x[0-9a-fA-F]+|\d+(?:\s*<<\s*\d+)?)\)?",
        file.read_text("utf-8"),
        re.MULTILINE,
    ):
        left, _, right = value.partition("<<")
        numbers[name] = int(left, 0) << int(right or 0)
    return numbers


def test_every_mount_option_of_the_specification_is_known(specification: Path) -> None:
    text = (specification / "config.md").read_text("utf-8")
    rows = re.findall(r"^ `(\w+) *` +\| (?:MUST|SHOULD|MAY) ", text, re.MULTILINE)
    assert len(rows) > 50
    assert set(rows) - set(MOUNT_OPTIONS) == set()


def test_mount_flags_are_those_of_the_kernel() -> None:
    kernel = header("linux/mount.h")
    ours = {
        name: value for name, value in vars(tables).items() if re.match("M(S|OUNT_ATTR)_", name)
    }
    assert len(ours) > 20
    for name, value in ours.items():
        if name != "MS_SILENT":  # defined in terms of another name
            assert kernel[name] == value, name


def test_capabilities_are_those_of_the_kernel() -> None:
    kernel = header("linux/capability.h")
    named = {name: value for name, value in kernel.items() if name in CAPABILITIES}
    assert named == CAPABILITIES
    assert list(CAPABILITIES.values()) == list(range(41))
    assert int(Path("/proc/sys/kernel/cap_last_cap").read_text()) >= 40


def test_limits_are_those_of_the_kernel() -> None:
    ours = {name: value for name, value in RLIMITS.items() if hasattr(resource, name)}
    assert ours == {name: getattr(resource, name) for name in ours}
    kernel = header("asm-generic/resource.h")
    assert {name: value for name, value in kernel.items() if name in RLIMITS} == RLIMITS


def test_namespaces_are_those_of_the_kernel() -> None:
    kernel = header("linux/sched.h")
    names = {"mount": "NEWNS", "network": "NEWNET"}
    for kind, (flag, file) in NAMESPACES.items():
        assert flag == kernel["CLONE_" + names.get(kind, "NEW" + kind.upper())]
        assert Path("/proc/self/ns", file).exists()


def test_each_kind_of_option_has_what_it_needs() -> None:
    for name, (kind, wanted, cleared, recursive) in MOUNT_OPTIONS.items():
        if kind == ATTRIBUTE:
            assert wanted | cleared or name in ("norelatime", "rnorelatime"), name
            assert recursive == (name not in ("ro", "rw", "relatime") and name[0] == "r"), name
            if wanted & MOUNT_ATTR__ATIME:
                assert cleared == MOUNT_ATTR__ATIME, "the field is set as a whole"
        elif kind == SUPERBLOCK:
            assert bool(wanted) != bool(cleared), name
        elif kind == PROPAGATION:
            assert wanted, name
            assert not cleared, name
            assert recursive == name.startswith("r"), name
        else:
            assert kind == ACTION
            assert name in MOUNT_ACTIONS
    assert set(MOUNT_ACTIONS) == {n for n, (kind, *_) in MOUNT_OPTIONS.items() if kind == ACTION}
    assert set(MOUNT_OPTIONS) >= FSCONFIG_FLAGS


@pytest.mark.parametrize(
    ("option", "opposite"),
    [
        *(("ro", "rw"), ("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec")),
        *(("nodiratime", "diratime"), ("nosymfollow", "symfollow"), ("rro", "rrw")),
        *(("rnosuid", "rsuid"), ("rnodev", "rdev"), ("rnoexec", "rexec")),
        *(("rnodiratime", "rdiratime"), ("rnosymfollow", "rsymfollow")),
        *(("sync", "async"), ("mand", "nomand"), ("lazytime", "nolazytime")),
        *(("silent", "loud"), ("iversion", "noiversion")),
    ],
)
def test_an_option_and_its_opposite_undo_each_other(option: str, opposite: str) -> None:
    kind, wanted, cleared, recursive = MOUNT_OPTIONS[option]
    assert MOUNT_OPTIONS[opposite] == (kind, cleared, wanted, recursive)


def test_what_other_runtimes_know_is_known() -> None:
    if shutil.which("runc") is None:
        pytest.skip("runc is missing: it tells what options it knows")
    done = subprocess.run(["runc", "features"], capture_output=True, text=True, check=True)
    known = set(json.loads(done.stdout)["mountOptions"])
    # runc 1.1 took these for flags; newer versions leave them to the filesystem, as we do.
    assert known - {"acl", "noacl"} <= set(MOUNT_OPTIONS)
