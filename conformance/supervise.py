"""Run one validation program, bounded in time, and clean up all that it left behind.

Started as a process of its own, so that it can be the reaper of whatever the program orphans and
have a mount namespace that takes leaked mounts with it. In that namespace the root filesystem is
read-only: the programs remove their bundles recursively, and a runtime that had leaked a bind mount
of /etc into one would let them remove the host's. Argument: a JSON object; result: one too.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_CLONE_NEWNS = 0x00020000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
_PR_SET_CHILD_SUBREAPER = 36
_CGROUPS = Path("/sys/fs/cgroup")
# The paths that the programs themselves put into config.json.
_PROGRAM_CGROUPS = ("cgrouptest", "testdir/cgrouptest/container", "testdir/cgrouptest", "testdir")

# Records the ids that a program uses and keeps the runtime's state apart from any other's.
_WRAPPER = """#!/bin/sh
for last; do :; done
echo "$last" >>{ids}
exec {runtime} --root {root} "$@"
"""


def _isolate(scratch: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    check(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")
    check(libc.unshare(_CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount(MS_PRIVATE)")
    for place in (scratch, Path("/run")):
        mounted = libc.mount(b"tmpfs", bytes(place), b"tmpfs", 0, b"mode=755")
        check(mounted, f"mount(tmpfs, {place})")
    read_only = _MS_REMOUNT | _MS_BIND | _MS_RDONLY
    check(libc.mount(b"none", b"/", None, read_only, None), "mount(MS_REMOUNT)")


def _children() -> list[int]:
    """Live processes whose parent is this one."""
    own = os.getpid()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text()
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if int(parent) == own and state != "Z":
            found.append(int(entry))
    return found


def _command(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def _reap(deadline: float) -> list[str]:
    """Kill what was orphaned to this process, level by level, and collect the dead."""
    killed: dict[int, str] = {}
    while time.monotonic() < deadline:
        for pid in _children():
            killed.setdefault(pid, _command(pid))
            os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
        except ChildProcessError:
            break
        time.sleep(0.02)
    return list(killed.values())


def _delete_containers(runtime: str, root: Path, limit: float) -> list[str]:
    """Containers that are still in the state directory, and are gone after this."""
    left = sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.exists() else []
    for container in left:
        try:
            subprocess.run(
                [runtime, "--root", str(root), "delete", "--force", container],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            continue
    return left


def _remove_cgroups(ids: set[str]) -> list[str]:
    left = []
    for hierarchy in sorted(_CGROUPS.iterdir()):
        for name in (*ids, *_PROGRAM_CGROUPS):
            directory = hierarchy / name
            if name and directory.is_dir():
                left.append(name)
                for sub, _, _ in os.walk(directory, topdown=False):
                    try:
                        os.rmdir(sub)
                    except OSError as error:
                        left.append(f"{sub} ({error.strerror})")
    return sorted(set(left))


def supervise(order: dict[str, Any]) -> dict[str, Any]:
    """Run `order["program"]` with `order["runtime"]` for at most `order["limit"]` seconds."""
    scratch = Path(order["scratch"])
    _isolate(scratch)
    root, ids, wrapper = scratch / "state", scratch / "ids", scratch / "runtime"
    temporary = scratch / "tmp"
    temporary.mkdir()
    wrapper.write_text(_WRAPPER.format(ids=ids, runtime=order["runtime"], root=root))
    wrapper.chmod(0o755)

    environment = {**os.environ, "RUNTIME": str(wrapper), "TMPDIR": str(temporary)}
    started = time.monotonic()
    timed_out = False
    with (scratch / "stdout").open("wb") as out, (scratch / "stderr").open("wb") as err:
        program = subprocess.Popen(
            [order["program"]],
            cwd=order["directory"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            program.wait(order["limit"])
        except subprocess.TimeoutExpired:
            timed_out = True
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
    seconds = time.monotonic() - started

    left = {"containers": _delete_containers(order["runtime"], root, order["limit"])}
    left["processes"] = _reap(time.monotonic() + 10)
    used = set(ids.read_text().split("\n")) if ids.exists() else set()
    left["cgroups"] = _remove_cgroups({name for name in used if "/" not in name and name != "."})
    left["mounts"] = [
        line.split()[4]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4].startswith(f"{scratch}/")
    ]
    return {
        "exit_status": program.returncode,
        "timed_out": timed_out,
        "seconds": seconds,
        "stdout": (scratch / "stdout").read_text(errors="replace"),
        "stderr": (scratch / "stderr").read_text(errors="replace"),
        "left": left,
    }


if __name__ == "__main__":
    json.dump(supervise(json.loads(sys.argv[1])), sys.stdout)
