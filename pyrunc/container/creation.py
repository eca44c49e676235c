"""`create`: from a bundle to a container that waits for `start` (runtime.md, "Create")."""

from __future__ import annotations

import os
import time

from pyrunc import log
from pyrunc.cgroups import Cgroup, compile_cgroup
from pyrunc.container import channel
from pyrunc.container.container import Container, state_document, unmount_shared
from pyrunc.container.hooks import run_all_hooks, run_hooks
from pyrunc.container.options import ProcessOptions
from pyrunc.container.session import Session, close_all, operations_after_start
from pyrunc.container.store import (
    CONFIG,
    NOTIFY,
    START_SOCKET,
    Store,
    remove_file,
    seccomp_cache,
    write_pid_file,
)
from pyrunc.errors import OperationError, PyruncError, UsageError
from pyrunc.host import procfs, shim
from pyrunc.host.facts import HostFacts
from pyrunc.host.waiting import finish
from pyrunc.plan.namespaces import check_privileges, first_namespaces
from pyrunc.plan.operations import SYNC_HOOKS, SYNC_NETWORK
from pyrunc.spec.json import dumps
from pyrunc.spec.rules import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Unpack

    from pyrunc.cgroups.plan import CgroupPlan
    from pyrunc.container.network import NetworkDevices
    from pyrunc.container.options import ProcessWords
    from pyrunc.container.resctrl import Resctrl
    from pyrunc.host.waiting import Steps
    from pyrunc.plan.plan import Plan
    from pyrunc.plan.seccomp import PendingFilter
    from pyrunc.spec.loader import Bundle


class CreateOptions(ProcessOptions):
    """What the command line, or the caller of the library, says about a new container.

    Attributes:
        no_pivot, no_new_keyring: see `PlanOptions`.
        cgroup_driver: "cgroupfs", "systemd" or "disabled".
        detach, keep, no_subreaper: of `run`.
        notify_socket: the socket of a service manager that the program's sd_notify(3) is to reach, or "".
        keep_pidfd: leave a pidfd of the container process, open, in the new `Container`.
        environment: do for the program what LISTEN_FDS asks for in the environment of this one.
        thread: a seccomp filter may be compiled by another thread meanwhile.
    """

    def __init__(
        self,
        *,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        cgroup_driver: str = "cgroupfs",
        detach: bool = False,
        keep: bool = False,
        no_subreaper: bool = False,
        notify_socket: str = "",
        environment: bool = True,
        keep_pidfd: bool = False,
        thread: bool = True,
        **common: Unpack[ProcessWords],
    ) -> None:
        super().__init__(**common)
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
        self.cgroup_driver = cgroup_driver
        self.detach = detach
        self.keep = keep
        self.no_subreaper = no_subreaper
        self.notify_socket = notify_socket
        self.environment = environment
        self.keep_pidfd = keep_pidfd
        self.thread = thread


def is_rootless(facts: HostFacts, choice: str) -> bool:
    """Whether to do without privileges on the host."""
    if choice == "auto":
        return bool(facts.euid != 0 or facts.user_namespace)
    return choice == "true"


def listen_fds(options: CreateOptions) -> int:
    """How many descriptors from 3 on are sockets for the program: sd_listen_fds(3).

    Where LISTEN_PID is missing, they are taken to be meant for us, as crun does.
    """
    if not options.environment:
        return 0
    count = os.environ.get("LISTEN_FDS") or ""
    meant_for = os.environ.get("LISTEN_PID") or ""
    if not count.isdigit() or (meant_for and meant_for != str(os.getpid())):
        return 0
    return int(count)


def compile_bundle(
    root: str, container_id: str, bundle: Bundle, options: CreateOptions, facts: HostFacts
) -> Plan:
    """Compile the plan that `create` would carry out. Raises what the compilers do."""
    bundle = _with_notify_socket(root, container_id, bundle, options)
    cgroup = plan_cgroup(container_id, bundle, options, facts)
    return _compile_plan(container_id, bundle, options, facts, cgroup)


def _with_notify_socket(
    root: str, container_id: str, bundle: Bundle, options: CreateOptions
) -> Bundle:
    if not options.notify_socket:
        return bundle
    from pyrunc.container.notify import with_socket

    return with_socket(bundle, os.path.join(root, container_id))


def plan_cgroup(
    container_id: str, bundle: Bundle, options: CreateOptions, facts: HostFacts
) -> CgroupPlan:
    """The cgroup that the container will have. Raises what `compile_cgroup` does."""
    return compile_cgroup(
        bundle.config,
        container_id,
        facts,
        driver=options.cgroup_driver,
        rootless=is_rootless(facts, options.rootless),
    )


