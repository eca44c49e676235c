"""One run of a fuzzer: what it starts from, and its command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from helpers.bundle import default_config
from helpers.config_corpus import EVERYTHING

from fuzz.harness import HERE, build
from pyrunc.cgroups.plan import CgroupPlan
from pyrunc.cli.commands import COMMANDS, GLOBAL_FLAGS, load
from pyrunc.cli.parser import SWITCH, Flag
from pyrunc.host.facts import HostFacts
from pyrunc.plan.compiler import compile_plan
from pyrunc.plan.context import PlanOptions
from pyrunc.spec.loader import Bundle

#: The targets: that of C, and those of Python (`fuzz.targets`).
NAMES = ("plan", "config", "documents", "command-line", "state")

#: Found inputs that are kept, by target.
CORPUS = HERE / "corpus"

_STATE = {
    "id": "box",
    "pid": 0,
    "startTime": 1,
    "bundle": "/bundle",
    "rootfs": "/bundle/rootfs",
    "rootfsMount": 1,
    "created": "2026-01-01T00:00:00.000000000Z",
    "owner": 0,
    "annotations": {"a": "b"},
    "cgroup": CgroupPlan("cgroupfs", "v2", {"": "/sys/fs/cgroup/nosuch"}, []).to_state(),
    "namespaces": {"pid": "", "mount": ""},
    "hasProcess": True,
    "hasHooks": False,
    "hasListener": False,
    "late": {"52": ["/process/args", "exec sh"]},
    "notify": False,
}


def _plan() -> bytes:
    bundle = Bundle("/", default_config(), "/")
    facts = HostFacts(cgroup_mode="v2", cgroup_mounts={"": "/sys/fs/cgroup"}, cgroup_own={"": "/"})
    cgroup = CgroupPlan("cgroupfs", "v2", {}, [])
    return compile_plan(bundle, "box", facts, PlanOptions(), cgroup).encode()


def _example(flag: Flag) -> str:
    return f"--{flag.name}" if flag.kind == SWITCH else f"--{flag.name}=1"


def _command_lines() -> list[bytes]:
    lines = []
    for name in COMMANDS:
        flags = [_example(flag) for flag in load(name).COMMAND.flags]
        lines.append("\n".join([_example(GLOBAL_FLAGS[0]), name, *flags, "box"]).encode())
    return lines


def seeds(name: str) -> list[bytes]:
    """Inputs to start from that are right, made anew, so that they are of the present formats."""
    if name == "plan":
        return [_plan(), b"\1\2P\xff\0", b"\2G{}", b"\3mount"]
    if name == "command-line":
        return _command_lines()
    documents = {
        "config": [default_config(), EVERYTHING],
        "documents": [EVERYTHING["process"], EVERYTHING["linux"]["resources"]],
        "state": [_STATE],
    }[name]
    return [json.dumps(document).encode() for document in documents]


def prepare(work: Path, name: str) -> None:
    """Make what `command` needs in the directory `work`."""
    found = work / name
    found.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (found / f"seed-{number}").write_bytes(seed)
    if name == "plan":
        build(work / "bin")


def command(work: Path, name: str) -> list[str]:
    """The command line of a fuzzer; inputs that break something are written beside what it finds."""
    program = (
        [str(work / "bin" / "plan")]
        if name == "plan"
        else [sys.executable, "-m", "fuzz.python", name]
    )
    limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=65536", "-print_final_stats=1"]
    kept = [str(CORPUS / name)] if (CORPUS / name).is_dir() else []
    return [*program, *limits, f"-artifact_prefix={work}/{name}-", str(work / name), *kept]
