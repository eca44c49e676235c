"""cgroup v2: one directory, in a tree that hands controllers down."""

from __future__ import annotations

import os
import time

from pyrunc.cgroups import tree
from pyrunc.cgroups.cgroup import FREEZE_TIMEOUT, SIGKILL, Cgroup
from pyrunc.cgroups.files import failure, read_or_empty, read_text, refuse
from pyrunc.errors import CgroupError
from pyrunc.host.files import write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from pyrunc.cgroups.oom import OomEvents
    from pyrunc.host.facts import HostFacts
    from pyrunc.host.waiting import Steps

# Controllers that can limit threads; the others need a cgroup of type "domain".
THREADED = ("cpu", "cpuset", "perf_event", "pids")


class V2Cgroup(Cgroup):
    """A container's directory in the v2 hierarchy."""

    @property
    def directory(self) -> str:
        return self.plan.paths.get("", "")

    def _make(self, path: str, made: list[str]) -> None:
        hand_down(os.path.dirname(path), made, self._needed(path), tolerant=self.plan.tolerant)
        super()._make(path, made)
        if path in self.plan.paths.values() and path not in made and self.frozen:
            raise refuse(f"cgroup {path} is frozen", "/linux/cgroupsPath")

    def _prepare(self, path: str) -> None:
        kind = read_text(f"{path}/cgroup.type").strip()
        if kind != "domain":
            self._be_threaded(path, kind)
        if self.plan.owner is not None:
            delegate(path, self.plan.owner)

    def _be_threaded(self, path: str, kind: str) -> None:
        """Make do with a place below a threaded cgroup, if the limits asked for allow it."""
        from pyrunc.cgroups.explain import TYPES

        for controller, pointer in self._needed(path).items():
            if controller not in THREADED:
                raise refuse(
                    f"cgroup {path} cannot have controller {controller}, "
                    f"because its type is {kind!r}: {TYPES.get(kind, '')}",
                    pointer,
                )
        if kind == "domain invalid":
            write_text(f"{path}/cgroup.type", "threaded")

    def _needed(self, path: str) -> dict[str, str | None]:
        """The controllers that limits are asked for, and by which pointer."""
        start = len(path) + 1
        return {
            controller: write.pointer
            for write in reversed(self.plan.writes)
            if (controller := write.path[start:].split(".", 1)[0]) != "cgroup"
        }

    def _why_not_join(self, path: str, error: OSError) -> str:
        from pyrunc.cgroups.explain import refused_process

        return refused_process(path, error)

    def _place(self, path: str, beside: int) -> str:
        if not beside or not read_or_empty(f"{path}/cgroup.subtree_control").strip():
            return path
        for line in read_or_empty(f"/proc/{beside}/cgroup").splitlines():
            if line.startswith("0::"):
                return place_below(path, line[3:])
        return path

    def apply(self) -> None:
        super().apply()
        path = self.directory
        if self.plan.devices is not None and path:
            from pyrunc.cgroups.filters import DeviceProgram

            with DeviceProgram(self.plan.devices, "/linux/resources/devices") as program:
                program.attach(path)

    def freezing(self) -> Steps[None]:
        path = self.directory
        if not path:
            raise CgroupError("cannot freeze: the container has no cgroup")
        try:
            write_text(f"{path}/cgroup.freeze", "1")
            frozen = yield from wait_for(f"{path}/cgroup.events", "frozen 1", FREEZE_TIMEOUT)
            if not frozen:
                write_text(f"{path}/cgroup.freeze", "0")
        except OSError as error:
            raise failure(f"freeze {path}", error) from error
        if not frozen:
            raise CgroupError(
                f"cgroup: freeze {path}: not all processes stopped within {FREEZE_TIMEOUT:g} s"
            )

    def thaw(self) -> None:
        path = self.directory
        if not path:
            raise CgroupError("cannot thaw: the container has no cgroup")
        try:
            write_text(f"{path}/cgroup.freeze", "0")
        except OSError as error:
            raise failure(f"thaw {path}", error) from error

    @property
    def frozen(self) -> bool:
        events = read_or_empty(f"{self.directory}/cgroup.events")
        return "frozen 1" in events.splitlines()

    def kill(self, signal: int) -> None:
        path = self.directory
        if not path or not os.path.isdir(path):
            return
        if signal == SIGKILL:
            try:
                write_text(f"{path}/cgroup.kill", "1")
                return
            except OSError as error:
                if error.errno in (2, 19):  # ENOENT, ENODEV: it was removed meanwhile
                    return
                if error.errno != 95:  # EOPNOTSUPP: a threaded cgroup has no such file
                    raise failure(f"kill {path}", error) from error
        from pyrunc.cgroups.signals import signal_all

        was_frozen = self.frozen
        self.freeze()
        try:
            signal_all(self.pids, signal, frozen=True)
        finally:
            if not was_frozen:
                self.thaw()

    def stats(self) -> dict[str, Any]:
        from pyrunc.cgroups.stats_v2 import v2_stats

        return v2_stats(self.directory)

    def update(self, resources: dict[str, Any], facts: HostFacts) -> None:
        from pyrunc.cgroups.update import update_v2

        update_v2(self.plan, resources, facts)

    def oom_events(self) -> OomEvents:
        from pyrunc.cgroups.oom import V2OomEvents

        if not self.directory:
            raise CgroupError("cannot watch memory: the container has no cgroup")
        return V2OomEvents(self.directory)


