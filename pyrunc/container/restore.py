"""`restore`: a container that goes on where its checkpoint was, by CRIU."""

from __future__ import annotations

import os

from pyrunc import log
from pyrunc.container import criu, images
from pyrunc.container.container import Container, state_document, unmount_criu_root
from pyrunc.container.creation import (
    CreateOptions,
    Creation,
    compile_bundle,
    connect_unix,
    plan_cgroup,
)
from pyrunc.container.criu import Criu, message
from pyrunc.container.hooks import run_hooks
from pyrunc.container.images import CriuOptions
from pyrunc.container.store import CONFIG, CRIU_ROOT, Store, write_pid_file
from pyrunc.errors import BundleError, HostError, OperationError, PyruncError, UsageError
from pyrunc.host import procfs, shim
from pyrunc.host.facts import HostFacts
from pyrunc.host.mounts import bind, make_in_root, place_of
from pyrunc.host.signals import SIGKILL
from pyrunc.host.waiting import finish
from pyrunc.plan.operations import MountBind, MountFilesystem
from pyrunc.spec.json import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyrunc.host.waiting import Steps
    from pyrunc.plan.plan import Plan
    from pyrunc.spec.loader import Bundle

LOG = "restore.log"
_NAMESPACES = {
    "network": "net",
    "pid": "pid",
    "mount": "mnt",
    "ipc": "ipc",
    "uts": "uts",
    "user": "user",
    "cgroup": "cgroup",
    "time": "time",
}


