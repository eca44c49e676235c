#!/usr/bin/env python3
"""Run real containers with .venv/bin/pyrunc, show what is in them, and check that nothing is left."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers.bundle import BUSYBOX, make_rootfs  # noqa: E402
from helpers.leaks import Leaks, adopt_orphans, remove_tree  # noqa: E402

PYRUNC = Path(os.environ.get("PYRUNC", ROOT / ".venv" / "bin" / "pyrunc"))
LOOK_AROUND = """
echo "pid 1:      $(cat /proc/1/comm), and this shell is $$"
echo "hostname:   $(hostname)"
echo "user:       $(id)"
echo "may do:     $(grep CapEff /proc/self/status)"
echo "network:    $(ls /sys/class/net | tr '\\n' ' ')"
echo "cgroup:     $(grep :pids: /proc/self/cgroup || head -n 1 /proc/self/cgroup)"
echo "limit:      $(cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null) processes"
echo "root:       $(ls / | tr '\\n' ' ')"
echo "mounts:"
awk '{print "  " $1 " on " $2 " (" $4 ")"}' /proc/mounts | cut -c1-100
"""


def say(text: str) -> None:
    """A heading."""
    print(f"\n--- {text}", flush=True)


class Demo:
    """pyrunc with a state directory of its own, showing each command that it is given."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "state"
        self.bundle = directory / "bundle"

    def __call__(self, *arguments: str, show: Callable[[list[str]], list[str]] = list) -> None:
        """Run one command, print it and of its output what `show` picks.

        The output goes through a file, as a detached container would keep a pipe open.
        """
        print(f"$ pyrunc {shlex.join(arguments)}", flush=True)
        command: list[str | Path] = [PYRUNC, "--root", self.root, *arguments]
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command,
                cwd=self.bundle,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=60,
            )
            output.seek(0)
            for line in show(output.read().splitlines()):
                print(f"  {line}", flush=True)
        if done.returncode != 0:
            sys.exit(f"demo: pyrunc {arguments[0]} failed with exit status {done.returncode}")

    def wait(self, container: str, status: str) -> None:
        """Wait until the container has a status, and show its state."""
        command: list[str | Path] = [PYRUNC, "--root", self.root, "state", container]
        for _ in range(600):
            state = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            if state["status"] == status:
                print(f"  state: {status}, pid {state['pid']}", flush=True)
                return
            time.sleep(0.05)
        sys.exit(f"demo: {container} is not {status}, but {state['status']}")

    def configure(self, *args: str) -> None:
        """Small changes to what `pyrunc spec` wrote."""
        path = self.bundle / "config.json"
        config = json.loads(path.read_text())
        config["hostname"] = "demo"
        config["process"]["terminal"] = False
        config["process"]["args"] = list(args)
        config["linux"]["resources"]["pids"] = {"limit": 32}
        path.write_text(json.dumps(config, indent=2))


def excerpt(plan: list[str]) -> list[str]:
    """The beginning and the end of what happens in the container."""
    start = next(i for i, line in enumerate(plan) if line.startswith("spawn:"))
    inside = [line for line in plan[start:] if "/sys/fs/cgroup" not in line]
    return ["...", *inside[:14], "...", *inside[-16:]]


def show_containers(demo: Demo, name: str) -> None:
    """From a root filesystem to containers that have come and gone."""
    say(f"A root filesystem from {BUSYBOX}, and a config.json")
    make_rootfs(demo.bundle / "rootfs")
    demo("spec")
    (demo.bundle / "rootfs" / "look").write_text(LOOK_AROUND)
    demo.configure("sh", "/look")
    demo("validate", ".")

    say("What will be done to this host, before it is done")
    demo("plan", ".", show=excerpt)

    say("A container looks around")
    demo("run", f"{name}-1")

    say("The life of another, step by step")
    demo.configure("sleep", "1000")
    demo("create", f"{name}-2")
    demo.wait(f"{name}-2", "created")
    demo("start", f"{name}-2")
    demo.wait(f"{name}-2", "running")
    demo("exec", f"{name}-2", "ps")
    demo("list")
    demo("pause", f"{name}-2")
    demo.wait(f"{name}-2", "paused")
    demo("resume", f"{name}-2")
    demo("kill", f"{name}-2", "KILL")
    demo.wait(f"{name}-2", "stopped")
    demo("delete", f"{name}-2")


def main() -> int:
    """Show, clean up, and tell whether anything is left."""
    if os.geteuid() != 0:
        sys.exit("demo: must be root to run containers")
    for needed in (PYRUNC, BUSYBOX):
        if not needed.exists():
            sys.exit(f"demo: no {needed}: make build, scripts/install-deps demo")
    adopt_orphans()
    name = f"demo-{os.getpid()}"
    directory = Path(tempfile.mkdtemp(prefix="pyrunc-demo-", dir="/var/tmp"))
    demo = Demo(directory)
    demo.bundle.mkdir()
    leaks = Leaks(directory, name)
    try:
        show_containers(demo, name)
        say("What is left")
        left = leaks.found(demo.root)
        for line in left:
            print(f"  {line}")
    finally:
        leaks.remove()
        remove_tree(directory)
    if left:
        print("demo: that should not be there")
        return 1
    print("nothing: no process, no mount, no cgroup, no state")
    return 0


if __name__ == "__main__":
    sys.exit(main())
