"""A network namespace that stands for the host's, with devices of the test's own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.command import run_command
from helpers.runtime import Runtime


class Island:
    """A network namespace, kept by a process that sleeps.

    Attributes:
        namespace: path of the namespace.
    """

    def __init__(self, pid: int) -> None:
        self.namespace = f"/proc/{pid}/ns/net"

    def inside(self, *command: str | Path) -> list[str]:
        """A command line that runs `command` in the namespace."""
        return ["nsenter", f"--net={self.namespace}", *map(str, command)]

    def ip(self, *arguments: str) -> None:
        """Run ip(8)."""
        run_command(self.inside("ip", *arguments))

    def devices(self) -> dict[str, dict[str, Any]]:
        """All devices with their addresses, by name, as ip(8) tells them."""
        listed = run_command(self.inside("ip", "-json", "-details", "address")).stdout
        return {device["ifname"]: device for device in json.loads(listed) if device}

    def addresses(self, name: str) -> list[str]:
        """The addresses of a device that are neither of the link nor of the host alone."""
        return [
            f"{info['local']}/{info['prefixlen']}"
            for info in self.devices()[name]["addr_info"]
            if info["scope"] == "global"
        ]


class IslandRuntime(Runtime):
    """A runtime whose network namespace is an island."""

    def __init__(self, runtime: Runtime, island: Island) -> None:
        super().__init__(runtime.binary, runtime.root)
        self.used = runtime.used
        self._island = island

    def command(self, *arguments: str | Path) -> list[str]:
        return self._island.inside(*super().command(*arguments))


@contextmanager
def new_island() -> Iterator[Island]:
    """A network namespace without devices but lo, as long as the context lasts."""
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE
    ) as keeper:
        assert keeper.stdout is not None
        keeper.stdout.readline()  # it is in the namespace now
        yield Island(keeper.pid)
        keeper.kill()
