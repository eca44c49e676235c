"""Cgroups that systemd makes: a transient scope for each container.

A scope begins with a process in it, so `create` has nothing to make, and `join` starts the unit
with the first process.
"""

from __future__ import annotations

import os

from pyrunc.cgroups import tree
from pyrunc.cgroups.bus import Manager
from pyrunc.cgroups.cgroup import Cgroup
from pyrunc.cgroups.files import asked_by, failure, read_or_empty
from pyrunc.cgroups.unit import Unit, UnitProperty
from pyrunc.cgroups.v1 import V1Cgroup
from pyrunc.cgroups.v2 import V2Cgroup, delegate, hand_down
from pyrunc.errors import CgroupError, HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.host.facts import HostFacts
    from pyrunc.host.waiting import Steps


def systemd_class(mode: str) -> type[Cgroup]:
    """The class for a cgroup mode."""
    return SystemdV2Cgroup if mode == "v2" else SystemdV1Cgroup


class _Scope(Cgroup):
    """What scopes on v1 and on v2 have in common."""

    accounting = "IOAccounting"

    # Until `apply` there may be two processes: the init, and what it makes of itself.
    _processes = 2

    @property
    def unit(self) -> Unit:
        unit = self.plan.unit
        assert unit is not None
        return unit

    def create(self) -> None:
        """See that nobody is where the scope will be. Raises CgroupError."""
        for path in self.plan.directories:
            tree.require_unused(path)

    def join(self, pid: int, *, beside: int = 0) -> None:
        if not self.plan.late:
            self._join_started(pid, beside)
            return
        unit = self.unit
        with Manager(user=unit.user) as manager:
            try:
                manager.start(unit.name, self._initial(pid))
            except CgroupError as error:
                pointer = "/linux/cgroupsPath"
                raise CgroupError(f"{error}{asked_by(pointer)}", pointer=pointer) from error
        self._arrived(pid)
        self.plan.late = False

    def _initial(self, pid: int) -> list[UnitProperty]:
        unit = self.unit
        return [
            UnitProperty("Description", "s", f"container {unit.name.removesuffix('.scope')}"),
            UnitProperty("Slice", "s", unit.slice),
            UnitProperty("Delegate", "b", True),
            UnitProperty("PIDs", "au", [pid]),
            UnitProperty("MemoryAccounting", "b", True),
            UnitProperty("CPUAccounting", "b", True),
            UnitProperty(self.accounting, "b", True),
            UnitProperty("TasksAccounting", "b", True),
            UnitProperty("DefaultDependencies", "b", False),
            # One whose last process was killed has failed, and would else stay.
            UnitProperty("CollectMode", "s", "inactive-or-failed"),
            *(item for item in unit.properties if not self._comes_later(item)),
        ]

    def _comes_later(self, item: UnitProperty) -> bool:
        return (
            item.name == "TasksMax" and isinstance(item.value, int) and item.value < self._processes
        )

    def apply(self) -> None:
        super().apply()
        later = [item for item in self.unit.properties if self._comes_later(item)]
        if later:
            with Manager(user=self.unit.user) as manager:
                manager.set_properties(self.unit.name, later)

    def _join_started(self, pid: int, beside: int) -> None:
        super().join(pid, beside=beside)

    def _arrived(self, pid: int) -> None:
        """Complete what systemd has made. Raises CgroupError."""
        raise NotImplementedError

    def open_dir_fd(self, *, beside: int = 0) -> int:
        if self.plan.late:
            return -1
        return super().open_dir_fd(beside=beside)

    def destroying(self) -> Steps[None]:
        """Stop the unit and remove what systemd leaves. Raises CgroupError."""
        try:
            with Manager(user=self.unit.user) as manager:
                manager.stop(self.unit.name)
        except (CgroupError, HostError):
            # Without systemd the cgroups can be removed all the same, if they have no processes.
            if any(tree.pids(path, recursive=True) for path in self.plan.directories):
                raise
        yield from super().destroying()

    def _change(self, resources: dict[str, Any], properties: list[UnitProperty]) -> None:
        """Have systemd know new limits after the files have them; the files are then exact."""
        from pyrunc.cgroups.devices import device_rules
        from pyrunc.cgroups.unit import device_properties

        if resources.get("devices") is not None and not self.unit.user:
            rules = device_rules({"resources": resources}, "")
            properties = [*properties, *device_properties(rules)]
        if properties:
            with Manager(user=self.unit.user) as manager:
                manager.set_properties(self.unit.name, properties)


class SystemdV2Cgroup(_Scope, V2Cgroup):
    """A scope on v2."""

    def _arrived(self, pid: int) -> None:
        path = self.plan.paths[""]
        for line in read_or_empty(f"/proc/{pid}/cgroup").splitlines():
            if line.startswith("0::"):
                self._relocate(path, line[3:])
        path = self.plan.paths[""]
        try:
            hand_down(os.path.dirname(path), [], self._needed(path), tolerant=True)
            if self.plan.owner is not None:
                delegate(path, self.plan.owner)
        except OSError as error:
            raise failure(f"delegate {path}", error) from error

    def _relocate(self, expected: str, cgroup: str) -> None:
        """Take over where the process really is.

        The cgroup of a user's service manager is only guessed beforehand.
        """
        if cgroup == "/" or expected.endswith(cgroup):
            return
        mount = self.plan.mount
        actual = mount + cgroup
        self.plan.paths[""] = actual
        for write in self.plan.writes:
            write.path = write.path.replace(expected, actual, 1)
            if write.otherwise is not None:
                write.otherwise.path = write.otherwise.path.replace(expected, actual, 1)

    def _join_started(self, pid: int, beside: int) -> None:
        try:
            V2Cgroup.join(self, pid, beside=beside)
        except CgroupError as error:
            if error.errno not in (1, 13):  # EPERM, EACCES
                raise
            # Who has no right to the cgroup that both are in asks systemd, which has.
            with Manager(user=self.unit.user) as manager:
                manager.attach(self.unit.name, pid)

    def update(self, resources: dict[str, Any], facts: HostFacts) -> None:
        from pyrunc.cgroups.unit import v2_properties
        from pyrunc.cgroups.update import completed, update_v2

        whole = completed(self.directory, resources)
        update_v2(
            self.plan, resources, facts, also=lambda: self._change(whole, v2_properties(whole))
        )


class SystemdV1Cgroup(_Scope, V1Cgroup):
    """A scope on v1, with directories in the hierarchies that systemd does not care for."""

    accounting = "BlockIOAccounting"

    def _arrived(self, pid: int) -> None:
        made: list[str] = []
        for key, path in self.plan.paths.items():
            if key == "name=systemd":
                continue
            try:
                tree.make(path, made)
                self._prepare(path)
            except OSError as error:
                raise failure(f"make {path}", error, "/linux/cgroupsPath") from error
        from pyrunc.cgroups.files import write_all

        write_all(write for write in self.plan.writes if write.early)
        V1Cgroup.join(self, pid)

    def self_join_files(self) -> list[str]:
        return [] if self.plan.late else super().self_join_files()

    def update(self, resources: dict[str, Any], facts: HostFacts) -> None:
        from pyrunc.cgroups.unit import v1_properties
        from pyrunc.cgroups.update import update_v1

        def change() -> None:
            # systemd takes device rules away before it sets new ones, which processes may notice.
            hold = resources.get("devices") is not None and not self.frozen
            if hold:
                self.freeze()
            try:
                self._change(resources, v1_properties(resources))
            finally:
                if hold:
                    self.thaw()

        update_v1(self.plan, resources, also=change)
