"""Every limit of `linux.resources`, as a container gets it here: the table in docs/resources.md comes from these tests.

What the kernel lacks is a clear error, and the test that finds it so is skipped with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.resources import Ignored, Refused, Resource, lacking_device, resources
from helpers.runtime import Runtime

from pyrunc.host.facts import HostFacts

FACTS = HostFacts()
V2 = FACTS.cgroup_mode == "v2"
RESOURCES = resources()

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and not V2, reason="without root, cgroups of version 1 are nobody's to limit"
)


@pytest.fixture
def limited(make_bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle that sleeps, in a user namespace where the tests are not run by root."""
    bundle = make_bundle()
    if os.geteuid() != 0:
        linux = bundle.config["linux"]
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    return bundle.args("sleep", "300")


@pytest.fixture
def runtime(runtime: Runtime, container_id: str) -> Iterator[Runtime]:
    yield runtime
    runtime("delete", "--force", container_id, check=False)


def controllers() -> list[str]:
    """Controllers of v2 that a cgroup beside ours can have."""
    if "--systemd-cgroup" in os.environ.get("PYRUNC_OPTIONS", "") and os.geteuid() == 0:
        return Path(FACTS.cgroup_mounts[""], "cgroup.controllers").read_text().split()
    above = os.path.dirname(FACTS.cgroup_own[""])
    return Path(FACTS.cgroup_mounts[""] + above, "cgroup.controllers").read_text().split()


def reason_without(resource: Resource, name: str) -> str:
    """Why this host cannot have a limit; "" if it can."""
    if device := lacking_device(resource):
        return device
    if V2:
        if resource.controller not in controllers():
            who = "the user has not been given" if os.geteuid() != 0 else "the kernel has no"
            return f"{who} the controller {resource.controller}"
        return ""
    controller = name.partition(".")[0]
    if controller not in FACTS.cgroup_mounts:
        return f"this host has no hierarchy of version 1 with {controller}"
    return ""


def directory(pid: int, file: str) -> Path:
    """The cgroup directory of a process in the hierarchy that has a file."""
    controller = "" if V2 else file.partition(".")[0]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return Path(FACTS.cgroup_mounts[controller] + path)
    raise AssertionError(f"process {pid} is in no cgroup for {file}")


def refusal(runtime: Runtime, bundle: Bundle, container: str, pointer: str) -> str:
    """The error of `create`, which has to name what asked for the limit."""
    done = runtime.create(container, bundle.path, check=False)
    assert done.returncode != 0
    assert f"/linux/resources/{pointer}" in done.stderr
    assert runtime.status(container) == "none"
    return str(done.stderr)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_limit(
    runtime: Runtime,
    limited: Bundle,
    container_id: str,
    resource: Resource,
    record_property: Callable[[str, object], None],
) -> None:
    limited.config["linux"]["resources"] = resource.value
    limited.save()
    expected = resource.v2 if V2 else resource.v1
    if isinstance(expected, Refused):
        record_property("cell", "refused")
        refusal(runtime, limited, container_id, expected.pointer)
        return
    if isinstance(expected, Ignored):
        record_property("cell", "no effect")
        said = runtime.create(container_id, limited.path).stderr
        assert "no effect" in said
        assert f"/linux/resources/{expected.pointer}" in said
        return
    first = next(iter(expected)).partition("|")[0]
    if reason := reason_without(resource, first):
        refusal(runtime, limited, container_id, resource.name.partition(".")[0])
        pytest.skip(reason)
    done = runtime.create(container_id, limited.path, check=False)
    if done.returncode != 0:
        assert f"/linux/resources/{resource.name.partition('.')[0]}" in done.stderr
        pytest.skip(what_is_missing(done.stderr, first))
    pid = runtime.state(container_id)["pid"]
    found = []
    for names, value in expected.items():
        where = directory(pid, names)
        choices = names.split("|")
        index, name = next((i, name) for i, name in enumerate(choices) if (where / name).exists())
        lines = (where / name).read_text().replace("\t", " ").splitlines()
        values = value.split("|")
        assert values[index if len(values) == len(choices) else 0] in lines, (name, lines)
        found.append(f"`{name}`")
    record_property("cell", ", ".join(found))


def what_is_missing(error: str, file: str) -> str:
    """What a kernel that has the controller may lack all the same: a file, or a scheduler that knows weights."""
    if "No such file" in error or "no file" in error or "has no" in error:
        return f"this kernel has no {file}"
    assert "weight" in file, error
    assert "Operation not supported" in error
    return "the scheduler of this disk knows no weights"


@pytest.mark.parametrize("allowed", [False, True])
def test_devices(
    runtime: Runtime,
    limited: Bundle,
    container_id: str,
    allowed: bool,
    record_property: Callable[[str, object], None],
) -> None:
    rule = {"type": "c", "major": 1, "minor": 11, "access": "rw"}
    rules = [{"allow": False, "access": "rwm"}, *([rule | {"allow": True}] if allowed else [])]
    limited.config["linux"]["resources"] = {"devices": rules}
    limited.config["linux"]["devices"] = [
        {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}
    ]
    limited.sh("true >/dev/kmsg && echo opened")
    done = runtime.run(container_id, limited.path, check=False)
    if os.geteuid() != 0:
        # only the permissions of the host's node count
        record_property("cell", "no rules: the kernel takes none from an unprivileged user")
        assert ("opened" in done.stdout) == os.access("/dev/kmsg", os.W_OK)
        return
    assert ("opened" in done.stdout) is allowed
    record_property("cell", "a BPF program" if V2 else "`devices.list`")
