"""Docker Swarm of three nodes, whose default runtime is the one under test.

Each node is a dockerd in a network namespace of its own, with a containerd of its own; a bridge in a
further one is the network between them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers.command import wait_until
from helpers.engines import IMAGE, Containerd, Docker, install
from helpers.island import Island, new_island
from helpers.leaks import remove_cgroups

pytestmark = [pytest.mark.root, pytest.mark.engines]

NODES = 3
ROLLING = ("--update-delay=0s", "--update-monitor=1s", "--stop-grace-period=0s")


class Node:
    """One node of the cluster."""

    def __init__(self, number: int, docker: Docker, island: Island) -> None:
        self.name = f"node{number}"
        self.address = address(number)
        self.docker = docker
        self.island = island

    def tasks(self, service: str) -> list[dict[str, Any]]:
        """The tasks of a service that are to run."""
        words = ("service", "ps", "--no-trunc", "--format={{json .}}", service)
        listed = [json.loads(line) for line in self.docker(*words).stdout.splitlines()]
        return [task for task in listed if task["DesiredState"] == "Running"]

    def running(self, service: str) -> list[dict[str, Any]]:
        return [task for task in self.tasks(service) if task["CurrentState"].startswith("Running")]


def address(number: int) -> str:
    return f"10.97.0.{number + 1}"


@pytest.fixture(scope="module")
def swarm(
    workspace: Path, runtime_binary: Path, engine_runtime: Path, image: Path, prefix: str
) -> Iterator[list[Node]]:
    """The nodes; the first is the manager."""
    with ExitStack() as stack:
        switch = stack.enter_context(new_island())
        switch.ip("link", "add", "lan", "type", "bridge")
        switch.ip("link", "set", "lan", "up")
        nodes = []
        for number in range(NODES):
            island = stack.enter_context(new_island("uts"))
            connect(switch, island, number)
            nodes.append(
                Node(
                    number,
                    start(stack, number, island, workspace, runtime_binary, engine_runtime, prefix),
                    island,
                )
            )
            nodes[-1].docker("load", "--input", str(image))
        manager = nodes[0].docker
        # without an ingress network, which would need IPVS in the kernel
        manager(
            "swarm",
            "init",
            f"--advertise-addr={address(0)}",
            "--dispatcher-heartbeat=1s",
            "--default-addr-pool=10.96.0.0/16",
        )
        token = manager("swarm", "join-token", "--quiet", "worker").stdout.strip()
        for node in nodes[1:]:
            node.docker(
                "swarm",
                "join",
                f"--token={token}",
                f"--advertise-addr={node.address}",
                f"{address(0)}:2377",
            )
        yield nodes
    for number in range(NODES):
        remove_cgroups(f"{prefix}swarm{number}")


def connect(switch: Island, island: Island, number: int) -> None:
    """Give a node an address on the network between nodes."""
    peer = island.enter[0].partition("=")[2].split("/")[2]  # the pid that keeps the namespace
    switch.ip("link", "add", f"node{number}", "type", "veth", "peer", "name", "lan0", "netns", peer)
    switch.ip("link", "set", f"node{number}", "master", "lan", "up")
    for words in (
        ("link", "set", "lo", "up"),
        ("address", "add", f"{address(number)}/24", "dev", "lan0"),
        ("link", "set", "lan0", "up"),
    ):
        island.ip(*words)


def start(
    stack: ExitStack,
    number: int,
    island: Island,
    workspace: Path,
    installer: Path,
    runtime: Path,
    prefix: str,
) -> Docker:
    directory = workspace / f"swarm{number}"
    (directory / "containerd").mkdir(parents=True)
    containerd = Containerd(directory / "containerd", runtime, f"swarm{number}", island.inside())
    stack.callback(containerd.daemon.stop)
    install(installer, "docker", directory / "daemon.json", runtime, "installed", "--default")
    hostname = ["sh", "-c", f'hostname node{number} && exec "$@"', "sh"]
    docker = Docker(
        directory,
        runtime,
        f"{prefix}swarm{number}",
        f"--containerd={containerd.daemon.socket}",
        f"--bip=10.95.{number}.1/24",
        inside=island.inside(*hostname),
    )

    def stop() -> None:
        if docker.daemon.process.poll() is None:
            docker.clean()
            docker.daemon.stop()

    stack.callback(stop)
    return docker


@pytest.fixture
def service(swarm: list[Node]) -> Iterator[str]:
    """A service of three tasks."""
    manager = swarm[0].docker
    script = "trap exit TERM; echo started; while :; do sleep 0.05; done"
    manager(
        "service",
        "create",
        "--detach",
        "--name=counted",
        "--replicas=3",
        *ROLLING,
        "--limit-memory=32M",
        "--env=RELEASE=1",
        "--no-resolve-image",
        IMAGE,
        "sh",
        "-c",
        script,
    )
    wait_until(lambda: len(swarm[0].running("counted")) == NODES, "the tasks to run")
    yield "counted"
    manager("service", "rm", "counted")
    for node in swarm:
        if node.docker.daemon.process.poll() is None:
            wait_until(
                lambda node=node: not node.docker("ps", "--quiet").stdout, "its tasks to end"
            )  # type: ignore[misc]


def containers(node: Node) -> list[str]:
    return node.docker("ps", "--quiet", "--no-trunc").stdout.split()


def test_service(swarm: list[Node], service: str) -> None:
    assert {task["Node"] for task in swarm[0].running(service)} == {n.name for n in swarm}
    for node in swarm:
        (container,) = containers(node)
        assert node.docker.inspect(container, "{{.HostConfig.Runtime}}") in ("", "installed")
        assert node.docker("info", "--format={{.DefaultRuntime}}").stdout == "installed\n"
        assert node.docker.inspect(container, "{{.HostConfig.Memory}}") == str(32 << 20)
    wait_until(
        lambda: swarm[0].docker("service", "logs", service).stdout.count("started") == NODES,
        "the logs of all nodes",
    )


def test_scale(swarm: list[Node], service: str) -> None:
    manager = swarm[0]
    for count in (6, 2):
        manager.docker("service", "scale", "--detach", f"{service}={count}")
        wait_until(lambda count=count: len(manager.running(service)) == count, f"{count} tasks")  # type: ignore[misc]
        wait_until(
            lambda count=count: sum(len(containers(node)) for node in swarm) == count,  # type: ignore[misc]
            f"{count} containers",
        )


def test_rolling_update(swarm: list[Node], service: str) -> None:
    manager = swarm[0]
    before = {task["ID"] for task in manager.running(service)}
    manager.docker("service", "update", "--detach", "--env-add=RELEASE=2", service)
    form = "--format={{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"
    wait_until(
        lambda: manager.docker("service", "inspect", form, service).stdout == "completed\n",
        "the update",
    )
    after = {task["ID"] for task in manager.running(service)}
    assert len(after) == NODES
    assert not before & after
    for node in swarm:
        for container in containers(node):
            assert node.docker("exec", container, "sh", "-c", "echo $RELEASE").stdout == "2\n"


def test_a_failing_update_is_rolled_back(swarm: list[Node], service: str) -> None:
    manager = swarm[0]
    words = ("--update-failure-action=rollback", "--args=false", "--rollback-monitor=1s")
    manager.docker("service", "update", "--detach", *words, service)
    form = "--format={{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"
    wait_until(
        lambda: (
            manager.docker("service", "inspect", form, service).stdout == "rollback_completed\n"
        ),
        "the rollback",
    )
    wait_until(lambda: len(manager.running(service)) == NODES, "the tasks to run")


def test_a_lost_node(swarm: list[Node], service: str) -> None:
    """Its task is run by another node; when it comes back, it ends its own."""
    manager, lost = swarm[0], swarm[-1]
    (container,) = containers(lost)
    lost.island.ip("link", "set", "lan0", "down")
    wait_until(
        lambda: (
            len(manager.running(service)) == NODES
            and lost.name not in {task["Node"] for task in manager.running(service)}
        ),
        "its task to run elsewhere",
    )
    wait_until(lambda: sum(len(containers(node)) for node in swarm[:-1]) == NODES, "it to run")
    # what the lost node has goes on there, until it is told otherwise
    assert lost.docker("exec", container, "echo", "here").stdout == "here\n"
    lost.island.ip("link", "set", "lan0", "up")
    wait_until(lambda: containers(lost) == [], "the task of the node that is back to be ended")