def _compile_plan(
    container_id: str,
    bundle: Bundle,
    options: CreateOptions,
    facts: HostFacts,
    cgroup: CgroupPlan,
    seccomp_filter: PendingFilter | None = None,
) -> Plan:
    # Loaded only now: meanwhile the init makes its namespaces.
    from pyrunc.plan.compiler import compile_plan
    from pyrunc.plan.context import PlanOptions

    rootless = is_rootless(facts, options.rootless)
    plan_options = PlanOptions(
        no_pivot=options.no_pivot,
        no_new_keyring=options.no_new_keyring,
        preserve_fds=options.preserve_fds,
        listen_fds=listen_fds(options),
        listen_names=os.environ.get("LISTEN_FDNAMES") or "",
        seccomp_cache=seccomp_cache(),
        seccomp_filter=seccomp_filter,
        rootless=rootless,
        subordinate_ids=rootless and _maps_more_than_self(bundle.config),
    )
    return compile_plan(bundle, container_id, facts, plan_options, cgroup)


def _maps_more_than_self(config: dict[str, Any]) -> bool:
    mappings = (config.get("linux") or {}).get("gidMappings") or ()
    return bool(sum(mapping["size"] for mapping in mappings) > 1)


def create(root: str, container_id: str, bundle: Bundle, options: CreateOptions) -> Container:
    """`creating`, in this thread."""
    return finish(creating(root, container_id, bundle, options))


def creating(
    root: str, container_id: str, bundle: Bundle, options: CreateOptions
) -> Steps[Container]:
    """Create a container.

    Args:
        root: directory of the states of containers.
        container_id: its id.
        bundle: a checked bundle.
        options: see `CreateOptions`.

    Raises:
        UsageError: the id or an option is wrong.
        ExistsError: there is a container of this id.
        PyruncError: it could not be created; nothing is left of it.
    """
    store = Store(root, container_id)
    _check_console(bundle, options)
    if len(options.stdio) == 3:
        check_descriptors(3 + listen_fds(options), options.preserve_fds)
    for warning in warnings(bundle.config):
        log.warning(str(warning))
    facts = HostFacts()
    check_privileges(bundle.config, facts)
    seccomp_filter = _begin_filter(bundle.config) if options.thread else None
    cgroup = plan_cgroup(container_id, bundle, options, facts)
    store.make()
    with store:
        creation = Creation(store, bundle, options, facts, cgroup, seccomp_filter)
        try:
            return (yield from creation.run())
        except BaseException:
            yield from creation.undo()
            raise


def _begin_filter(config: dict[str, Any]) -> PendingFilter | None:
    seccomp = (config.get("linux") or {}).get("seccomp")
    if not seccomp or not config.get("process"):
        return None
    if "run.oci.seccomp_bpf_data" in (config.get("annotations") or ()):
        return None
    from pyrunc.plan.seccomp import PendingFilter

    return PendingFilter(seccomp, seccomp_cache())


def check_descriptors(first: int, count: int) -> None:
    """Raise UsageError unless `count` descriptors from `first` on are open."""
    for fd in range(first, first + count):
        try:
            os.fstat(fd)
        except OSError:
            raise UsageError(f"--preserve-fds {count}: descriptor {fd} is not open") from None


def _check_console(bundle: Bundle, options: CreateOptions) -> None:
    terminal = (bundle.config.get("process") or {}).get("terminal")
    given = options.console_socket or options.console_fd >= 0
    if terminal and not given:
        raise UsageError(
            "--console-socket: needed, because config.json asks for a terminal (/process/terminal)"
        )
    if given and not terminal:
        raise UsageError(
            "--console-socket: given, but config.json asks for no terminal (/process/terminal)"
        )


