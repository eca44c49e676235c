"""Annotations of crun (`run.oci.…`): what each has the container be. docs/annotations.md has them all."""

from __future__ import annotations

import base64
import os
import platform
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.mountinfo import parse
from helpers.pidfds import PidfdSocket
from helpers.runtime import Runtime
from helpers.seccomp_agent import Answer, Notification, SeccompAgent

pytestmark = pytest.mark.root

REPOSITORY = Path(__file__).parents[2]
GROUP = 4242

Annotate = Callable[..., Bundle]


@pytest.fixture
def annotate(bundle: Bundle) -> Annotate:
    """The bundle with run.oci.NAME annotations; "_" stands for a dot."""

    def annotate_(**annotations: str) -> Bundle:
        bundle.config["annotations"] = {f"run.oci.{k}": v for k, v in annotations.items()}
        return bundle

    return annotate_


@pytest.mark.parametrize(("value", "kept"), [("1", True), ("0", False), (None, False)])
def test_keep_original_groups(
    runtime: Runtime, bundle: Bundle, container_id: str, value: str | None, kept: bool
) -> None:
    if value is not None:
        bundle.config["annotations"] = {"run.oci.keep_original_groups": value}
    bundle.config["process"]["user"]["additionalGids"] = [77]
    bundle.args("grep", "Groups", "/proc/self/status")
    done = runtime.run(container_id, bundle.path, extra_groups=[GROUP])
    assert done.stdout.split()[1:] == ([str(GROUP)] if kept else ["77"])


def test_kept_groups_are_those_of_executed_processes_too(
    runtime: Runtime, annotate: Annotate, container_id: str
) -> None:
    bundle = annotate(keep_original_groups="1").args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    words = ("exec", container_id, "grep", "Groups", "/proc/self/status")
    assert runtime(*words, extra_groups=[GROUP]).stdout.split()[1:] == [str(GROUP)]


def test_offsets_of_clocks(runtime: Runtime, annotate: Annotate, container_id: str) -> None:
    bundle = annotate(timens_offset="boottime 864000 0\nmonotonic 432000 5")
    bundle.namespaces({"type": "time"}).args("cat", "/proc/self/timens_offsets")
    lines = [line.split() for line in runtime.run(container_id, bundle.path).stdout.splitlines()]
    assert lines == [["monotonic", "432000", "5"], ["boottime", "864000", "0"]]


def test_fields_of_the_configuration_come_first(
    runtime: Runtime, annotate: Annotate, container_id: str
) -> None:
    bundle = annotate(timens_offset="boottime 864000 0")
    bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 99, "nanosecs": 0}}
    bundle.namespaces({"type": "time"}).args("cat", "/proc/self/timens_offsets")
    assert re.search(r"boottime +99 ", runtime.run(container_id, bundle.path).stdout)


def test_pidfd_receiver(
    runtime: Runtime, bundle: Bundle, container_id: str, workspace: Path
) -> None:
    listener = PidfdSocket(workspace / f"{container_id}-pidfd")
    bundle.config["annotations"] = {"run.oci.pidfd_receiver": str(listener.path)}
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    assert listener.pid() == runtime.state(container_id)["pid"]


def test_a_pidfd_receiver_that_is_not_there(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Any
) -> None:
    bundle.config["annotations"] = {"run.oci.pidfd_receiver": "/nonexistent/s"}
    done = runtime.run(container_id, bundle.save().path, check=False)
    assert done.returncode == 1
    assert "annotation run.oci.pidfd_receiver: /nonexistent/s: No such file" in done.stderr


def test_seccomp_receiver(
    runtime: Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    def answer(_: Notification) -> Answer:
        return Answer(error=33)  # EDOM

    agent = SeccompAgent(tmp_path / "agent.sock", answer)
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    }
    bundle.config["annotations"] = {"run.oci.seccomp.receiver": str(agent.path)}
    bundle.sh("mkdir /tmp/x")
    with agent.serve():
        done = runtime.run(container_id, bundle.path, check=False)
        (connection,) = agent.wait_for_connections(1)
    assert "argument out of domain" in done.stderr
    assert connection.state["state"]["id"] == container_id
    assert runtime("validate", bundle.path).stdout == "valid\n"