class RestoreOptions(CriuOptions):
    """What the command line, or the caller of the library, says about a restoration.

    Attributes:
        detach: do not wait for the container.
        no_subreaper: do not adopt its orphans meanwhile.
        console_socket, pid_file, cgroup_driver, rootless: as in `CreateOptions`.
        stdio: what replaces the pipes and files that were its stdin, stdout and stderr.
        tcp_close: TCP connections are restored as closed ones.
        lsm_profile: "apparmor:PROFILE" or "selinux:LABEL", instead of that of the checkpoint.
        lsm_mount_context: the same for the context= of mounts (SELinux).
    """

    def __init__(
        self,
        *,
        detach: bool = False,
        no_subreaper: bool = False,
        console_socket: str = "",
        pid_file: str = "",
        cgroup_driver: str = "cgroupfs",
        rootless: str = "auto",
        stdio: Sequence[int] = (0, 1, 2),
        tcp_close: bool = False,
        lsm_profile: str = "",
        lsm_mount_context: str = "",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.detach = detach
        self.no_subreaper = no_subreaper
        self.console_socket = console_socket
        self.pid_file = pid_file
        self.cgroup_driver = cgroup_driver
        self.rootless = rootless
        self.stdio = stdio
        self.tcp_close = tcp_close
        self.lsm_profile = lsm_profile
        self.lsm_mount_context = lsm_mount_context

    def fields(self) -> dict[str, Any]:
        fields = super().fields()
        fields |= {
            "log_file": LOG,
            "evasive_devices": True,
            "rst_sibling": True,
            "tcp_close": self.tcp_close,
        }
        if self.lsm_profile:
            kind, colon, label = self.lsm_profile.partition(":")
            if kind not in ("apparmor", "selinux") or not colon or not label:
                raise UsageError(
                    f'--lsm-profile "{self.lsm_profile}": must be apparmor:PROFILE or selinux:LABEL'
                )
            fields["lsm_profile"] = self.lsm_profile
        if self.lsm_mount_context:
            fields["lsm_mount_context"] = self.lsm_mount_context
        return fields


def restore(root: str, container_id: str, bundle: Bundle, options: RestoreOptions) -> int:
    """`restoring`, in this thread; and in the foreground, wait for the container and delete it.

    Returns the exit code of its program, 128 plus the signal if one ended it; 0 when detached.
    """
    if not options.detach and not options.no_subreaper:
        shim.set_subreaper()
    container, master = finish(restoring(root, container_id, bundle, options))
    if options.detach:
        return 0
    return _foreground(container, master)


def restoring(
    root: str, container_id: str, bundle: Bundle, options: RestoreOptions
) -> Steps[tuple[Container, int]]:
    """Restore a container from the images in `options.image_path`.

    Args:
        root: directory of the states of containers.
        container_id: its id, which may be another than that of the container which was checkpointed.
        bundle: as it was created from.
        options: see `RestoreOptions`.

    Returns it, and the master of its terminal if that went nowhere else; or -1.

    Raises:
        UsageError: the id or an option is wrong.
        ExistsError: there is a container of this id.
        HostError: there is no CRIU, or it lacks something.
        OperationError: CRIU failed.
        In each case nothing is left of the container.
    """
    terminal = bool((bundle.config.get("process") or {}).get("terminal"))
    if terminal and options.detach and not options.console_socket:
        raise UsageError("--console-socket: needed for a detached container with a terminal")
    if options.console_socket and not terminal:
        raise UsageError("--console-socket: given, but the container has no terminal")
    store = Store(root, container_id)
    fields = options.fields()
    program = Criu(options.criu)
    program.require(criu.MINIMUM, "restore")
    if options.lsm_profile or options.lsm_mount_context:
        program.require(criu.LSM_PROFILE, "--lsm-profile and --lsm-mount-context")
    store.make()
    with store:
        restoration = _Restoration(store, bundle, options, program, fields)
        try:
            return (yield from restoration.restoring()), restoration.master
        except BaseException:
            yield from restoration.leaving()
            raise


def _foreground(container: Container, master: int) -> int:
    from pyrunc.container.running import delete_if_there
    from pyrunc.container.supervise import Supervisor

    pid = container.state["pid"]
    pidfd = os.pidfd_open(pid)  # our child: the pid is its own even when it has ended
    try:
        with Supervisor(master) as supervisor:
            return supervisor.wait(pid, pidfd)
    finally:
        os.close(pidfd)
        if master >= 0:
            os.close(master)
        delete_if_there(container)


class _Restoration(Creation):
    """One container on its way back.

    Attributes:
        master: that of its terminal, for the foreground; or -1.
    """

    def __init__(
        self,
        store: Store,
        bundle: Bundle,
        options: RestoreOptions,
        program: Criu,
        fields: dict[str, Any],
    ) -> None:
        self.restore_options = options
        self.program = program
        self.fields = fields
        self.master = -1
        self.fds: list[int] = []
        self.pid = 0
        creation = CreateOptions(
            cgroup_driver=options.cgroup_driver,
            rootless=options.rootless,
            pid_file=options.pid_file,
            stdio=options.stdio,
        )
        facts = HostFacts()
        super().__init__(
            store, bundle, creation, facts, plan_cgroup(store.id, bundle, creation, facts)
        )

    def restoring(self) -> Steps[Container]:
        store, state, options = self.store, self.state, self.restore_options
        store.write_state(state)
        store.write(CONFIG, dumps(self.bundle.config))
        plan = compile_bundle(store.root, store.id, self.bundle, self.options, self.facts)
        self.plan = plan
        self.made_cgroup = True
        self.cgroup.create()
        store.make_directory(CRIU_ROOT, 0o755)
        try:
            bind(self.bundle.rootfs, store.path_of(CRIU_ROOT))
        except OSError as error:
            raise OperationError(f"mount {error.filename}: {error.strerror}") from None
        root = os.open(self.bundle.rootfs, os.O_PATH | os.O_CLOEXEC)
        self.fds.append(root)
        try:
            self._directories()
            self._mounts(plan, root)
            self._namespaces()
            self._descriptors()
            try:
                yield from self._call()
            except OperationError as error:
                raise criu.with_log(error, os.path.join(options.log_directory, LOG)) from None
        finally:
            for fd in self.fds:
                os.close(fd)
        unmount_criu_root(store)
        state["pid"] = self.pid
        state["startTime"] = procfs.start_time(self.pid)
        state["cgroup"] = self.cgroup.plan.to_state()
        state["namespaces"] |= self._new_namespaces()
        store.write_state(state)
        if options.pid_file:
            write_pid_file(options.pid_file, self.pid)
        self._close_network()
        return Container(store, state)

    def leaving(self) -> Steps[None]:
        """Leave nothing, after a failure."""
        if self.master >= 0:
            os.close(self.master)
        try:
            unmount_criu_root(self.store)
        except PyruncError as error:
            log.warning(str(error))
        if self.pid:
            self.cgroup.kill(SIGKILL)
        yield from self.undo()

    def _directories(self) -> None:
        options, fields = self.restore_options, self.fields
        self.fds.append(images.open_directory(options.image_path, "--image-path", make=False))
        fields["images_dir_fd"] = self.fds[-1]
        if options.work_path:
            self.fds.append(images.open_directory(options.work_path, "--work-path", make=True))
            fields["work_dir_fd"] = self.fds[-1]
        file = images.config_file(self.state["annotations"])
        if file:
            fields["config_file"] = file

    def _mounts(self, plan: Plan, root: int) -> None:
        """Have what is mounted on, and tell CRIU where the mounts of the host are."""
        _make_mount_points(plan, root)
        outer = images.outer_mounts(plan, root, existing=None)
        outer[images.NULL] = images.NULL
        self.fields["ext_mnt"] = [message("ExtMount", key=k, val=v) for k, v in outer.items()]
        self.fields["root"] = os.path.realpath(self.store.path_of(CRIU_ROOT))

    def _namespaces(self) -> None:
        self.fields["inherit_fd"] = []
        self.fields["join_ns"] = []
        for kind, name in _NAMESPACES.items():
            path = images.namespace_path(self.bundle.config, kind)
            if not path:
                continue
            if kind in images.OUTER_NAMESPACES:
                try:
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except OSError as error:
                    raise HostError(
                        f"{kind} namespace {path}: {error.strerror}", errno=error.errno or 0
                    ) from None
                self.fds.append(fd)
                self._inherit(fd, images.OUTER_NAMESPACES[kind][1])
            elif kind in ("cgroup", "time", "mount"):
                raise HostError(f"restore: CRIU cannot have a container join a {kind} namespace")
            else:
                self.fields["join_ns"].append(message("JoinNamespace", ns=name, ns_file=path))

    def _inherit(self, fd: int, key: str) -> None:
        self.fields["inherit_fd"].append(message("InheritFd", key=key, fd=fd))

    def _descriptors(self) -> None:
        """Have the pipes and files that it had as stdio replaced by ours."""
        path = os.path.join(self.restore_options.image_path, images.DESCRIPTORS)
        try:
            with open(path, "rb") as file:
                names: Any = loads(file.read(), path)
        except OSError as error:
            raise BundleError(
                f"--image-path: {path}: {error.strerror}: no checkpoint of a container is there"
            ) from None
        if not isinstance(names, list):
            raise BundleError(f"--image-path: {path} is not what a checkpoint writes")
        seen = set()
        for fd, name in enumerate(names[:3]):
            if str(name).startswith(("pipe:", "file[")) and name not in seen:
                seen.add(name)
                if name.startswith("file["):
                    self._must_be_file(fd)
                self._inherit(fd, name)

    def _must_be_file(self, fd: int) -> None:
        try:
            os.lseek(self.options.stdio[fd], 0, os.SEEK_CUR)
        except OSError:
            raise UsageError(
                f"standard {('input', 'output', 'error')[fd]} was a file, or /dev/null, when the container"
                " was checkpointed, and cannot go on as a pipe or a terminal: redirect it to a file"
            ) from None

    def _call(self) -> Steps[None]:
        request = message("Request", type=criu.RESTORE)
        inherited = [message.fd for message in self.fields["inherit_fd"] if message.fd > 2]

        def started(pid: int) -> None:
            # what it forks is then in the container's cgroup, from the beginning
            self.cgroup.join(pid)
            self.cgroup.apply()
            if self.resctrl is not None:
                self.resctrl.join(pid)
            self.fields["cg_root"] = list(_cgroup_roots(pid))
            request.opts.CopyFrom(message("Options", **self.fields))

        response = yield from self.program.calling(
            request,
            stdio=self.options.stdio,
            inherited=inherited,
            started=started,
            notified=self._notified,
        )
        self.pid = response.restore.pid or self.pid

    def _notified(self, script: str, pid: int, fds: list[int]) -> None:
        if script == "setup-namespaces":
            self._set_up_network(pid)
            self._run_hooks(pid)
        elif script == "post-restore":
            self.pid = pid
        elif script == "orphan-pts-master" and fds:
            if self.restore_options.console_socket:
                _send_master(self.restore_options.console_socket, fds[0])
            else:
                self.master = os.dup(fds[0])

    def _set_up_network(self, pid: int) -> None:
        """Switch on the loopback device of a new namespace, and move devices there, as at creation."""
        namespaces = self.state["namespaces"]
        if namespaces.get("network") != "":
            return
        from pyrunc.host.netlink import Netlink

        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            netlink = Netlink(fd)
            netlink.set_up(netlink.link("lo").index, True)
            netlink.close()
        except OSError as error:
            raise PyruncError(f"loopback device: {error.strerror}") from None
        finally:
            os.close(fd)
        devices = self.plan.net_devices
        if devices:
            from pyrunc.container.network import NetworkDevices

            self.network = NetworkDevices(devices, pid)
            self.network.move()

    def _run_hooks(self, pid: int) -> None:
        config = self.bundle.config
        hooks = config.get("hooks") or {}
        if not hooks.get("prestart") and not hooks.get("createRuntime"):
            return
        self.hooks_began = True
        document = state_document(self.state, "created")
        document["pid"] = pid
        state = dumps(document).encode()
        finish(run_hooks(config, "prestart", state))
        finish(run_hooks(config, "createRuntime", state))

    def _new_namespaces(self) -> dict[str, str]:
        """Namespaces that CRIU has made beyond those of config.json: it restores clocks in one of time."""
        found = {}
        for kind, name in _NAMESPACES.items():
            try:
                same = os.readlink(f"/proc/{self.pid}/ns/{name}") == os.readlink(
                    f"/proc/self/ns/{name}"
                )
            except OSError:
                continue
            if not same and kind not in self.state["namespaces"]:
                found[kind] = ""
        return found


def _cgroup_roots(pid: int) -> list[Any]:
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    return [
        message("CgroupRoot", ctrl=name, path=path)
        for _, names, path in lines
        for name in names.split(",")
    ]


def _make_mount_points(plan: Plan, root: int) -> None:
    """Make what will be mounted on, as a creation does, where it is not on a filesystem that CRIU restores."""
    over: list[
        tuple[str, str]
    ] = []  # mount point, and the directory of the host that is there; "" for none
    for operation in plan.operations:
        if not isinstance(operation, MountBind | MountFilesystem):
            continue
        place = place_of(root, operation.destination)
        source = operation.source if isinstance(operation, MountBind) else ""
        directory = not source or os.path.isdir(source)
        below = next((o for o in reversed(over) if f"{place}/".startswith(f"{o[0]}/")), None)
        over.append((place, source))
        try:
            if below is None:
                make_in_root(root, place, directory=directory)
            elif below[1]:
                fd = os.open(below[1], os.O_PATH | os.O_CLOEXEC)
                try:
                    make_in_root(fd, place[len(below[0]) :] or ".", directory=directory)
                finally:
                    os.close(fd)
        except OSError as error:
            raise OperationError(
                f"mount point {place}: {error.strerror} (config.json: {operation.pointer})",
                errno=error.errno or 0,
                pointer=operation.pointer,
            ) from None


def _send_master(path: str, fd: int) -> None:
    import socket

    with socket.socket(fileno=connect_unix(path, "--console-socket")) as sock:
        socket.send_fds(sock, [b"/dev/ptmx"], [fd])
