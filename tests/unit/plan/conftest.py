"""Plans of configurations, on hosts that need not exist."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from helpers.bundle import Config, default_config

from pyrunc.cgroups.plan import CgroupPlan
from pyrunc.host.facts import HostFacts
from pyrunc.plan.compiler import compile_plan
from pyrunc.plan.context import PlanOptions
from pyrunc.plan.operation import Operation
from pyrunc.plan.plan import Plan
from pyrunc.spec.loader import Bundle

Compile = Callable[..., Plan]

ALL_CAPABILITIES = (1 << 41) - 1


def facts(**known: Any) -> HostFacts:
    """The facts of an ordinary host."""
    usual: dict[str, Any] = {
        "kernel": (6, 1),
        "euid": 0,
        "egid": 0,
        "permitted": ALL_CAPABILITIES,
        "is_privileged": True,
        "set_groups": True,
        "user_namespace": False,
        "apparmor": False,
        "selinux": False,
        "kcore": True,
        "cgroup_mode": "v2",
        "cgroup_mounts": {"": "/sys/fs/cgroup"},
        "cgroup_own": {"": "/"},
        "cgroup2_options": [],
    }
    return HostFacts(**{**usual, **known})


@pytest.fixture
def config() -> Config:
    """A configuration to change."""
    return copy.deepcopy(default_config())


@pytest.fixture
def compile_config() -> Compile:
    """Compiles a configuration: `compile_config(config, facts={…}, options={…})`."""

    def compile_(
        config: Config,
        host: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        cgroup: CgroupPlan | None = None,
    ) -> Plan:
        bundle = Bundle("/bundle", config, "/bundle/rootfs")
        known = facts(**(host or {}))
        if cgroup is None:
            cgroup = CgroupPlan("cgroupfs", known.cgroup_mode, {}, [])
        return compile_plan(bundle, "box", known, PlanOptions(**(options or {})), cgroup)

    return compile_


def find(plan: Plan, cls: type[Operation], /, **fields: Any) -> list[Any]:
    """The operations of one class whose fields have these values."""
    return [
        operation
        for operation in plan.operations
        if isinstance(operation, cls)
        and all(getattr(operation, name) == value for name, value in fields.items())
    ]


def index(plan: Plan, cls: type[Operation], /, **fields: Any) -> int:
    """Where the one such operation stands."""
    found = find(plan, cls, **fields)
    assert len(found) == 1, found
    return plan.operations.index(found[0])
