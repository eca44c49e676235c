"""What is fuzzed in Python: each target takes bytes, and raises on anything that no user should be shown."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyrunc import log
from pyrunc.cgroups import compile_cgroup
from pyrunc.cgroups.plan import CgroupPlan
from pyrunc.cli.commands import COMMANDS, GLOBAL_FLAGS, HELP, VERSION, load
from pyrunc.cli.parser import parse
from pyrunc.cli.settings import Settings
from pyrunc.container.container import Container, state_document
from pyrunc.container.store import CONFIG, STATE, check_id, list_ids
from pyrunc.errors import PyruncError, UsageError
from pyrunc.host.facts import HostFacts
from pyrunc.plan.compiler import compile_exec, compile_plan
from pyrunc.plan.context import PlanOptions
from pyrunc.spec.json import loads
from pyrunc.spec.loader import check_bundle, check_process, check_resources

log.configure("/dev/null", "text", False)

ROOT = Path(tempfile.mkdtemp(prefix="pyrunc-fuzz-"))
(ROOT / "bundle" / "rootfs").mkdir(parents=True)
(ROOT / "box").mkdir()

_FACTS = HostFacts(
    kernel=(6, 1),
    euid=0,
    egid=0,
    permitted=(1 << 41) - 1,
    is_privileged=True,
    set_groups=True,
    user_namespace=False,
    apparmor=False,
    selinux=False,
    kcore=True,
    cgroup_mode="v2",
    cgroup_mounts={"": "/sys/fs/cgroup"},
    cgroup_own={"": "/"},
)
_CGROUP = CgroupPlan("cgroupfs", "v2", {}, [])


def config(data: bytes) -> None:
    """A configuration: read, checked, compiled, encoded and described."""
    try:
        bundle = check_bundle(str(ROOT / "bundle"), data, "config.json")
        compile_cgroup(bundle.config, "box", _FACTS, driver="cgroupfs", rootless=False).describe()
        plan = compile_plan(bundle, "box", _FACTS, PlanOptions(), _CGROUP)
        plan.encode()
        plan.describe()
        plan.to_json()
        if process := bundle.config.get("process"):
            compile_exec(bundle, process, _FACTS, PlanOptions(), _CGROUP, {}).encode()
    except PyruncError as error:
        str(error).encode()


def documents(data: bytes) -> None:
    """A process for `exec`, and resources for `update`."""
    for check in (check_process, check_resources):
        try:
            document: Any = loads(data, "document", nulls=False)
            check(document, "document")
        except PyruncError as error:
            str(error).encode()


def command_line(data: bytes) -> None:
    """A command line: words, a line each."""
    words = data.decode("utf-8", "surrogateescape").split("\n")
    try:
        arguments = parse((*GLOBAL_FLAGS, HELP, VERSION), words, in_order=True)
        Settings(arguments)
        name, *rest = arguments.positional or ["run"]
        command = load(name if name in COMMANDS else "run").COMMAND
        parse((*command.flags, HELP), rest, in_order=command.in_order)
        for word in rest:
            check_id(word)
    except UsageError as error:
        str(error).encode("utf-8", "surrogateescape")


def state(data: bytes) -> None:
    """A state.json: read and shown."""
    (ROOT / "box" / STATE).write_bytes(data)
    (ROOT / "box" / CONFIG).write_bytes(data)
    assert "box" in list_ids(str(ROOT))
    try:
        box = Container.load(str(ROOT), "box")
        state_document(box.state, box.status)
        box.cgroup  # noqa: B018
        box.resctrl  # noqa: B018
        box.process  # noqa: B018
    except PyruncError as error:
        str(error).encode("utf-8", "surrogateescape")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "config": config,
    "documents": documents,
    "command-line": command_line,
    "state": state,
}
