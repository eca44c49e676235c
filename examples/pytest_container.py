"""A pytest plugin: the fixture `container` gives a test a container of its own.

    pytest -p pytest_container --container-rootfs /srv/images/alpine

    def test_nothing_listens(container):
        result = container.run("netstat", "-ltn")
        assert result.exit_code == 0

The root filesystem is read-only and shared; /tmp is the test's own. There is a network of its own too, with nothing but
a loopback device. When the test ends, so does all that it has left running. `--container-state` names the directory of
the states of containers.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrunc

_numbers = itertools.count(1)


class TestContainer:
    """A running container, for a test."""

    __test__ = False

    def __init__(self, container: pyrunc.Container) -> None:
        self.container = container

    def run(self, *args: str, input: bytes = b"", timeout: float = 60) -> pyrunc.Result:
        """Run a program in the container to its end; `timeout` in seconds."""
        with self.container.exec(
            args, stdin=pyrunc.PIPE, stdout=pyrunc.PIPE, stderr=pyrunc.PIPE
        ) as process:
            out, err = process.communicate(input, timeout)
            return pyrunc.Result(process.wait(), out, err)

    def write(self, path: str, data: bytes) -> None:
        """Make a file in the container."""
        done = self.run("sh", "-c", 'cat > "$0"', path, input=data)
        assert done.exit_code == 0, done.stderr


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("container")
    group.addoption("--container-rootfs", type=Path, help="root filesystem of the containers")
    group.addoption("--container-state", type=Path, help="directory of the states of containers")


@pytest.fixture
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestContainer]:
    """A container of the test's own, in which nothing runs yet."""
    rootfs = request.config.getoption("--container-rootfs")
    if rootfs is None:
        pytest.skip("no --container-rootfs")
    config = pyrunc.Bundle.default_config()
    config["root"] = {"path": str(rootfs.absolute()), "readonly": True}
    # something has to run; it does nothing, and ends when it is told to
    config["process"]["args"] = [
        "sh",
        "-c",
        "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done",
    ]
    config["process"]["terminal"] = False
    config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    runtime = pyrunc.Runtime(request.config.getoption("--container-state"))
    null = pyrunc.DEVNULL
    with runtime.create(
        f"pytest-{os.getpid()}-{next(_numbers)}",
        pyrunc.Bundle.of(tmp_path, config),
        stdin=null,
        stdout=null,
        stderr=null,
    ) as created:
        created.start()
        yield TestContainer(created)
