"""cgroup v1, alone or beside a v2 hierarchy without controllers."""

from __future__ import annotations

import os
import time

from pyrunc.cgroups import tree
from pyrunc.cgroups.cgroup import FREEZE_TIMEOUT, SIGKILL, Cgroup
from pyrunc.cgroups.files import asked_by, failure, read_or_empty, read_text, refuse
from pyrunc.errors import CgroupError
from pyrunc.host.files import write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroups.oom import OomEvents
    from pyrunc.host.facts import HostFacts
    from pyrunc.host.waiting import Steps


class V1Cgroup(Cgroup):
    """A container's directories in the v1 hierarchies."""

    @property
    def directory(self) -> str:
        paths = self.plan.paths
        for key in ("freezer", "devices", "pids"):
            if key in paths:
                return paths[key]
        return next(iter(paths.values()), "")

    def _prepare(self, path: str) -> None:
        if path == self.plan.paths.get("cpuset"):
            given = {write.path for write in self.plan.writes if write.early}
            inherit_cpuset(path, given)

    def _make(self, path: str, made: list[str]) -> None:
        super()._make(path, made)
        if path == self.plan.paths.get("freezer") and path not in made and self.frozen:
            raise refuse(f"cgroup {path} is frozen", "/linux/cgroupsPath")

    def create(self) -> None:
        super().create()
        for write in self.plan.writes:
            # Since Linux 5.16 the kernel takes the value and forgets it.
            if write.path.endswith("/memory.kmem.limit_in_bytes"):
                limit = read_or_empty(write.path).strip()
                if int(write.value) > 0 and int(limit or 0) > int(write.value):
                    from pyrunc import log

                    log.warning(f"{write} has no effect on this kernel{asked_by(write.pointer)}")

    def _freezer(self) -> str:
        path = self.plan.paths.get("freezer")
        if path is None:
            raise CgroupError("cannot freeze: the container has no freezer cgroup")
        return f"{path}/freezer.state"

    def freezing(self) -> Steps[None]:
        file = self._freezer()
        deadline = time.monotonic() + FREEZE_TIMEOUT
        delay = 0.0001
        attempt = 0
        try:
            while time.monotonic() < deadline:
                # Written again each time: the kernel goes on from FREEZING only when asked.
                write_text(file, "FROZEN")
                if read_text(file).startswith("FROZEN"):
                    return
                attempt += 1
                if attempt % 16 == 0:
                    # A process may wait unfreezably for one that is frozen (vfork).
                    write_text(file, "THAWED")
                yield -1, delay
                delay = min(2 * delay, 0.02)
            write_text(file, "THAWED")
        except OSError as error:
            raise failure(f"freeze {os.path.dirname(file)}", error) from error
        raise CgroupError(
            f"cgroup: freeze {os.path.dirname(file)}: not all processes stopped within "
            f"{FREEZE_TIMEOUT:g} s"
        )

    def thaw(self) -> None:
        file = self._freezer()
        try:
            write_text(file, "THAWED")
        except OSError as error:
            raise failure(f"thaw {os.path.dirname(file)}", error) from error

    @property
    def frozen(self) -> bool:
        path = self.plan.paths.get("freezer")
        if path is None:
            return False
        try:
            return not read_text(f"{path}/freezer.state").startswith("THAWED")
        except OSError:
            return False

    def kill(self, signal: int) -> None:
        from pyrunc.cgroups.signals import signal_all

        unified = self.plan.paths.get("")
        if signal == SIGKILL and unified is not None:
            try:
                write_text(f"{unified}/cgroup.kill", "1")
                killed = set(tree.pids(unified, recursive=True))
            except OSError:  # it is gone
                killed = set()
            if killed.issuperset(self.pids()):
                if self.frozen:
                    self.thaw()
                return
        if "freezer" not in self.plan.paths:
            signal_all(self.pids, signal)
            return
        was_frozen = self.frozen
        self.freeze()
        try:
            signal_all(self.pids, signal, frozen=True)
        finally:
            if signal == SIGKILL or not was_frozen:
                self.thaw()

    def stats(self) -> dict[str, Any]:
        from pyrunc.cgroups.stats_v1 import v1_stats

        return v1_stats(self.plan.paths)

    def update(self, resources: dict[str, Any], facts: HostFacts) -> None:
        from pyrunc.cgroups.update import update_v1

        update_v1(self.plan, resources)

    def oom_events(self) -> OomEvents:
        from pyrunc.cgroups.oom import V1OomEvents

        path = self.plan.paths.get("memory")
        if path is None:
            raise CgroupError("cannot watch memory: the container has no memory cgroup")
        return V1OomEvents(path)


def inherit_cpuset(path: str, given: set[str]) -> None:
    """Fill an empty cpuset from its parent's, which may be empty as well.

    Until it has CPUs and memory nodes no process can join. `given` are the files that are going to
    be written from the config. Raises OSError.
    """
    parent = os.path.dirname(path)
    for name in ("cpuset.cpus", "cpuset.mems"):
        if read_text(f"{path}/{name}").strip():
            continue
        value = read_text(f"{parent}/{name}").strip()
        if not value:
            inherit_cpuset(parent, set())
            value = read_text(f"{parent}/{name}").strip()
        if f"{path}/{name}" not in given:
            write_text(f"{path}/{name}", value)
