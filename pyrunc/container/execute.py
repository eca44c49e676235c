"""`exec`: another process in a running container."""

from __future__ import annotations

import os

from pyrunc import log
from pyrunc.cgroups import Cgroup
from pyrunc.container.container import Container, wrong_status
from pyrunc.container.creation import (
    check_descriptors,
    connect_unix,
    is_rootless,
    send_fd,
)
from pyrunc.container.options import ProcessOptions
from pyrunc.container.session import SYNC_SECCOMP, Session, close_all
from pyrunc.container.store import seccomp_cache, write_pid_file
from pyrunc.errors import StateError, UsageError
from pyrunc.host.facts import HostFacts
from pyrunc.host.waiting import finish
from pyrunc.plan.compiler import compile_exec
from pyrunc.plan.context import PlanOptions
from pyrunc.spec.loader import Bundle, check_process
from pyrunc.spec.rules import warnings
from pyrunc.spec.words import without_nulls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Unpack

    from pyrunc.container.channel import Message
    from pyrunc.container.options import ProcessWords
    from pyrunc.host.waiting import Steps


class ExecOptions(ProcessOptions):
    """What the command line, or the caller of the library, says about a process to execute.

    Attributes:
        detach: do not wait for the process.
        ignore_paused: execute it in a paused container too, where it waits for resume.
        cgroups: cgroups below the container's, "PATH" or "CONTROLLER[,…]:PATH".
    """

    def __init__(
        self,
        *,
        detach: bool = False,
        ignore_paused: bool = False,
        cgroups: Sequence[str] = (),
        **common: Unpack[ProcessWords],
    ) -> None:
        super().__init__(**common)
        self.detach = detach
        self.ignore_paused = ignore_paused
        self.cgroups = cgroups


#: What a process has of the container's own where it says nothing else, as with runc.
_INHERITED = (
    "capabilities",
    "apparmorProfile",
    "selinuxLabel",
    "oomScoreAdj",
    "scheduler",
    "ioPriority",
    "execCPUAffinity",
)


