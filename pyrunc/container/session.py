"""Runs a plan: starts pyrunc-init and does the runtime's share at each of its sync points."""

from __future__ import annotations

import _socket
import os

from pyrunc import log
from pyrunc.cgroups import Cgroup
from pyrunc.container import channel
from pyrunc.errors import OperationError, PyruncError
from pyrunc.host import procfs, shim, signals
from pyrunc.host.waiting import FOREVER
from pyrunc.plan.operations import (
    SYNC_HOOKS,
    SYNC_MAP_IDS,
    SYNC_SECCOMP,
    SYNC_START,
    SYNC_TIME,
    Clone,
    Sync,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrunc.container.resctrl import Resctrl
    from pyrunc.host.waiting import Steps
    from pyrunc.plan.operation import Operation
    from pyrunc.plan.plan import Plan

    Handler = Callable[[channel.Message], bytes | Steps[bytes]]


_INFINITY = (1 << 64) - 1  # RLIM_INFINITY


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


class Session:
    """One pyrunc-init and the conversation with it, until it is ready or has executed the program.

    Attributes:
        pid: the process that the container's program will be, in the runtime's pid namespace; 0 before `spawn`.
        pidfd: a pidfd of it.
        source: the document that the pointers of the plan lead into, for errors.
    """

    source = "config.json"

    def __init__(self, cgroup: Cgroup, beside: int = 0) -> None:
        """`beside` is a process of a container that runs already (`Cgroup.join`)."""
        self.cgroup = cgroup
        self._beside = beside
        self._to_be_moved = cgroup.plan.late
        self._to_be_cloned = False
        self._plan: Plan | None = None
        self.pid = 0
        self.pidfd = -1
        self.resctrl: Resctrl | None = None
        self._handlers: dict[int, Handler] = {
            SYNC_START: self._start,
            SYNC_MAP_IDS: self._map_ids,
            SYNC_TIME: self._time_offsets,
        }
        self._socket: _socket.socket | None = None

    def on(self, kind: int, handler: Handler) -> None:
        """Have `handler` called at the sync points of a kind; it returns the state for later hooks, or b"".

        A handler that has to wait is a generator.
        """
        self._handlers[kind] = handler

    @property
    def plan(self) -> Plan:
        assert self._plan is not None, "the plan was not sent yet"
        return self._plan

    def spawn(self, namespaces: tuple[int, int], preserve: int, stdio: Sequence[int]) -> None:
        """Start the init. It makes its namespaces while the caller goes on, and waits for the plan.

        Args:
            namespaces: CLONE_NEW* for clone3(2), and those that the init makes itself.
            preserve: number of descriptors from 3 on that it keeps.
            stdio: what becomes its descriptors 0, 1, 2 and so on. Preserved ones behind these are as they are here.

        Raises:
            PyruncError: it could not be started.
        """
        kept = [*stdio, *range(len(stdio), 3 + preserve)]
        self._socket, theirs = channel.pair()
        cgroup_fd = -1

        def clone() -> None:
            self.pid, self.pidfd = shim.spawn(
                *namespaces, theirs.fileno(), kept=kept, cgroup=cgroup_fd
            )

        try:
            cgroup_fd = self.cgroup.open_dir_fd(beside=self._beside)
            try:
                clone()
                if cgroup_fd >= 0 and self.cgroup.plan.mode == "v2":
                    self._to_be_moved = False
            except PermissionError:
                if cgroup_fd < 0:
                    raise
                # we have no right to the cgroup that we and the container are in; systemd has, or
                # the container can do without
                self._to_be_moved = True
                close_all((cgroup_fd,))
                cgroup_fd = -1
                clone()
        except OSError as error:
            raise PyruncError(
                f"clone3: {error.strerror}", errno=error.errno or 0, pointer="/linux/namespaces"
            ) from None
        finally:
            theirs.close()
            close_all((cgroup_fd,))

    def send(self, plan: Plan, slots: Sequence[int]) -> None:
        """Give the init its plan, and the descriptors that it names by slot; -1 for none.

        Raises:
            OperationError: the init has died, or could not make its namespaces.
        """
        self._plan = plan
        if log.debugging():
            for line in plan.describe():
                log.debug(line)
        fd = shim.data_fd("pyrunc-plan", plan.encode())
        assert self._socket is not None
        try:
            channel.send_plan(self._socket, fd, slots)
        except OSError as error:
            raise self._last_words(self._socket, error) from None
        finally:
            os.close(fd)

    def converse(self) -> Steps[bool]:
        """Answer the init until it is ready. True when it is; False when it has executed the program.

        Raises:
            OperationError: an operation failed, or the init died.
            PyruncError: the runtime's share at a sync point failed.
        """
        sock = self._socket
        assert sock is not None
        self._to_be_cloned = any(isinstance(o, Clone) for o in self.plan.operations)
        while True:
            yield sock.fileno(), FOREVER
            message = channel.receive(sock)
            if message is None:
                if self._to_be_cloned:
                    raise self.death()
                return False
            if message.type == channel.ERROR:
                raise channel.failure(message, self.plan.operations, self.source)
            if message.type == channel.READY:
                return True
            if message.type == channel.CLONED:
                state = self._cloned(message)
            else:
                answer = self._handler(message)(message)
                state = answer if isinstance(answer, bytes) else (yield from answer)
            self._reply(sock, state)

    def commit(self) -> None:
        """Let the init, which is ready, wait for `start` on its own. Raises OperationError."""
        assert self._socket is not None
        self._reply(self._socket, b"")

    def _reply(self, sock: _socket.socket, state: bytes) -> None:
        try:
            channel.reply(sock, state)
        except OSError as error:
            raise self._last_words(sock, error) from None

    def _last_words(self, sock: _socket.socket, error: OSError) -> OperationError:
        """The error for an init that cannot be told something. One that has died may have told why."""
        if not isinstance(error, ConnectionError):
            return OperationError(
                f"pyrunc-init cannot be told what to do: {error.strerror}", errno=error.errno or 0
            )
        message = channel.receive(sock)
        if message is not None and message.type == channel.ERROR:
            return channel.failure(message, self.plan.operations, self.source)
        return self.death()

    def _handler(self, message: channel.Message) -> Handler:
        operations = self.plan.operations
        operation = operations[message.operation] if message.operation < len(operations) else None
        kind = operation.kind if isinstance(operation, Sync) else SYNC_SECCOMP
        if kind not in self._handlers or (kind == SYNC_SECCOMP) != (message.fd >= 0):
            raise channel.nonsense(message)
        return self._handlers[kind]

    def death(self) -> OperationError:
        """The error for an init that ended without a word."""
        try:
            _, status = os.waitpid(self.pid, 0)
            how = channel.wait_status(status)
        except ChildProcessError:
            how = "ended"
        hint = ""
        if "signal 9" in how:
            hint = ": it may have hit the memory limit of its cgroup"
        return OperationError(f"pyrunc-init {how}{hint}")

    def close(self) -> None:
        """Give up what the session holds; an init that is not committed exits by this."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def kill(self) -> None:
        """Kill the init and take it away. No error where it is gone."""
        if self.pidfd >= 0:
            signals.kill_and_wait(self.pidfd)
            try:
                os.waitpid(self.pid, 0)
            except ChildProcessError:
                return

    # ---- the runtime's share ------------------------------------------------------------------

    def _start(self, _: channel.Message) -> bytes:
        plan = self.plan
        if self._to_be_moved:
            self.cgroup.join(self.pid, beside=self._beside)
        # a limit of one process must not hit the second one that the init makes of itself
        if not self._to_be_cloned:
            self.cgroup.apply()
        if self.resctrl is not None:
            self.resctrl.join(self.pid)
        if plan.hard_limits:
            _allow(self.pid, plan.hard_limits)
        if plan.oom_score_adj is not None:
            self._write("oom_score_adj", str(plan.oom_score_adj), "/process/oomScoreAdj")
        return b""

    def _write(self, name: str, value: str, pointer: str) -> None:
        try:
            procfs.write(self.pid, name, value)
        except OSError as error:
            raise PyruncError(
                f"write {value.strip()!r} to {name}: {error.strerror} (config.json: {pointer})",
                errno=error.errno or 0,
                pointer=pointer,
            ) from None

    def _map_ids(self, _: channel.Message) -> Steps[bytes]:
        from pyrunc.container.idmap import write_id_maps

        yield from write_id_maps(self.pid, self.plan.uid_mappings, self.plan.gid_mappings)
        return b""

    def _time_offsets(self, _: channel.Message) -> bytes:
        for clock, offset in self.plan.time_offsets.items():
            seconds, nanoseconds = offset.get("secs") or 0, offset.get("nanosecs") or 0
            self._write(
                "timens_offsets",
                f"{clock} {seconds} {nanoseconds}\n",
                f"/linux/timeOffsets/{clock}",
            )
        return b""

    def _cloned(self, message: channel.Message) -> bytes:
        if message.fd < 0:
            raise channel.nonsense(message)
        self._to_be_cloned = False
        first = self.pid
        os.close(self.pidfd)
        self.pid, self.pidfd = message.value, message.fd
        os.waitpid(first, 0)
        self.cgroup.apply()
        return b""


def _allow(pid: int, hard_limits: dict[int, int]) -> None:
    """Raise hard limits of a process. Where that is not allowed, the process will be refused itself, and tell."""
    import resource

    for kind, wanted in hard_limits.items():
        soft, hard = resource.prlimit(pid, kind)
        value = resource.RLIM_INFINITY if wanted == _INFINITY else wanted
        if hard == resource.RLIM_INFINITY or wanted <= hard:
            continue
        try:
            resource.prlimit(pid, kind, (soft, value))
        except (OSError, ValueError, OverflowError):
            continue


def operations_after_start(operations: list[Operation]) -> dict[str, list[str]]:
    """Pointer and description of each operation behind the start, for errors that `start` will be told."""
    late: dict[str, list[str]] = {}
    waiting = True
    for index, operation in enumerate(operations):
        if not waiting:
            late[str(index)] = [operation.pointer, operation.describe()]
        elif type(operation).__name__ == "WaitForStart":
            waiting = False
    return late


__all__ = ["SYNC_HOOKS", "SYNC_SECCOMP", "Session", "operations_after_start"]