class Creation:
    """One container in the making."""

    def __init__(
        self,
        store: Store,
        bundle: Bundle,
        options: CreateOptions,
        facts: HostFacts,
        cgroup: CgroupPlan,
        seccomp_filter: PendingFilter | None = None,
    ) -> None:
        self.seccomp_filter = seccomp_filter
        self.store = store
        self.bundle = bundle
        self.options = options
        self.facts = facts
        self.cgroup = Cgroup(cgroup)
        self.session = Session(self.cgroup)
        self.session.on(SYNC_HOOKS, self._hooks)
        self.session.on(SYNC_NETWORK, self._move_network_devices)
        self.network: NetworkDevices | None = None
        self.resctrl: Resctrl | None = None
        self.hooks_began = False
        self.made_cgroup = False
        config = bundle.config
        self.state: dict[str, Any] = {
            "id": store.id,
            "pid": 0,
            "startTime": 0,
            "bundle": bundle.path,
            "rootfs": bundle.rootfs,
            "created": _now(),
            "owner": os.geteuid(),
            "annotations": config.get("annotations") or {},
            "cgroup": cgroup.to_state(),
            "namespaces": {
                n["type"]: n.get("path") or ""
                for n in (config.get("linux") or {}).get("namespaces") or ()
            },
            "hasProcess": bool(config.get("process")),
            "hasHooks": bool(config.get("hooks")),
            "hasListener": bool(
                ((config.get("linux") or {}).get("seccomp") or {}).get("listenerPath")
            ),
            "rootfsMount": shim.mount_id(bundle.rootfs),
            "notify": bool(options.notify_socket),
            "late": {},
        }

    def run(self) -> Steps[Container]:
        store, state, session = self.store, self.state, self.session
        options = self.options
        store.write_state(state)
        self.made_cgroup = True
        self.cgroup.create()
        session.spawn(
            first_namespaces(self.bundle.config),
            options.preserve_fds + listen_fds(options),
            options.stdio,
        )
        plan = self._compile()
        listener = channel.listener(store.path, START_SOCKET)
        console = self._console()
        try:
            session.send(plan, [listener.fileno(), console])
        finally:
            listener.close()
            if console != options.console_fd:
                close_all((console,))
        # while the init is at work
        state["late"] = operations_after_start(plan.operations)
        store.write(CONFIG, dumps(self.bundle.config))
        if not (yield from session.converse()):
            raise session.death()
        state["pid"] = session.pid
        state["startTime"] = procfs.start_time(session.pid)
        state["cgroup"] = self.cgroup.plan.to_state()
        store.write_state(state)
        if self.options.pid_file:
            write_pid_file(self.options.pid_file, session.pid)
        self._send_pidfd()
        session.commit()
        container = Container(store, state)
        if options.keep_pidfd:
            container.pidfd, session.pidfd = session.pidfd, -1
        session.close()
        self._close_network()
        return container

    def _compile(self) -> Plan:
        """The plan, and what it needs on the host beside the cgroup."""
        store, options = self.store, self.options
        bundle = _with_notify_socket(store.root, store.id, self.bundle, options)
        if options.notify_socket:
            store.make_directory(NOTIFY, 0o755)
        plan = _compile_plan(
            store.id, bundle, options, self.facts, self.cgroup.plan, self.seccomp_filter
        )
        if plan.resctrl is not None:
            from pyrunc.container.resctrl import Resctrl

            self.resctrl = self.session.resctrl = Resctrl.prepare(plan.resctrl)
            self.state["resctrl"] = self.resctrl.to_state()
            store.write_state(self.state)
            self.resctrl.create(plan.resctrl)
        return plan

    def _console(self) -> int:
        path = self.options.console_socket
        if not path:
            return self.options.console_fd
        return connect_unix(path, "--console-socket")

    def _move_network_devices(self, _: channel.Message) -> bytes:
        from pyrunc.container.network import NetworkDevices

        self.network = NetworkDevices(self.session.plan.net_devices, self.session.pid)
        self.network.move()
        return b""

    def _close_network(self) -> None:
        if self.network is not None:
            self.network.close()
            self.network = None

    def _send_pidfd(self) -> None:
        name = "run.oci.pidfd_receiver"
        annotations = self.bundle.config.get("annotations") or {}
        for path, flag in (
            (self.options.pidfd_socket, "--pidfd-socket"),
            (annotations.get(name), f"annotation {name}:"),
        ):
            if path:
                send_fd(path, self.session.pidfd, flag)

    def _hooks(self, _: channel.Message) -> Steps[bytes]:
        self.hooks_began = True
        config = self.bundle.config
        self.state["pid"] = self.session.pid
        # Hooks come after step 2 of the lifecycle, behind which the specification has "created".
        document = state_document(self.state, "created")
        state = dumps(document).encode()
        yield from run_hooks(config, "prestart", state)
        yield from run_hooks(config, "createRuntime", state)
        if not config["hooks"].get("createContainer"):
            return b""
        document["pid"] = procfs.innermost_pid(self.session.pid)
        return dumps(document).encode()

    def undo(self) -> Steps[None]:
        """Leave nothing. What cannot be undone is a warning: the first error is the one that counts."""
        self.session.kill()
        self.session.close()
        if self.network is not None:
            self.network.give_back()
            self._close_network()
        try:
            if self.made_cgroup:
                if self.session.pid:
                    self.cgroup.kill(9)
                yield from self.cgroup.destroying()
            if self.resctrl is not None:
                self.resctrl.destroy()
        except PyruncError as error:
            log.warning(str(error))
        unmount_shared(self.state)
        try:
            self.store.remove()
        except PyruncError as error:
            log.warning(str(error))
        if self.options.pid_file and self.state["startTime"]:
            remove_file(self.options.pid_file)
        if self.hooks_began:
            state = dumps(state_document(self.state, "stopped")).encode()
            yield from run_all_hooks(self.bundle.config, "poststop", state)


def _now() -> str:
    now = time.time_ns()
    parts = time.gmtime(now // 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", parts) + f".{now % 1_000_000_000:09d}Z"


def connect_unix(path: str, flag: str) -> int:
    """A connection to the AF_UNIX stream socket at `path`. Raises UsageError naming the flag."""
    import _socket

    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        directory, name = os.path.split(os.path.abspath(path))
        channel.with_short_path(directory, name, sock.connect)
    except OSError as error:
        sock.close()
        raise UsageError(f"{flag} {path}: {error.strerror}", errno=error.errno or 0) from None
    return sock.detach()


def send_fd(path: str, fd: int, flag: str) -> None:
    import _socket

    sock = _socket.socket(fileno=connect_unix(path, flag))
    try:
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, "little"))]
        sock.sendmsg([b"pidfd"], ancillary)
    except OSError as error:
        raise OperationError(f"{flag} {path}: {error.strerror}", errno=error.errno or 0) from None
    finally:
        sock.close()