def hand_down(path: str, made: list[str], needed: Collection[str], *, tolerant: bool) -> None:
    """Make a directory and those above it, and have each hand all its controllers down.

    What a cgroup cannot hand down, because it is not ours or has processes, is missed only if
    it is asked for; then the write of the value fails, and says why.

    Args:
        path: the directory.
        made: each one made is appended to it.
        needed: controllers that are asked for.
        tolerant: what cannot be made is missed only later.

    Raises CgroupError.
    """
    above = os.path.dirname(path)
    if not os.path.exists(f"{path}/cgroup.procs"):
        if above == path:
            return
        hand_down(above, made, needed, tolerant=tolerant)
        try:
            tree.make(path, made)
        except OSError as error:
            if tolerant:
                return
            raise failure(f"make {path}", error, "/linux/cgroupsPath") from error
    elif os.path.exists(f"{above}/cgroup.procs"):
        hand_down(above, made, needed, tolerant=tolerant)
    available = read_or_empty(f"{path}/cgroup.controllers").split()
    enabled = read_or_empty(f"{path}/cgroup.subtree_control").split()
    missing = [f"+{controller}" for controller in available if controller not in enabled]
    if missing:
        _enable(f"{path}/cgroup.subtree_control", missing, needed)


def _enable(file: str, controllers: list[str], needed: Collection[str]) -> None:
    try:
        write_text(file, " ".join(controllers))
        return
    except OSError as error:
        if error.errno == 16:  # EBUSY: it has processes
            # Controllers for threads it can hand down all the same, but then what is below can have
            # no others. So only if these are all that is wanted.
            controllers = [f"+{name}" for name in needed if f"+{name}" in controllers]
            if not set(needed).issubset(THREADED):
                return
    for controller in controllers:  # one that cannot be holds up all
        try:
            write_text(file, controller)
        except OSError:
            continue


def delegate(path: str, uid: int) -> None:
    """Give a cgroup to a user: the directory, and the files that the kernel lists for that.

    Source: config-linux.md, "Cgroup ownership"; cgroups(7). Raises OSError.
    """
    files = read_or_empty("/sys/kernel/cgroup/delegate").split()
    files = files or ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
    try:
        os.chown(path, uid, -1)
        for name in files:
            try:
                os.chown(f"{path}/{name}", uid, -1)
            except FileNotFoundError:
                continue
    except PermissionError:
        if os.geteuid() == 0:
            raise
        # Without privilege nothing can be given away, and to ourselves it need not be.


def place_below(path: str, cgroup: str) -> str:
    """The directory for a cgroup as /proc/PID/cgroup has it, if it is below `path`; else `path`.

    The one starts at the mount point, which is not known here, the other above it: they meet where
    an end of `path` is a beginning of `cgroup`.
    """
    start = path.find("/")
    while start >= 0:
        if f"{cgroup}/".startswith(f"{path[start:]}/"):
            return path + cgroup[len(path) - start :]
        start = path.find("/", start + 1)
    return path


def wait_for(file: str, line: str, timeout: float) -> Steps[bool]:
    """Wait until a file like cgroup.events has a line.

    Args:
        timeout: for how long, in seconds.

    Returns False when the time is over. Raises OSError.
    """
    import select

    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with select.epoll(flags=select.EPOLL_CLOEXEC) as poll:
            poll.register(fd, select.EPOLLPRI)
            deadline = time.monotonic() + timeout
            while line not in os.pread(fd, 4096, 0).decode().splitlines():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                yield poll.fileno(), left
            return True
    finally:
        os.close(fd)
