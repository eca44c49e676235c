"""A network namespace that stands for the host's, with devices of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.command import run_command
from helpers.runtime import Runtime

# Whatever the environment says of proxies.
_GET = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.stdout.write(opener.open(sys.argv[1], timeout=5).read().decode())
"""


class Island:
    """A network namespace, kept by a process that sleeps.

    Attributes:
        namespace: path of the namespace.
        enter: flags of nsenter(1) for this and further namespaces.
    """

    def __init__(self, pid: int, *others: str) -> None:
        self.namespace = f"/proc/{pid}/ns/net"
        self.enter = [f"--{kind}=/proc/{pid}/ns/{kind}" for kind in ("net", *others)]

    def inside(self, *command: str | Path) -> list[str]:
        """A command line that runs `command` in the namespace."""
        return ["nsenter", *self.enter, *map(str, command)]

    def ip(self, *arguments: str) -> None:
        """Run ip(8)."""
        run_command(self.inside("ip", *arguments))

    def get(self, url: str) -> str:
        """The page at a URL, as the namespace sees it; "" if there is none."""
        return run_command(self.inside(sys.executable, "-c", _GET, url), check=False).stdout

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
def new_island(*others: str) -> Iterator[Island]:
    """A network namespace without devices but lo, as long as the context lasts.

    `others` are kinds of namespaces that it has of its own, too, such as "ipc".
    """
    flags = [f"--{kind}" for kind in ("net", *others)]
    with subprocess.Popen(
        ["unshare", *flags, "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE
    ) as keeper:
        assert keeper.stdout is not None
        keeper.stdout.readline()  # it is in the namespace now
        try:
            yield Island(keeper.pid, *others)
        finally:
            keeper.kill()
