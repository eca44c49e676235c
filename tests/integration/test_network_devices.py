"""Devices of the host in the container (config-linux.md, "Network Devices")."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.containers import user_namespace
from helpers.island import Island, IslandRuntime, new_island
from helpers.leaks import Leaks
from helpers.runtime import Runtime

pytestmark = pytest.mark.root


@pytest.fixture
def island() -> Iterator[Island]:
    """What stands for the host, with a pair of devices, `outer` and `peer`."""
    with new_island() as made:
        made.ip("link", "add", "outer", "type", "veth", "peer", "name", "peer")
        made.ip("link", "set", "peer", "up")
        yield made


@pytest.fixture
def other() -> Iterator[Island]:
    """A network namespace to join."""
    with new_island() as made:
        yield made


@pytest.fixture
def host(runtime: Runtime, island: Island) -> IslandRuntime:
    return IslandRuntime(runtime, island)


def want(bundle: Bundle, **devices: str) -> Bundle:
    """Ask for devices: `want(bundle, eth0="new name")`; "" leaves the name out."""
    bundle.config["linux"]["netDevices"] = {
        name: {"name": new_name} if new_name else {} for name, new_name in devices.items()
    }
    return bundle.save()


def in_container(host: IslandRuntime, bundle: Bundle, container: str) -> dict[str, Any]:
    """The devices that the process of a container has, as its kernel tells them."""
    done = host.run(container, bundle.sh("ip address; ip -o link").path)
    devices: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        if line[:1].isdigit():
            words = line.split()
            name = words[1].rstrip(":").partition("@")[0]
            device = devices.setdefault(name, {"addresses": [], "labels": []})
            device["flags"] = words[2].strip("<>").split(",")
            device["mtu"] = int(words[words.index("mtu") + 1])
        elif line.split()[0] in ("inet", "inet6"):
            words = line.split()
            if words[words.index("scope") + 1] == "global":
                device["addresses"].append(words[1])
                device["labels"].append(words[-1])
    return devices


def test_a_device_is_moved_and_switched_on(
    host: IslandRuntime, island: Island, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    want(bundle, outer="")
    devices = in_container(host, bundle, container_id)
    assert set(devices) == {"lo", "outer"}
    assert "UP" in devices["outer"]["flags"]
    assert set(island.devices()) <= {"lo", "peer"}


def test_a_device_keeps_what_it_has_under_its_new_name(
    host: IslandRuntime, island: Island, bundle: Bundle, container_id: str
) -> None:
    island.ip("link", "set", "outer", "mtu", "1342")
    island.ip("link", "set", "outer", "address", "02:00:00:00:00:42")
    island.ip("address", "add", "10.11.12.13/24", "brd", "+", "dev", "outer", "label", "outer:a")
    island.ip("address", "add", "10.11.12.14/24", "dev", "outer")
    island.ip("address", "add", "192.168.7.1", "peer", "192.168.7.2/32", "dev", "outer")
    island.ip("address", "add", "fd00:1:2::3/64", "dev", "outer", "nodad")
    island.ip("address", "add", "169.254.3.3/16", "dev", "outer", "scope", "link")
    island.ip(
        "address", "add", "10.99.0.1/24", "dev", "outer", "valid_lft", "900", "preferred_lft", "900"
    )
    island.ip("link", "set", "outer", "up")
    want(bundle, outer="inner")
    bundle.sh("sleep 1000")
    host.create(container_id, bundle.path)
    pid = host.state(container_id)["pid"]
    inside = Island(pid)
    device = inside.devices()["inner"]
    assert device["mtu"] == 1342
    assert device["address"] == "02:00:00:00:00:42"
    assert "UP" in device["flags"]
    found = {info["local"]: info for info in device["addr_info"] if info["scope"] != "link"}
    # neither the one of the link alone nor the one that was lent for a time
    assert set(found) == {"10.11.12.13", "10.11.12.14", "192.168.7.1", "fd00:1:2::3"}
    assert found["10.11.12.13"]["broadcast"] == "10.11.12.255"
    assert found["10.11.12.13"]["label"] == "inner:a"
    assert found["10.11.12.14"]["label"] == "inner"
    assert found["192.168.7.1"]["address"] == "192.168.7.2"
    assert found["fd00:1:2::3"]["nodad"]
    assert "169.254.3.3" not in json.dumps(device["addr_info"])


def test_traffic_goes_through_the_device(
    host: IslandRuntime, island: Island, bundle: Bundle, container_id: str
) -> None:
    island.ip("address", "add", "10.3.0.1/24", "dev", "peer")
    island.ip("address", "add", "10.3.0.2/24", "dev", "outer")
    want(bundle, outer="eth0")
    bundle.config["process"]["capabilities"] = {
        kind: ["CAP_NET_RAW"] for kind in ("bounding", "permitted", "effective")
    }
    done = host.run(container_id, bundle.args("ping", "-c", "1", "-w", "20", "10.3.0.1").path)
    assert "1 packets received" in done.stdout


def test_the_kernel_numbers_a_template(
    host: IslandRuntime, island: Island, bundle: Bundle, container_id: str
) -> None:
    island.ip("address", "add", "10.5.0.1/24", "dev", "outer")
    want(bundle, outer="net%d", peer="net%d")
    devices = in_container(host, bundle, container_id)
    assert set(devices) == {"lo", "net0", "net1"}
    assert devices["net0"]["addresses"] == ["10.5.0.1/24"]


def test_devices_change_names(
    host: IslandRuntime, island: Island, bundle: Bundle, container_id: str
) -> None:
    island.ip("address", "add", "10.5.0.1/24", "dev", "outer")
    want(bundle, outer="peer", peer="outer")
    devices = in_container(host, bundle, container_id)
    assert devices["peer"]["addresses"] == ["10.5.0.1/24"]
    assert devices["outer"]["addresses"] == []


def test_hooks_and_sysctls_find_the_device(
    host: IslandRuntime, island: Island, bundle: Bundle, container_id: str
) -> None:
    note = bundle.path / "note"
    script = f"nsenter -t $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/') -n ip -o link > {note}"
    bundle.config["hooks"] = {
        "createRuntime": [
            {
                "path": "/bin/sh",
                "args": ["sh", "-c", script],
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            }
        ]
    }
    bundle.config["linux"]["sysctl"] = {"net.ipv4.conf.eth0.forwarding": "1"}
    want(bundle, outer="eth0")
    done = host.run(
        container_id, bundle.args("cat", "/proc/sys/net/ipv4/conf/eth0/forwarding").path
    )
    assert done.stdout == "1\n"
    assert " eth0@" in note.read_text()


def test_a_user_namespace_makes_no_difference(
    host: IslandRuntime, island: Island, bundle: Bundle, container_id: str
) -> None:
    user_namespace(bundle)
    island.ip("address", "add", "10.5.0.1/24", "dev", "outer")
    want(bundle, outer="eth0")
    devices = in_container(host, bundle, container_id)
    assert devices["eth0"]["addresses"] == ["10.5.0.1/24"]


def test_a_joined_namespace(
    host: IslandRuntime, island: Island, other: Island, bundle: Bundle, container_id: str
) -> None:
    # its devices take the index of ours
    for number in range(4):
        other.ip("link", "add", f"br{number}", "type", "bridge")
    island.ip("address", "add", "10.5.0.1/24", "dev", "outer")
    want(bundle, outer="eth0")
    bundle.namespaces({"type": "network", "path": other.namespace})
    host.run(container_id, bundle.path)
    # nobody takes it out again: that is the affair of the namespace's owner
    assert other.addresses("eth0") == ["10.5.0.1/24"]
    assert "UP" in other.devices()["eth0"]["flags"]


ERRORS = [
    ({"nosuch": ""}, "nosuch", "no such device"),
    ({"lo": "lo2"}, "lo", "Invalid argument"),
    ({"outer": "lo"}, "outer", "the container has a device lo already"),
]


@pytest.mark.parametrize(("devices", "name", "why"), ERRORS, ids=[e[1] for e in ERRORS])
def test_errors_name_the_device_and_change_nothing(
    host: IslandRuntime,
    island: Island,
    bundle: Bundle,
    container_id: str,
    no_leaks: Leaks,
    devices: dict[str, str],
    name: str,
    why: str,
) -> None:
    island.ip("address", "add", "10.5.0.1/24", "dev", "peer")
    before = island.devices()
    want(bundle, peer="first", **devices)
    done = host.create(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert f"linux.netDevices.{name}: " in done.stderr
    assert why in done.stderr
    assert f"(config.json: /linux/netDevices/{name})" in done.stderr
    after = island.devices()
    assert set(after) == set(before)
    assert island.addresses("peer") == ["10.5.0.1/24"]
    assert "UP" in after["peer"]["flags"]
    assert after["peer"]["ifindex"] == before["peer"]["ifindex"]


def test_a_name_that_is_taken_in_a_joined_namespace(
    host: IslandRuntime, island: Island, other: Island, bundle: Bundle, container_id: str
) -> None:
    other.ip("link", "add", "eth0", "type", "bridge")
    want(bundle, outer="eth0")
    bundle.namespaces({"type": "network", "path": other.namespace})
    done = host.create(container_id, bundle.path, check=False)
    assert "the container has a device eth0 already" in done.stderr
    assert "outer" in island.devices()


@pytest.mark.parametrize("joined", [False, True])
def test_devices_come_back_when_the_creation_fails_later(
    host: IslandRuntime,
    island: Island,
    other: Island,
    bundle: Bundle,
    container_id: str,
    joined: bool,
) -> None:
    island.ip("address", "add", "10.5.0.1/24", "dev", "outer")
    island.ip("address", "add", "fd00::7/64", "dev", "outer")
    island.ip("link", "set", "outer", "up")
    want(bundle, outer="eth0", peer="eth1")
    if joined:
        bundle.namespaces({"type": "network", "path": other.namespace})
    bundle.config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": "/nosuch", "options": ["bind"]}
    )
    bundle.save()
    done = host.create(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert "mounts[5]" in done.stderr
    assert {"outer", "peer"} <= set(island.devices())
    assert sorted(island.addresses("outer")) == ["10.5.0.1/24", "fd00::7/64"]
    assert "UP" in island.devices()["outer"]["flags"]
    assert set(other.devices()) <= {"lo"}
