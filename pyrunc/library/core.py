"""What the library does, without saying how it waits: the faces `runtime` and `aio` do."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, TypedDict, TypeVar

from pyrunc import log
from pyrunc.container import container as containers
from pyrunc.container import execute
from pyrunc.container.creation import CreateOptions, compile_bundle, creating
from pyrunc.container.session import close_all
from pyrunc.container.store import default_root, list_ids
from pyrunc.container.supervise import receive_master
from pyrunc.errors import NotFoundError, PyruncError, StateError, TimeoutExpired, UsageError
from pyrunc.host import children, procfs
from pyrunc.host.facts import HostFacts
from pyrunc.host.signals import SIGKILL, kill_and_wait
from pyrunc.host.waiting import FOREVER, until_readable
from pyrunc.library.bundle import Bundle, Path
from pyrunc.library.process import BaseProcess, is_awaited, reap_abandoned, reap_ended, to_signal
from pyrunc.library.stdio import DEVNULL, Stdio, Streams
from pyrunc.spec import loader
from pyrunc.spec.words import without_nulls

if TYPE_CHECKING:
    from pyrunc.container.session import Session
    from pyrunc.host.waiting import Steps
    from pyrunc.plan.plan import Plan

CgroupManager: TypeAlias = Literal["cgroupfs", "systemd", "disabled"]
_MANAGERS = ("cgroupfs", "systemd", "disabled")

#: A terminal for a process: whether it has one, and its size as (rows, columns). None leaves it to the configuration.
Pty: TypeAlias = bool | tuple[int, int] | None

P = TypeVar("P", bound=BaseProcess)

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}
_logger = logging.getLogger("pyrunc")


class Event(NamedTuple):
    """Something that happened to a container.

    Attributes:
        type: "stats", or "oom": the kernel killed a process for want of memory.
        id: the container.
        data: of "stats", as `CoreContainer.stats` gives them; else None.
    """

    type: str
    id: str
    data: dict[str, Any] | None


class Result(NamedTuple):
    """How a container ended that `run` ran.

    Attributes:
        exit_code: the exit code of its process, or 128 plus the number of the signal that ended it.
        stdout: what it wrote there, if that was a PIPE or a terminal; else None.
        stderr: likewise.
    """

    exit_code: int
    stdout: bytes | None
    stderr: bytes | None


class CriuWords(TypedDict, total=False):
    """What CRIU is to go along with; each is a flag of `criu(8)`.

    Attributes:
        work_path: directory for CRIU's log; that of the images unless given.
        tcp_established: keep TCP connections.
        ext_unix_sk: AF_UNIX sockets whose other end is outside.
        shell_job: a terminal of the host.
        file_locks: keep file locks.
        criu: the program; "criu" unless given.
    """

    work_path: str
    tcp_established: bool
    ext_unix_sk: bool
    shell_job: bool
    file_locks: bool
    criu: str


class CheckpointWords(CriuWords, total=False):
    """What a checkpoint can be told beside.

    Attributes:
        leave_running: let the container go on.
        pre_dump: write the memory only, and let the container go on: less is left for the checkpoint that adds to
            this one.
        parent_path: a `pre_dump` that this one adds to, relative to the directory of the images.
    """

    leave_running: bool
    pre_dump: bool
    parent_path: str


class Started(NamedTuple):
    """A process just started, for a face to make its `Process` of."""

    pid: int
    pidfd: int
    ends: list[int]
    terminal: int


def take_away(started: Started) -> None:
    """Kill a process that nobody is going to hear of, and let go of it. Its ends must be closed."""
    kill_and_wait(started.pidfd)
    children.reap(started.pidfd)
    close_all((started.pidfd, started.terminal))


def _to_logging(level: str, message: str) -> None:
    _logger.log(_LEVELS.get(level, logging.ERROR), "%s", message)


def as_bundle(bundle: loader.Bundle | Path) -> loader.Bundle:
    """A bundle, read if it is a path."""
    return bundle if isinstance(bundle, loader.Bundle) else Bundle.load(bundle)


def with_terminal(process: dict[str, Any], pty: Pty) -> dict[str, Any]:
    """A process object with the terminal that was asked for."""
    if pty is None:
        return process
    changed = {**process, "terminal": bool(pty)}
    if isinstance(pty, tuple):
        rows, columns = pty
        changed["consoleSize"] = {"height": rows, "width": columns}
    elif not pty:
        changed.pop("consoleSize", None)
    return changed


class _Console:
    """The way on which the master of a new terminal comes; or none."""

    def __init__(self, wanted: bool) -> None:
        self._ours: socket.socket | None = None
        self._theirs: socket.socket | None = None
        if wanted:
            self._ours, self._theirs = socket.socketpair()

    @property
    def fd(self) -> int:
        return -1 if self._theirs is None else self._theirs.fileno()

    def receive(self) -> Steps[int]:
        """The master, -1 without a terminal."""
        if self._ours is None or self._theirs is None:
            return -1
        self._theirs.close()
        yield self._ours.fileno(), FOREVER
        return receive_master(self._ours)

    def close(self) -> None:
        for sock in (self._ours, self._theirs):
            if sock is not None:
                sock.close()


class CoreRuntime:
    """What a runtime is with and without an event loop.

    Attributes:
        root: directory of the states of containers.
        cgroup_manager: who makes cgroups.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        cgroup_manager: CgroupManager = "cgroupfs",
        rootless: bool | None = None,
    ) -> None:
        """
        Args:
            root: directory of the states of containers; None for that of the command line, /run/pyrunc or, without
                privileges, $XDG_RUNTIME_DIR/pyrunc. It is made when it is needed.
            cgroup_manager: "cgroupfs" for directories that the runtime makes, "systemd" for transient scopes,
                "disabled" for no cgroups.
            rootless: do without privileges on the host; None finds out.

        Raises:
            UsageError: there is no such cgroup manager.
        """
        if cgroup_manager not in _MANAGERS:
            raise UsageError(
                f"cgroup_manager {cgroup_manager!r}: must be one of {', '.join(_MANAGERS)}"
            )
        self.root = default_root() if root is None else os.path.abspath(os.fspath(root))
        self.cgroup_manager: CgroupManager = cgroup_manager
        self._rootless = "auto" if rootless is None else str(rootless).lower()
        log.redirect(_to_logging, _logger.isEnabledFor(logging.DEBUG))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r}, cgroup_manager={self.cgroup_manager!r})"

    def ids(self) -> list[str]:
        """The ids of all containers, in order. Raises PyruncError: they cannot be listed."""
        return list_ids(self.root)

    def plan(self, bundle: loader.Bundle | Path, id: str = "container") -> Plan:
        """What `create` would do to this host, without doing it. Needs no privileges.

        Args:
            bundle: a `Bundle`, or the path of one.
            id: the container's id.

        Raises:
            BundleError: the bundle cannot be read, or is wrong.
            HostError: the host lacks what it asks for.
        """
        return compile_bundle(self.root, id, as_bundle(bundle), self._options(), HostFacts())

    def _options(self, **more: Any) -> CreateOptions:
        return CreateOptions(
            cgroup_driver=self.cgroup_manager,
            rootless=self._rootless,
            environment=False,
            keep_pidfd=True,
            thread=False,
            **more,
        )

    def _creating(
        self,
        id: str,
        bundle: loader.Bundle | Path,
        stdio: tuple[Stdio, Stdio, Stdio],
        pty: Pty,
        pass_fds: Sequence[int],
        **more: Any,
    ) -> Steps[tuple[containers.Container, Started]]:
        reap_abandoned()
        found = as_bundle(bundle)
        process = found.config.get("process")
        if process:
            process = with_terminal(process, pty)
            found = loader.Bundle(found.path, {**found.config, "process": process}, found.rootfs)
        elif pty:
            raise UsageError("pty: config.json has no process (/process)")
        terminal = bool(process and process.get("terminal"))
        streams = _streams(stdio, terminal, pass_fds)
        console = _Console(terminal)
        created: containers.Container | None = None
        try:
            options = self._options(
                console_fd=console.fd,
                stdio=streams.theirs,
                preserve_fds=len(pass_fds),
                **more,
            )
            created = yield from creating(self.root, id, found, options)
            streams.close_theirs()
            master = yield from console.receive()
        except BaseException:
            streams.close()
            if created is not None:
                yield from created.deleting(force=True)
                take_away(Started(created.state["pid"], created.pidfd, [], -1))
            raise
        finally:
            console.close()
        return created, Started(created.state["pid"], created.pidfd, streams.ours, master)

    def _restoring(
        self,
        id: str,
        bundle: loader.Bundle | Path,
        image_path: Path,
        stdio: tuple[Stdio, Stdio, Stdio],
        words: CriuWords,
    ) -> Steps[tuple[containers.Container, Started]]:
        from pyrunc.container.restore import RestoreOptions, restoring

        reap_abandoned()
        found = as_bundle(bundle)
        streams = _streams(stdio, bool((found.config.get("process") or {}).get("terminal")), ())
        try:
            options = RestoreOptions(
                image_path=os.path.abspath(os.fspath(image_path)),
                cgroup_driver=self.cgroup_manager,
                rootless=self._rootless,
                stdio=streams.theirs,
                **words,
            )
            restored, master = yield from restoring(self.root, id, found, options)
            streams.close_theirs()
        except BaseException:
            streams.close()
            raise
        pid = restored.state["pid"]
        return restored, Started(pid, os.pidfd_open(pid), streams.ours, master)

    def _load(self, id: str) -> containers.Container:
        return containers.Container.load(self.root, id)

    def _load_all(self) -> list[containers.Container]:
        found = []
        for id in self.ids():
            try:
                found.append(self._load(id))
            except NotFoundError:
                continue
            except PyruncError as error:
                _logger.warning("container %s: %s", id, error)
        return found


