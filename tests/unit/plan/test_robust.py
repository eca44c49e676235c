"""Whatever passes the checks of config.json compiles into a plan, or is refused in words."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from helpers.config_corpus import EVERYTHING, VALUES, at, paths

from pyrunc.cgroups import compile_cgroup
from pyrunc.cgroups.plan import CgroupPlan
from pyrunc.errors import PyruncError
from pyrunc.plan.compiler import compile_exec, compile_plan
from pyrunc.plan.context import PlanOptions
from pyrunc.spec import rules
from pyrunc.spec._check import valid
from pyrunc.spec.loader import Bundle
from pyrunc.spec.words import without_nulls

from .conftest import facts

BASE = copy.deepcopy(EVERYTHING)
for _platform in ("windows", "solaris", "freebsd", "zos", "vm"):
    del BASE[_platform]
del BASE["linux"]["personality"]["flags"]  # none is defined
V1 = {
    name: f"/sys/fs/cgroup/{name}"
    for name in ("cpu", "cpuset", "memory", "pids", "blkio", "devices")
}
HOSTS = {
    "v2": facts(apparmor=True, selinux=True, resctrl="/sys/fs/resctrl"),
    "v1": facts(
        apparmor=True,
        selinux=True,
        resctrl="/sys/fs/resctrl",
        cgroup_mode="v1",
        cgroup_mounts=V1,
        cgroup_own=dict.fromkeys(V1, "/"),
    ),
}
SECTIONS = sorted(
    {
        str(path[0]) if path[0] != "linux" else f"linux.{path[1]}"
        for path in paths(BASE)
        if len(path) > 1
    }
)


def compiled(config: dict[str, Any], host: str) -> None:
    bundle = Bundle("/bundle", config, "/bundle/rootfs")
    cgroup = CgroupPlan("cgroupfs", HOSTS[host].cgroup_mode, {}, [])
    plan = compile_plan(bundle, "box", HOSTS[host], PlanOptions(), cgroup)
    plan.encode()
    plan.describe()
    plan.to_json()
    if config.get("process"):
        compile_exec(bundle, config["process"], HOSTS[host], PlanOptions(), cgroup, {}).encode()


def limits(config: dict[str, Any], host: str) -> None:
    plan = compile_cgroup(config, "box", HOSTS[host], driver="cgroupfs", rootless=False)
    plan.describe()


def test_everything_at_once() -> None:
    assert valid(BASE)
    assert rules.broken(BASE) == []
    for host in HOSTS:
        compiled(copy.deepcopy(BASE), host)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("section", SECTIONS)
def test_other_values_that_are_allowed(section: str, host: str) -> None:
    first, _, second = section.partition(".")
    count = 0
    for path in paths(BASE):
        if path[:1] != (first,) or (second and path[1:2] != (second,)):
            continue
        for value in (*VALUES, None):
            config = copy.deepcopy(BASE)
            at(config, path[:-1])[path[-1]] = copy.deepcopy(value)
            config = without_nulls(config)  # type: ignore[assignment]
            if not valid(config) or rules.broken(config):
                continue
            count += 1
            try:
                if second == "resources":
                    limits(config, host)
                else:
                    compiled(config, host)
            except PyruncError:
                continue
            except Exception as error:
                raise AssertionError(f"{path} = {value!r}") from error
    assert count > 0