#: Instructions of classic BPF: code, jt, jf, k (linux/filter.h).
_LOAD_NUMBER = (0x20, 0, 0, 0)
_RETURN = 0x06
_JUMP_EQUAL = 0x15
_ERRNO = 0x00050000
_ALLOW = 0x7FFF0000
_MKDIR = {"x86_64": 83}


def test_a_filter_of_ones_own(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    number = _MKDIR.get(platform.machine())
    if number is None:
        pytest.skip(f"the number of mkdir(2) on {platform.machine()} is not in this test")
    program = (
        _LOAD_NUMBER,
        (_JUMP_EQUAL, 0, 1, number),
        (_RETURN, 0, 0, _ERRNO | 33),
        (_RETURN, 0, 0, _ALLOW),
    )
    data = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_KILL_PROCESS"}  # is ignored
    bundle.config["annotations"] = {
        "run.oci.seccomp_bpf_data": base64.b64encode(data).decode(),
    }
    bundle.args("mkdir", "/tmp/x")
    done = runtime.run(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert "argument out of domain" in done.stderr.lower()


def test_unknown_calls_fail(runtime: Runtime, annotate: Annotate, container_id: str) -> None:
    bundle = annotate()
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["nosuchcall", "uname"], "action": "SCMP_ACT_ERRNO"}],
    }
    assert runtime.run(container_id, bundle.save().path).returncode == 0
    bundle = annotate(seccomp_fail_unknown_syscall="1")
    done = runtime.run(container_id, bundle.save().path, check=False)
    assert done.returncode == 1
    assert "libseccomp does not know nosuchcall" in done.stderr


HOOKS = ("createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@pytest.mark.parametrize("own_users", [False, True], ids=["", "user namespace"])
def test_output_of_hooks(
    runtime: Runtime, bundle: Bundle, container_id: str, tmp_path: Path, own_users: bool
) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    bundle.config["annotations"] = {
        "run.oci.hooks.stdout": str(out),
        "run.oci.hooks.stderr": str(err),
    }
    bundle.config["hooks"] = {
        kind: [
            {
                "path": "/bin/sh",
                "args": ["sh", "-c", f"echo {kind}; echo {kind} failed >&2"],
                "env": ["PATH=/bin:/usr/bin"],
            }
        ]
        for kind in HOOKS
    }
    if own_users:
        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        linux = bundle.config["linux"]
        linux["uidMappings"] = linux["gidMappings"] = mapping
        bundle.namespaces({"type": "user"})
        os.chown(bundle.rootfs, 100000, 100000)
    out.write_text("before\n")
    runtime.run(container_id, bundle.save().path)
    assert out.read_text().split() == ["before", *HOOKS]
    assert err.read_text().splitlines() == [f"{kind} failed" for kind in HOOKS]
    assert err.stat().st_mode & 0o777 == 0o644


def test_output_of_hooks_that_cannot_be_written(
    runtime: Runtime, annotate: Annotate, container_id: str, no_leaks: Any
) -> None:
    bundle = annotate()
    bundle.config["annotations"] = {"run.oci.hooks.stdout": "/nonexistent/out"}
    for kind in ("createRuntime", "createContainer"):
        bundle.config["hooks"] = {kind: [{"path": "/bin/true"}]}
        done = runtime.run(container_id, bundle.save().path, check=False)
        assert done.returncode == 1
        assert "/nonexistent/out: No such file or directory" in done.stderr


def test_the_hierarchy_of_systemd(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    if "name=systemd" not in mounts:
        pytest.skip("the v1 hierarchy name=systemd is not mounted on this host")
    bundle.config["annotations"] = {"run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup"}
    bundle.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}
    )
    bundle.namespaces({"type": "cgroup"}).args("cat", "/proc/self/mountinfo")
    found = parse(runtime.run(container_id, bundle.path).stdout)
    here = {point: mount for point, mount in found.items() if point.startswith("/sys/fs/cgroup")}
    assert list(here) == ["/sys/fs/cgroup"]
    assert here["/sys/fs/cgroup"].kind == "cgroup"
    assert "name=systemd" in here["/sys/fs/cgroup"].super_options


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("handler", "krun", "pyrunc runs programs itself"),
        ("handler", "wasm", "pyrunc runs programs itself"),
        ("seccomp.plugins", "/lib/plugin.so", "pyrunc loads no plugins"),
        ("seccomp.receiver", "agent", "must be an absolute path"),
        ("pidfd_receiver", "socket", "must be an absolute path"),
        ("hooks.stdout", "out", "must be an absolute path"),
        ("hooks.stderr", "", "must be an absolute path"),
        ("systemd.force_cgroup_v1", "sys", "must be an absolute path"),
        ("timens_offset", "realtime 1 1", "must be lines of a clock and its offset"),
        ("timens_offset", "boottime x 1", "must be lines of a clock and its offset"),
        ("timens_offset", "boottime 1 1", "needs a time namespace in /linux/namespaces"),
        ("mount_context_type", "con", "must be one of context, fscontext, defcontext, rootcontext"),
        ("seccomp_bpf_data", "AAAA", "must be a filter of 1 to 4096 instructions, in base64"),
        ("seccomp_bpf_data", "not base64", "must be a filter of 1 to 4096 instructions, in base64"),
    ],
)
def test_what_cannot_be(
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    no_leaks: Any,
    name: str,
    value: str,
    message: str,
) -> None:
    bundle.config["annotations"] = {f"run.oci.{name}": value}
    done = runtime.run(container_id, bundle.save().path, check=False)
    assert done.returncode == 1
    assert f"/annotations/run.oci.{name}: {message}" in done.stderr