def _streams(stdio: tuple[Stdio, Stdio, Stdio], terminal: bool, pass_fds: Sequence[int]) -> Streams:
    if not terminal:
        return Streams(*stdio, pass_fds)
    if any(choice is not None for choice in stdio):
        raise UsageError("stdin, stdout, stderr: the process has a terminal, which they all are")
    return Streams(DEVNULL, DEVNULL, DEVNULL, pass_fds)


class CoreContainer(Generic[P]):
    """What a container is with and without an event loop.

    Attributes:
        process: the container process, where this object created it; else None.
    """

    def __init__(
        self, container: containers.Container, process: P | None, rootless: str = "auto"
    ) -> None:
        self._container = container
        self._rootless = rootless
        self.process = process

    def _fresh(self) -> containers.Container:
        """For one operation: each has a lock of its own, so that threads exclude each other too."""
        old = self._container
        return containers.Container(old.store.another(), old.state)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    @property
    def id(self) -> str:
        """Its id."""
        return self._container.id

    @property
    def bundle(self) -> str:
        """Absolute path of its bundle."""
        return self._container.bundle

    @property
    def pid(self) -> int:
        """Pid of the container process as this program sees it; 0 when it has ended."""
        return self._container.pid

    @property
    def status(self) -> str:
        """created, running, paused or stopped (runtime.md, "State"). Raises NotFoundError: it was deleted."""
        fresh = self._fresh()
        fresh.reload()
        return fresh.status

    def state(self) -> dict[str, Any]:
        """The state as the specification has it: `ociVersion`, `id`, `status`, `pid`, `bundle`, `annotations`
        (runtime.md, "State"); and, as with runc, `rootfs`, `created` and `owner`.

        Raises:
            NotFoundError: it was deleted.
        """
        fresh = self._fresh()
        fresh.reload()
        return fresh.document()

    def kill(self, signal: int | str = "TERM", *, all: bool = False) -> None:
        """Send a signal to the container process.

        Args:
            signal: its number, or a name such as "TERM" or "SIGKILL".
            all: send it to all processes of the container.

        Raises:
            UsageError: there is no such signal.
            StateError: the container is stopped.
            PyruncError: the signal could not be sent.
        """
        self._fresh().kill(to_signal(signal), all)

    def pids(self) -> list[int]:
        """The pids of its processes, as this program sees them. Raises CgroupError: they cannot be listed."""
        return self._container.cgroup.pids()

    def stats(self) -> dict[str, Any]:
        """What it uses, and its limits: the `data` of `runc events --stats`. Times are in ns, sizes in bytes.

        Raises:
            CgroupError: they cannot be read.
        """
        return self._container.stats()

    def _updating(self, resources: Mapping[str, Any]) -> Steps[None]:
        wanted: Any = without_nulls(dict(resources))
        loader.check_resources(wanted, "resources")
        return self._fresh().updating(wanted)

    def _checkpointing(self, image_path: Path, words: CheckpointWords) -> Steps[None]:
        from pyrunc.container.checkpoint import CheckpointOptions, dumping

        options = CheckpointOptions(image_path=os.path.abspath(os.fspath(image_path)), **words)
        fresh = self._fresh()
        fresh.reload()
        yield from dumping(fresh, options)
        if not options.goes_on:
            yield from self._deleting(True)

    def _exec_process(
        self,
        args: Sequence[str] | None,
        process: Mapping[str, Any] | None,
        env: Mapping[str, str] | None,
        cwd: Path | None,
        user: tuple[int, int] | None,
        pty: Pty,
    ) -> dict[str, Any]:
        """The process object for `exec`."""
        if (args is None) == (process is None):
            raise UsageError("exec: give either args or process")
        if process is not None:
            return with_terminal(dict(process), pty)
        assert args is not None
        whole = dict(self._container.process)
        whole.pop("commandLine", None)
        whole.pop("consoleSize", None)
        whole["args"] = list(args)
        if env is not None:
            added = [f"{name}={value}" for name, value in env.items()]
            whole["env"] = [*(whole.get("env") or ()), *added]
        if cwd is not None:
            whole["cwd"] = os.fspath(cwd)
        if user is not None:
            whole["user"] = {**(whole.get("user") or {}), "uid": user[0], "gid": user[1]}
        return with_terminal(whole, bool(pty) if pty is None else pty)

    def _executing(
        self,
        process: dict[str, Any],
        stdio: tuple[Stdio, Stdio, Stdio],
        pass_fds: Sequence[int],
        ignore_paused: bool,
    ) -> Steps[Started]:
        reap_abandoned()
        terminal = bool(process.get("terminal"))
        streams = _streams(stdio, terminal, pass_fds)
        console = _Console(terminal)
        session: Session | None = None
        try:
            options = execute.ExecOptions(
                console_fd=console.fd,
                preserve_fds=len(pass_fds),
                stdio=streams.theirs,
                detach=True,
                ignore_paused=ignore_paused,
                rootless=self._rootless,
            )
            fresh = self._fresh()
            fresh.reload()
            execution = execute.prepare(fresh, process, options)
            yield from execution.begin(console.fd)
            session = execution.session
            streams.close_theirs()
            master = yield from console.receive()
        except BaseException:
            streams.close()
            if session is not None:
                session.kill()
                session.close()
            raise
        finally:
            console.close()
        pidfd, session.pidfd = session.pidfd, -1
        session.close()
        return Started(session.pid, pidfd, streams.ours, master)

    def _waiting(self, timeout: float | None) -> Steps[int]:
        """Wait for the end of the container process, whoever created it."""
        if self.process is not None:
            return (yield from self.process._waiting_for_code(timeout))
        pidfd = self._open_pidfd()
        try:
            if not (yield from until_readable(pidfd, timeout)):
                raise TimeoutExpired(f"container {self.id}", timeout)
            status = yield from _status(pidfd, self._container.state["pid"])
        finally:
            os.close(pidfd)
        if status is None:
            raise self._untold()
        return children.exit_code(status)

    def _open_pidfd(self) -> int:
        """A pidfd of the container process, which may have ended if nobody has taken it away yet."""
        state = self._container.state
        try:
            pidfd = os.pidfd_open(state["pid"])
        except OSError:
            raise self._untold() from None
        try:
            if procfs.start_time(state["pid"]) == state["startTime"]:
                return pidfd
        except OSError:
            pass
        os.close(pidfd)
        raise self._untold()

    def _untold(self) -> StateError:
        return StateError(
            f"container {self.id} has ended; how, only the program that created it was told"
        )

    def _killing(self) -> Steps[None]:
        """SIGKILL, and wait for the end. The first process of a pid namespace ends only when all others in it have been
        taken away by their parents: and this program is the parent of those that it has executed."""
        container = self._fresh()
        try:
            pidfd = container.open_pidfd()
        except StateError:
            return
        deadline = time.monotonic() + 10.0
        try:
            container.kill(SIGKILL)
            while time.monotonic() < deadline and not (yield from until_readable(pidfd, 0.01)):
                reap_ended()
        except StateError:
            return
        finally:
            os.close(pidfd)

    def _deleting(self, force: bool) -> Steps[None]:
        try:
            if force:
                yield from self._killing()
            yield from self._fresh().deleting(force)
        except NotFoundError:
            if not force:
                raise
        if self.process is not None:
            yield from self.process._waiting(None)


def _status(pidfd: int, pid: int) -> Steps[int | None]:
    """The wait status of a process that has ended, which an object that started it is yet to be told.

    Another program that is its parent is told first: wait a moment for that.
    """
    for pause in (0.0, 0.001, 0.01, 0.1, 0.5):
        if pause:
            yield -1, pause
        status = children.reap(pidfd, wait=False, keep=is_awaited(pid))
        if status is not None:
            return status
    return None
