"""`checkpoint`: the state of a container's processes, on disk, by CRIU."""

from __future__ import annotations

import fcntl
import os
import re

from pyrunc import log
from pyrunc.container import criu, images
from pyrunc.container.container import wrong_status
from pyrunc.container.creation import CreateOptions, compile_bundle
from pyrunc.container.criu import Criu, message
from pyrunc.container.images import CriuOptions
from pyrunc.container.running import delete_if_there
from pyrunc.errors import HostError, OperationError, UsageError
from pyrunc.host.facts import HostFacts
from pyrunc.host.mounts import mount_points
from pyrunc.host.waiting import finish
from pyrunc.spec.json import dumps
from pyrunc.spec.loader import Bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyrunc.container.container import Container
    from pyrunc.host.waiting import Steps
    from pyrunc.plan.plan import Plan

LOG = "dump.log"


class CheckpointOptions(CriuOptions):
    """What the command line, or the caller of the library, says about a checkpoint.

    Attributes:
        parent_path: directory of the images that this one adds to, relative to `image_path`; or "".
        leave_running: the container goes on afterwards.
        pre_dump: memory only; the container goes on.
        tcp_skip_in_flight: TCP connections that are not yet accepted are left out.
        link_remap: deleted files that are open are kept under another name.
        page_server: address and port that memory is sent to, ADDRESS:PORT; or "".
        status_fd: descriptor that a zero byte is written to when memory can be fetched lazily; or -1.
    """

    def __init__(
        self,
        *,
        parent_path: str = "",
        leave_running: bool = False,
        pre_dump: bool = False,
        tcp_skip_in_flight: bool = False,
        link_remap: bool = False,
        page_server: str = "",
        status_fd: int = -1,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.parent_path = parent_path
        self.leave_running = leave_running
        self.pre_dump = pre_dump
        self.tcp_skip_in_flight = tcp_skip_in_flight
        self.link_remap = link_remap
        self.page_server = page_server
        self.status_fd = status_fd

    @property
    def goes_on(self) -> bool:
        """The container does, after the checkpoint."""
        return self.leave_running or self.pre_dump

    def fields(self) -> dict[str, Any]:
        fields = super().fields()
        fields |= {
            "leave_running": self.leave_running,
            "tcp_skip_in_flight": self.tcp_skip_in_flight,
            "link_remap": self.link_remap,
            "log_file": LOG,
        }
        if self.parent_path:
            fields |= {"parent_img": self._parent(), "track_mem": True}
        if self.page_server:
            fields["ps"] = self._server()
        return fields

    def _parent(self) -> str:
        if os.path.isabs(self.parent_path):
            raise UsageError(
                f"--parent-path {self.parent_path}: must be relative, to the path of --image-path"
            )
        # that of the images may have to be made yet, so ".." is taken off by hand
        images = os.path.realpath(self.image_path)
        directory = os.path.normpath(os.path.join(images, self.parent_path))
        if not os.path.isdir(directory):
            raise UsageError(f"--parent-path {self.parent_path}: there is no directory {directory}")
        return self.parent_path

    def _server(self) -> Any:
        address, _, port = self.page_server.rpartition(":")
        if not address or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise UsageError(f'--page-server "{self.page_server}": must be ADDRESS:PORT')
        return message("PageServer", address=address.strip("[]"), port=int(port))

    def check_status_fd(self) -> None:
        """Raise UsageError unless it can be written to."""
        try:
            mode = fcntl.fcntl(self.status_fd, fcntl.F_GETFL) & os.O_ACCMODE
        except OSError:
            raise UsageError(f"--status-fd {self.status_fd}: it is not open") from None
        if mode == os.O_RDONLY:
            raise UsageError(f"--status-fd {self.status_fd}: it cannot be written to")


def checkpoint(container: Container, options: CheckpointOptions) -> None:
    """As `dumping`; and delete the container then, unless it goes on."""
    finish(dumping(container, options))
    if not options.goes_on:
        delete_if_there(container)  # a foreground `run` of it deletes it too


def dumping(container: Container, options: CheckpointOptions) -> Steps[None]:
    """Write the state of a container's processes to `options.image_path`. If they do not go on, they have ended.

    Raises:
        StateError: the container is not running, or paused.
        UsageError: an option is wrong.
        HostError: there is no CRIU, or it lacks something.
        OperationError: CRIU failed; the container goes on as before.
    """
    with (yield from container.locking()):
        status = container.status
        if status not in ("running", "paused"):
            raise wrong_status("checkpoint", container.id, status)
        yield from _Checkpoint(container, options).run()


class _Checkpoint:
    def __init__(self, container: Container, options: CheckpointOptions) -> None:
        self.container = container
        self.options = options
        self.pid: int = container.state["pid"]
        self.fds: list[int] = []

    def run(self) -> Steps[None]:
        options = self.options
        fields = options.fields()
        program = Criu(options.criu)
        program.require(criu.MINIMUM, "checkpoint")
        if options.pre_dump or options.parent_path:
            program.require_feature(
                "mem_track", "--pre-dump" if options.pre_dump else "--parent-path"
            )
        if options.lazy_pages:
            program.require_feature("lazy_pages", "--lazy-pages")
            if options.status_fd >= 0:
                options.check_status_fd()
                if program.version < criu.STATUS_NOTIFICATION:
                    fields["status_fd"] = options.status_fd
        root = -1
        try:
            root = os.open(f"/proc/{self.pid}/root", os.O_PATH | os.O_CLOEXEC)
            self._directories(fields)
            self._container(fields, root)
            request = message(
                "Request",
                type=criu.PRE_DUMP if options.pre_dump else criu.DUMP,
                opts=message("Options", **fields),
            )
            try:
                yield from program.calling(request, notified=self._notified)
            except OperationError as error:
                raise criu.with_log(error, os.path.join(options.log_directory, LOG)) from None
            self._hand_over()
        finally:
            for fd in (*self.fds, root):
                if fd >= 0:
                    os.close(fd)

    def _hand_over(self) -> None:
        """Let the container's root read the images: in a user namespace, CRIU restores as root first, then as that."""
        linux = self.container.store.read_config().get("linux") or {}
        for mapping in linux.get("uidMappings") or ():
            if mapping["containerID"] == 0:
                directory = self.fds[0]
                for name in (".", *os.listdir(directory)):
                    os.chown(name, mapping["hostID"], 0, dir_fd=directory, follow_symlinks=False)
                    if name != "parent":
                        os.chmod(name, 0o750 if name == "." else 0o640, dir_fd=directory)

    def _directories(self, fields: dict[str, Any]) -> None:
        options = self.options
        self.fds.append(images.open_directory(options.image_path, "--image-path", make=True))
        fields["images_dir_fd"] = self.fds[-1]
        if options.work_path:
            self.fds.append(images.open_directory(options.work_path, "--work-path", make=True))
            fields["work_dir_fd"] = self.fds[-1]

    def _container(self, fields: dict[str, Any], root: int) -> None:
        """What CRIU has to know of the container."""
        state = self.container.state
        config = self.container.store.read_config()
        fields["pid"] = self.pid
        fields["root"] = state["rootfs"]
        fields["external"] = external = []
        file = images.config_file(state["annotations"])
        if file:
            fields["config_file"] = file
        for kind, (name, key) in images.OUTER_NAMESPACES.items():
            path = images.namespace_path(config, kind)
            if path:
                external.append(f"{name}[{_inode(path)}]:{key}")
        freezer = state["cgroup"]["paths"].get("freezer") or (
            state["cgroup"]["paths"].get("") if state["cgroup"]["mode"] == "v2" else ""
        )
        if freezer:
            fields["freeze_cgroup"] = freezer
        if self.options.pre_dump:
            return
        points = mount_points(self.pid)
        existing = [point for _, point in points]
        plan = self._plan(config)
        outer = {place: place for place in images.outer_mounts(plan, root, existing=existing)}
        outer |= dict.fromkeys(images.masked_files(plan, root, existing), images.NULL)
        fields["ext_mnt"] = [message("ExtMount", key=k, val=v) for k, v in outer.items()]
        descriptors = [self._descriptor(fd, {number for number, _ in points}) for fd in range(3)]
        external += [name for name in descriptors if name.startswith("file[")]
        _write(os.path.join(self.options.image_path, images.DESCRIPTORS), dumps(descriptors))

    def _plan(self, config: dict[str, Any]) -> Plan:
        state = self.container.state
        store = self.container.store
        options = CreateOptions(
            cgroup_driver=state["cgroup"]["driver"],
            notify_socket="@" if state.get("notify") else "",
        )
        bundle = Bundle(state["bundle"], config, state["rootfs"])
        return compile_bundle(store.root, store.id, bundle, options, HostFacts())

    def _descriptor(self, fd: int, mounts: set[int]) -> str:
        """What a descriptor of the program is, in CRIU's words: a pipe or a file of the host, or anything else."""
        path = f"/proc/{self.pid}/fd/{fd}"
        try:
            target = os.readlink(path)
            with open(f"/proc/{self.pid}/fdinfo/{fd}", encoding="ascii") as file:
                found = re.search(r"^mnt_id:\s+(\d+)", file.read(), re.MULTILINE)
            if target.startswith("/") and found and int(found[1]) not in mounts:
                return f"file[{int(found[1]):x}:{os.stat(path).st_ino:x}]"
        except OSError:
            return ""
        return target

    def _notified(self, script: str, _: int, __: Sequence[int]) -> None:
        options = self.options
        if script == "status-ready" and options.status_fd >= 0:
            try:
                os.write(options.status_fd, b"\0")
            except OSError as error:
                log.warning(f"--status-fd {options.status_fd}: {error.strerror}")
            os.close(options.status_fd)
            options.status_fd = -1


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError as error:
        raise HostError(f"namespace {path}: {error.strerror}", errno=error.errno or 0) from None


def _write(path: str, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"--image-path: {path}: {error.strerror}") from None
