"""The cgroup of one container: make it, move processes in, apply limits, signal, remove."""

from __future__ import annotations

import os
import time

from pyrunc.cgroups import tree
from pyrunc.cgroups.files import MANY, failure, refuse, write_all
from pyrunc.cgroups.plan import CgroupPlan
from pyrunc.errors import CgroupError
from pyrunc.host import shim
from pyrunc.host.files import write_text
from pyrunc.host.waiting import finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroups.oom import OomEvents
    from pyrunc.host.facts import HostFacts
    from pyrunc.host.waiting import Steps

SIGKILL = 9

FREEZE_TIMEOUT = 10.0  # seconds

# errno of what an unprivileged process may not do, or finds mounted read-only.
_NOT_ALLOWED = (1, 13, 30)  # EPERM, EACCES, EROFS


class Cgroup:
    """The cgroup of one container.

    `Cgroup(plan)` and `Cgroup.from_state(state)` give the class for the plan's driver and mode.

    Attributes:
        plan: what it was made from. `create` and `join` take those paths out of it that a
            tolerant plan could not have, so `plan.to_state()` is worth keeping after them too.
    """

    def __new__(cls, plan: CgroupPlan) -> Cgroup:
        if cls is not Cgroup:
            return object.__new__(cls)
        if plan.driver == "systemd" and plan.unit is not None:
            from pyrunc.cgroups.systemd import systemd_class

            return object.__new__(systemd_class(plan.mode))
        if plan.mode == "v2":
            from pyrunc.cgroups.v2 import V2Cgroup

            return object.__new__(V2Cgroup)
        from pyrunc.cgroups.v1 import V1Cgroup

        return object.__new__(V1Cgroup)

    def __init__(self, plan: CgroupPlan) -> None:
        self.plan = plan

    @staticmethod
    def from_state(state: dict[str, Any]) -> Cgroup:
        """The cgroup that `CgroupPlan.to_state` described."""
        unit = state.get("unit")
        if unit is not None:
            from pyrunc.cgroups.unit import Unit

            unit = Unit(unit["name"], unit["slice"], user=unit["user"], properties=[])
        return Cgroup(
            CgroupPlan(
                state["driver"],
                state["mode"],
                state["paths"],
                [],
                tolerant=state["tolerant"],
                late=state["late"],
                unit=unit,
                mount=state["mount"],
            )
        )

    @property
    def directory(self) -> str:
        """The directory in which processes are looked for; "" if there is none."""
        raise NotImplementedError

    def exists(self) -> bool:
        """Whether the cgroup is there."""
        return bool(self.directory) and os.path.isdir(self.directory)

    def create(self) -> None:
        """Make the directories, as yet without a process.

        Raises CgroupError, and then leaves nothing: a directory cannot be made, or it exists and
        is in use or frozen, or an early value is refused.
        """
        made: list[str] = []
        try:
            self._make_at_once(made)
            for path in self.plan.directories:
                self._make(path, made)
            write_all(write for write in self.plan.writes if write.early)
        except BaseException:
            tree.undo(made)
            raise

    def _make_at_once(self, made: list[str]) -> None:
        """Make the directories up to the first one that needs more than that."""
        directories = self.plan.directories
        if len(directories) >= MANY:
            done, _ = shim.carry_out("d", directories)
            made += directories[:done]

    def _make(self, path: str, made: list[str]) -> None:
        try:
            if path not in made and not tree.make(path, made):
                tree.require_unused(path)
            self._prepare(path)
        except OSError as error:
            if not self._tolerate(path, error):
                raise failure(f"make {path}", error, "/linux/cgroupsPath") from error
            tree.undo([path] if path in made else [])

    def _prepare(self, path: str) -> None:
        """Bring an empty directory to where a process can join. Raises OSError."""

    def _tolerate(self, path: str, error: OSError) -> bool:
        """Give up a path for want of permission, if the plan allows that."""
        if not (self.plan.tolerant and error.errno in _NOT_ALLOWED):
            return False
        for key in [key for key, value in self.plan.paths.items() if value == path]:
            del self.plan.paths[key]
        return True

    def join(self, pid: int, *, beside: int = 0) -> None:
        """Move a process, with all its threads, into the cgroup.

        Args:
            pid: the process.
            beside: a process of the container. With v2, a container that has cgroups of its own
                with controllers cannot have processes outside them; then it goes where this is.

        Raises CgroupError. A process that has already exited is one too.
        """
        for path in self.plan.directories:
            try:
                write_text(f"{self._place(path, beside)}/cgroup.procs", str(pid))
            except OSError as error:
                if not self._tolerate(path, error):
                    hint = self._why_not_join(path, error)
                    raise failure(f"move process {pid} to {path}", error, hint=hint) from error
                tree.undo([path])
        self.plan.late = False

    def _place(self, path: str, beside: int) -> str:
        """The directory at or below `path` where a process can be, given one that is there."""
        return path

    def _why_not_join(self, path: str, error: OSError) -> str:
        """What the kernel leaves unsaid when it refuses a process."""
        return ""

    def apply(self) -> None:
        """Write the values that are not early ones.

        Raises CgroupError with the pointer of the value that was refused.
        """
        present = tuple(f"{path}/" for path in self.plan.paths.values())
        writes = []
        for write in self.plan.writes:
            if write.early:
                continue
            if not write.path.startswith(present):
                message = f"{write}: no permission to have a cgroup there"
                raise refuse(message, write.pointer)
            writes.append(write)
        write_all(writes)

    def pids(self, recursive: bool = True) -> list[int]:
        """The processes in the cgroup and those below it. Raises CgroupError."""
        if not self.directory:
            return []
        try:
            return tree.pids(self.directory, recursive=recursive)
        except OSError as error:
            raise failure(f"list the processes of {self.directory}", error) from error

    def freeze(self) -> None:
        """`freezing`, in this thread."""
        finish(self.freezing())

    def freezing(self) -> Steps[None]:
        """Stop all processes, and return when they have stopped. Raises CgroupError."""
        raise NotImplementedError

    def thaw(self) -> None:
        """Let frozen processes go on. Raises CgroupError."""
        raise NotImplementedError

    @property
    def frozen(self) -> bool:
        """Whether it is frozen, by itself or by a cgroup above it; False if it is gone."""
        raise NotImplementedError

    def kill(self, signal: int) -> None:
        """Send a signal to each process in the cgroup and below. Raises CgroupError.

        No process can get away by forking: the cgroup is frozen meanwhile. A frozen cgroup stays
        so, except for SIGKILL, which only takes effect on a process that runs.
        """
        raise NotImplementedError

    def destroy(self) -> None:
        """`destroying`, in this thread."""
        finish(self.destroying())

    def destroying(self) -> Steps[None]:
        """Remove the directories and all cgroups below them; those above stay.

        A cgroup that is gone is no error. One whose processes are exiting is waited for, up to
        `tree.REMOVE_TIMEOUT` seconds.

        Raises CgroupError: processes are in it still.
        """
        deadline = time.monotonic() + tree.REMOVE_TIMEOUT
        first: CgroupError | None = None
        rest = self.plan.directories
        if len(rest) >= MANY and shim.is_loaded():
            done, _ = shim.carry_out("r", rest)
            rest = rest[done:]
        for path in rest:
            try:
                yield from tree.removing(path, deadline)
            except CgroupError as error:
                first = first or error
        if first is not None:
            raise first

    def stats(self) -> dict[str, Any]:
        """Usage and limits, as the `data` of `runc events --stats`. Raises CgroupError."""
        raise NotImplementedError

    def update(self, resources: dict[str, Any], facts: HostFacts) -> None:
        """Change limits.

        Args:
            resources: an object like `linux.resources`; what it does not name stays.
            facts: of the host.

        Raises CgroupError; values written before the refused one are set back.
        """
        raise NotImplementedError

    def oom_events(self) -> OomEvents:
        """Watch for out-of-memory kills. Raises CgroupError where memory is not controlled."""
        raise NotImplementedError

    def open_dir_fd(self, *, beside: int = 0) -> int:
        """Open the v2 directory, for clone3(CLONE_INTO_CGROUP).

        A process started so need not be moved, which is slow: moving another process waits for
        an RCU grace period. Beside v1 it serves the v2 hierarchy that is there; see
        `self_join_files` for the others.

        `beside` is as for `join`. Returns a file descriptor, close-on-exec, that the caller
        closes; -1 if there is no v2 directory. Raises CgroupError.
        """
        path = self.plan.paths.get("")
        if path is None:
            return -1
        path = self._place(path, beside)
        try:
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise failure(f"open {path}", error) from error

    def self_join_files(self) -> list[str]:
        """The files of v1 to which a process of one thread writes "0" to join the cgroup itself.

        The kernel then need not hold off all forks and exits, so that nothing waits for an RCU
        grace period as `join` does: some 10 ms on an idle machine.
        """
        v1 = dict.fromkeys(path for key, path in self.plan.paths.items() if key)
        return [f"{path}/tasks" for path in v1]
