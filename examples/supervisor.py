#!/usr/bin/env python3
"""A small supervisor: keeps containers running, restarts them when they end, and stops them all on SIGTERM.

    supervisor.py services.toml

services.toml has a table for each service:

    [web]
    bundle = "/srv/web"         # a bundle, with its config.json
    restart = "always"          # or "on-failure" (default), or "never"
    delay = 1.0                 # seconds until the first restart; doubled each time, up to a minute
    grace = 10.0                # seconds between SIGTERM and SIGKILL

A service that has run for a minute is taken to be healthy: then the delay starts anew.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
import tomllib
from pathlib import Path

import pyrunc
import pyrunc.aio

LONGEST_DELAY = HEALTHY_AFTER = 60.0


class Service:
    """One container that is wanted."""

    def __init__(self, runtime: pyrunc.aio.Runtime, name: str, wanted: dict[str, object]) -> None:
        self.runtime = runtime
        self.name = name
        self.bundle = str(wanted["bundle"])
        self.restart = wanted.get("restart", "on-failure")
        self.delay = float(str(wanted.get("delay", 1.0)))
        self.grace = float(str(wanted.get("grace", 10.0)))

    async def keep_running(self, stopping: asyncio.Event) -> None:
        """Run it again and again, until it is not wanted any more."""
        delay = self.delay
        while not stopping.is_set():
            began = time.monotonic()
            try:
                code = await self.run_once(stopping)
                say(f"{self.name}: exited with {code}")
            except pyrunc.PyruncError as error:
                code = 1
                say(f"{self.name}: {error}")
            if self.restart == "never" or (self.restart == "on-failure" and code == 0):
                return
            if time.monotonic() - began >= HEALTHY_AFTER:
                delay = self.delay
            await wait_for(stopping, delay)
            delay = min(2 * delay, LONGEST_DELAY)

    async def run_once(self, stopping: asyncio.Event) -> int:
        """Run it until it ends, or until it must. Returns its exit code."""
        await self.runtime.delete(self.name)  # what a killed supervisor has left
        async with await self.runtime.create(
            self.name, self.bundle, stdin=pyrunc.DEVNULL
        ) as container:
            await container.start()
            say(f"{self.name}: started, pid {container.pid}")
            ended = asyncio.create_task(container.wait())
            stop = asyncio.create_task(stopping.wait())
            await asyncio.wait((ended, stop), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if not ended.done():
                await self.stop(container)
            return await ended

    async def stop(self, container: pyrunc.aio.Container) -> None:
        try:
            container.kill("TERM")
            await container.wait(self.grace)
        except pyrunc.TimeoutExpired:
            say(f"{self.name}: does not stop, killed")
            container.kill("KILL")
        except pyrunc.StateError:
            return  # it has ended by itself


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def say(text: str) -> None:
    print(text, flush=True)


async def supervise(services: dict[str, dict[str, object]], root: str | None) -> None:
    """Keep all services running until SIGTERM or SIGINT."""
    runtime = pyrunc.aio.Runtime(root)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    wanted = [Service(runtime, name, service) for name, service in services.items()]
    await asyncio.gather(*(service.keep_running(stopping) for service in wanted))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: supervisor.py services.toml [state-directory]")
    asyncio.run(
        supervise(
            tomllib.loads(Path(sys.argv[1]).read_text()), sys.argv[2] if len(sys.argv) > 2 else None
        )
    )