@pytest.mark.parametrize("name", ["systemd.subgroup", "delegate-cgroup"])
def test_what_has_no_effect(runtime: Runtime, bundle: Bundle, container_id: str, name: str) -> None:
    """CRI-O sets an empty subgroup, which is what is done anyway."""
    bundle.config["annotations"] = {f"run.oci.{name}": ""}
    assert runtime.run(container_id, bundle.save().path).stderr == ""
    bundle.config["annotations"] = {f"run.oci.{name}": "below"}
    done = runtime.run(container_id, bundle.save().path)
    assert f"/annotations/run.oci.{name}: has no effect" in done.stderr


def test_annotations_are_in_the_state_as_they_were(
    runtime: Runtime, annotate: Annotate, container_id: str
) -> None:
    bundle = annotate(keep_original_groups="1").args("sleep", "1000")
    bundle.config["annotations"]["other.name"] = "value"
    runtime.create(container_id, bundle.save().path)
    assert runtime.state(container_id)["annotations"] == bundle.config["annotations"]


def test_each_annotation_has_a_row_and_a_test() -> None:
    """Those of the crun that is installed, and those that the sources of pyrunc name."""
    table = (REPOSITORY / "docs" / "annotations.md").read_text()
    rows = {
        row.split("|")[1].strip().strip("`"): row.split("|")[3].strip().strip("`")
        for row in table.splitlines()
        if row.startswith("| `")
    }
    sources = "".join(path.read_text() for path in (REPOSITORY / "pyrunc").rglob("*.py"))
    named = set(re.findall(r"run\.oci\.[\w.-]*\w", sources)) - {"run.oci.NAME"}
    assert named <= set(rows)
    crun = Path("/usr/bin/crun")
    if crun.exists():
        theirs = re.findall(rb"\0(run\.oci\.[\w.-]+)\0", crun.read_bytes())
        assert theirs
        assert {name.decode() for name in theirs} <= set(rows)
    for test in rows.values():
        path, _, name = test.partition("::")
        assert f"def {name}(" in (REPOSITORY / path).read_text()
