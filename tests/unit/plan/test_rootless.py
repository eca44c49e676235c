"""Plans of unprivileged users: what the kernel would refuse is told before anything is done."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.bundle import Config

from pyrunc.cgroups.plan import CgroupPlan
from pyrunc.errors import HostError
from pyrunc.plan.operations import BindDevice, MakeNode, MountBind, SetUser

from .conftest import Compile, find

USER = {"euid": 1000, "egid": 1000, "permitted": 0, "is_privileged": False}


@pytest.fixture
def config(config: Config) -> Config:
    config["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 1000, "size": 1}]
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = mapping
    return config


def refused(compile_config: Compile, config: Config, **host: Any) -> HostError:
    with pytest.raises(HostError) as caught:
        compile_config(config, host=USER | host)
    assert caught.value.pointer is not None
    assert caught.value.pointer in str(caught.value)
    return caught.value


def test_devices_are_bound(config: Config, compile_config: Compile) -> None:
    plan = compile_config(config, host=USER)
    assert find(plan, BindDevice, source="/dev/null", destination="/dev/null")
    assert not find(plan, MakeNode)


def test_groups_are_left_alone_with_a_single_id(config: Config, compile_config: Compile) -> None:
    assert find(compile_config(config, host=USER), SetUser)[0].set_groups == 0
    plan = compile_config(config, host=USER, options={"subordinate_ids": True})
    assert find(plan, SetUser)[0].set_groups == 1


def test_a_user_namespace_is_needed(config: Config, compile_config: Compile) -> None:
    config["linux"]["namespaces"].pop()
    del config["linux"]["uidMappings"], config["linux"]["gidMappings"]
    assert refused(compile_config, config).pointer == "/linux/namespaces"
    # root of the user namespace that an engine has made for us needs no other
    inside = {"user_namespace": True, "is_privileged": True, "euid": 0}
    assert find(compile_config(config, host=USER | inside), BindDevice)


@pytest.mark.parametrize(
    ("user", "pointer"),
    [
        ({"uid": 1, "gid": 0}, "/process/user/uid"),
        ({"uid": 0, "gid": 7}, "/process/user/gid"),
        ({"uid": 0, "gid": 0, "additionalGids": [0, 9]}, "/process/user/additionalGids/1"),
    ],
)
def test_ids_have_to_be_mapped(
    config: Config, compile_config: Compile, user: dict[str, Any], pointer: str
) -> None:
    config["process"]["user"] = user
    with pytest.raises(HostError) as caught:
        compile_config(config, host=USER, options={"subordinate_ids": True})
    assert caught.value.pointer == pointer


def test_ids_of_a_joined_namespace_are_left_to_the_kernel(
    config: Config, compile_config: Compile
) -> None:
    config["linux"]["namespaces"][-1]["path"] = "/proc/7/ns/user"
    del config["linux"]["uidMappings"], config["linux"]["gidMappings"]
    config["process"]["user"] = {"uid": 5, "gid": 0}
    assert find(compile_config(config), SetUser, uid=5)


@pytest.mark.parametrize(
    ("namespace", "mount", "pointer"),
    [("pid", "/proc", "/mounts/0"), ("network", "/sys", "/mounts/4")],
)
def test_filesystems_of_namespaces_that_belong_to_the_host(
    config: Config, compile_config: Compile, namespace: str, mount: str, pointer: str
) -> None:
    kept = [n for n in config["linux"]["namespaces"] if n["type"] != namespace]
    config["linux"]["namespaces"] = kept
    error = refused(compile_config, config)
    assert error.pointer == pointer
    assert f"without a {namespace} namespace" in str(error)
    # one that is joined may well belong to the container's user namespace
    kept.append({"type": namespace, "path": "/proc/7/ns/x"})
    assert compile_config(config, host=USER)
    assert config["mounts"][int(pointer[-1])]["destination"] == mount


def test_a_hierarchy_without_a_cgroup_of_ones_own_shows_the_callers(
    config: Config, compile_config: Compile
) -> None:
    config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup"})
    host = USER | {
        "cgroup_mode": "v1",
        "cgroup_mounts": {"pids": "/c/pids", "cpu": "/c/cpu"},
        "cgroup_own": {"pids": "/user", "cpu": "/"},
    }
    cgroup = CgroupPlan("cgroupfs", "v1", {"pids": "/c/pids/user/box"}, [], tolerant=True)
    plan = compile_config(config, host=host, cgroup=cgroup)
    assert find(plan, MountBind, source="/c/pids/user/box", destination="/sys/fs/cgroup/pids")
    assert find(plan, MountBind, source="/c/cpu", destination="/sys/fs/cgroup/cpu")