def completed(process: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`process` with what it leaves out as in `own`, the process of the container's config.json."""
    given = {name for name, value in process.items() if value not in (None, "", [])}
    inherited = {name: own[name] for name in _INHERITED if name in own and name not in given}
    return {**process, **inherited}


def execute(container: Container, process: dict[str, Any], options: ExecOptions) -> int:
    """Run `process` (config.md, "Process") in a container.

    Returns its exit code, 128 plus the signal if one ended it; 0 when detached.

    Raises as `prepare` and `Execution.begin` do.
    """
    terminal = bool(process.get("terminal"))
    if terminal and options.detach and not options.console_socket and options.console_fd < 0:
        raise UsageError("--console-socket: needed for a detached process with a terminal")
    if options.console_socket and not terminal:
        raise UsageError("--console-socket: given, but the process has no terminal")
    carry = terminal and not options.detach and not options.console_socket
    if carry and not process.get("consoleSize"):
        from pyrunc.container.supervise import terminal_size

        size = terminal_size()
        if size is not None:
            process = {**process, "consoleSize": {"height": size[0], "width": size[1]}}
    execution = prepare(container, process, options)
    if options.detach:
        finish(execution.begin(options.console_fd))
        execution.session.close()
        return 0
    return _foreground(execution, carry)


def prepare(container: Container, process: dict[str, Any], options: ExecOptions) -> Execution:
    """Check a process, and compile the plan that executes it.

    Raises:
        StateError: the container is stopped, or paused.
        ConfigError: the process is wrong.
        HostError: the host lacks what it asks for.
    """
    status = container.status
    if status not in ("created", "running", "paused"):
        raise wrong_status("exec in", container.id, status)
    if status == "paused" and not options.ignore_paused:
        raise StateError(
            f"cannot exec in container {container.id}: it is paused;"
            " resume it first, or use --ignore-paused"
        )
    check_process(process, "process")
    if len(options.stdio) == 3:
        check_descriptors(3, options.preserve_fds)
    for warning in warnings({"process": without_nulls(process)}):
        log.warning(str(warning))
    return Execution(container, process, options)


def _foreground(execution: Execution, carry: bool) -> int:
    from pyrunc.container.supervise import Supervisor, receive_master

    master = console = -1
    ours = None
    if carry:
        import _socket

        ours, theirs = _socket.socketpair()
        console = theirs.detach()
    try:
        finish(execution.begin(console))
    finally:
        close_all((console,))
    session = execution.session
    if ours is not None:
        master = receive_master(ours)
        ours.close()
    try:
        with Supervisor(master) as supervisor:
            return supervisor.wait(session.pid, session.pidfd)
    finally:
        session.close()
        close_all((master,))


class Execution:
    """One process on its way into the container."""

    def __init__(self, container: Container, process: dict[str, Any], options: ExecOptions) -> None:
        self.container = container
        self.options = options
        state = container.state
        facts = HostFacts()
        self.config = container.store.read_config()
        process = completed(process, self.config.get("process") or {})
        bundle = Bundle(state["bundle"], self.config, state["rootfs"])
        self.cgroup = self._cgroup()
        rootless = is_rootless(facts, options.rootless)
        plan_options = PlanOptions(
            preserve_fds=options.preserve_fds,
            seccomp_cache=seccomp_cache(),
            rootless=rootless,
            subordinate_ids=rootless and not _groups_denied(state["pid"]),
        )
        self.plan = compile_exec(
            bundle, process, facts, plan_options, self.cgroup.plan, state["namespaces"]
        )
        self.session = Session(self.cgroup, state["pid"])
        self.session.source = "process"
        self.session.on(SYNC_SECCOMP, self._listener)
        self.session.resctrl = container.resctrl

    def _cgroup(self) -> Cgroup:
        cgroup = self.container.cgroup
        entered: set[str] = set()
        for text in self.options.cgroups:
            _enter_below(cgroup, text, entered)
        return cgroup

    def begin(self, console_fd: int) -> Steps[None]:
        """Start it, and return when the program is executed.

        Raises:
            OperationError: it could not be.
        """
        options, session = self.options, self.session
        container_fd = self.container.open_pidfd()
        console = console_fd
        if options.console_socket:
            console = connect_unix(options.console_socket, "--console-socket")
        try:
            session.spawn((0, 0), self.plan.preserve_fds, options.stdio)
            session.send(self.plan, [-1, console, container_fd])
            if (yield from session.converse()):
                raise session.death()
            if options.pid_file:
                write_pid_file(options.pid_file, session.pid)
            if options.pidfd_socket:
                send_fd(options.pidfd_socket, session.pidfd, "--pidfd-socket")
        except BaseException:
            session.kill()
            session.close()
            raise
        finally:
            os.close(container_fd)
            if console != console_fd:
                close_all((console,))

    def _listener(self, message: Message) -> bytes:
        from pyrunc.container.listener import send_listener

        container = self.container
        send_listener(self.config, container.document(), message.fd, self.session.pid)
        return b""


def _groups_denied(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/setgroups", "rb") as file:
            return file.read().startswith(b"deny")
    except OSError:
        return True


def _enter_below(cgroup: Cgroup, text: str, entered: set[str]) -> None:
    """Have the process join a cgroup below the container's: "PATH" or "CONTROLLER[,…]:PATH".

    `entered` are the controllers that others have named.
    """
    names, colon, path = text.rpartition(":")
    paths = cgroup.plan.paths
    for controller in names.split(",") if colon else list(paths):
        if colon and not controller:
            raise UsageError(f"--cgroup {text}: a controller is missing before the colon")
        if controller not in paths:
            raise UsageError(f"--cgroup {text}: the container is in no cgroup of {controller!r}")
        if controller in entered:
            raise UsageError(f"--cgroup {text}: another one says where it is to be")
        entered.add(controller)
        below = os.path.normpath(f"{paths[controller]}/{path}")
        if not f"{below}/".startswith(f"{paths[controller]}/"):
            raise UsageError(f"--cgroup {text}: leads out of the container's cgroup")
        if not os.path.isdir(below):
            raise UsageError(f"--cgroup {text}: there is no cgroup {below}")
        paths[controller] = below
