"""A container that exists: its state, and what can be done to it (runtime.md, "Operations")."""

from __future__ import annotations

import os

from pyrunc import log
from pyrunc.cgroups import Cgroup
from pyrunc.container.shape import CGROUP, flaw
from pyrunc.container.store import CRIU_ROOT, START_SOCKET, Store
from pyrunc.errors import NotFoundError, PyruncError, StateError
from pyrunc.host import procfs, signals
from pyrunc.host.signals import SIGKILL
from pyrunc.host.waiting import finish
from pyrunc.spec.version import OCI_VERSION

EINVAL = 22

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.container.execute import ExecOptions
    from pyrunc.container.resctrl import Resctrl
    from pyrunc.host.waiting import Steps


class Container:
    """A container, by the state of it on disk.

    Attributes:
        store: its directory.
        state: the content of state.json.
        pidfd: of its process, in the program that created it and asked for one; or -1.
    """

    def __init__(self, store: Store, state: dict[str, Any]) -> None:
        self.store = store
        self.state = state
        self.pidfd = -1

    @classmethod
    def load(cls, root: str, container_id: str) -> Container:
        """The container of this id.

        Raises:
            NotFoundError: there is none.
            StateError: its state is missing or damaged.
        """
        store = Store(root, container_id)
        return cls(store, store.read_state())

    @property
    def id(self) -> str:
        return self.store.id

    @property
    def bundle(self) -> str:
        """Absolute path of the bundle."""
        path: str = self.state["bundle"]
        return path

    @property
    def pid(self) -> int:
        """Pid of the container process; 0 when it is not there (any more)."""
        return self.state["pid"] if self.is_alive() else 0

    def is_alive(self) -> bool:
        pid = self.state["pid"]
        return pid > 0 and procfs.is_alive(pid, self.state["startTime"])

    @property
    def cgroup(self) -> Cgroup:
        """The container's cgroup. Raises StateError when the state of it is damaged."""
        state = self.state["cgroup"]
        if name := flaw(state, CGROUP, "cgroup"):
            raise StateError(
                f"container {self.id}: its state is damaged: {name} is missing or wrong"
            )
        return Cgroup.from_state(state)

    @property
    def resctrl(self) -> Resctrl | None:
        """Its groups of resctrl (Intel RDT), or None."""
        state = self.state.get("resctrl")
        if state is None:
            return None
        from pyrunc.container.resctrl import Resctrl

        return Resctrl.from_state(state)

    def stats(self) -> dict[str, Any]:
        """What it uses, as `runc events --stats` has it. Raises CgroupError."""
        stats = self.cgroup.stats()
        resctrl = self.resctrl
        if resctrl is not None:
            stats["intel_rdt"] = resctrl.stats()
        return stats

    @property
    def status(self) -> str:
        """creating, created, running, paused or stopped (runtime.md, "State")."""
        if not self.state["startTime"]:
            return "creating" if self.store.is_locked() else "stopped"
        if not self.is_alive():
            return "stopped"
        if os.path.exists(self.store.path_of(START_SOCKET)):
            return "created"
        return "paused" if self.cgroup.frozen else "running"

    def document(self) -> dict[str, Any]:
        """The state as the specification has it."""
        return state_document(self.state, self.status)

    def reload(self) -> None:
        """Read the state again, after waiting for the lock. Raises as `load` does."""
        state = self.store.read_state(self.state)
        if state["created"] != self.state["created"]:
            raise NotFoundError(
                f"container {self.id} does not exist any more: another one has its id"
            )
        self.state = state

    def lock(self) -> Store:
        """`locking`, in this thread."""
        return finish(self.locking())

    def locking(self) -> Steps[Store]:
        """Lock the container and read its state again; a context manager. Raises as `load` does."""
        yield from self.store.locking()
        try:
            self.reload()
        except BaseException:
            self.store.unlock()
            raise
        return self.store

    def open_pidfd(self) -> int:
        """A pidfd of the container process, checked to be that process and not a later one of the same pid.

        Raises:
            StateError: it has ended.
        """
        pid = self.state["pid"]
        try:
            fd = os.pidfd_open(pid) if pid > 0 else -1
        except OSError:
            fd = -1
        if fd >= 0 and self.is_alive():
            return fd
        if fd >= 0:
            os.close(fd)
        raise StateError(f"container {self.id} is not running: it is stopped")

    # ---- operations ---------------------------------------------------------------------------

    def start(self) -> None:
        """`starting`, in this thread."""
        finish(self.starting())

    def starting(self) -> Steps[None]:
        """Run the program of a created container, and then its poststart hooks.

        Raises:
            StateError: it is not created.
            OperationError: the program could not be executed, and the container is stopped; or a startContainer hook
                failed, and the container is deleted.
            HookError: a poststart hook failed; the container is deleted.
        """
        from pyrunc.container.start import starting

        return starting(self)

    def kill(self, signal: int, all: bool = False) -> None:
        """Send a signal to the container process, or to all processes of the container.

        Raises:
            StateError: the container is stopped.
            PyruncError: the signal could not be sent.
        """
        if all:
            self._kill_all(signal)
            return
        try:
            fd = self.open_pidfd()
        except StateError:
            if signal == SIGKILL and self._may_outlive() and self.cgroup.pids():
                self.cgroup.kill(signal)
                return
            raise wrong_status("kill", self.id, "stopped") from None
        try:
            signals.send(fd, signal)
        except ProcessLookupError:
            raise wrong_status("kill", self.id, "stopped") from None
        except OSError as error:
            raise PyruncError(f"kill {signal}: {error.strerror}", errno=error.errno or 0) from None
        finally:
            os.close(fd)
        if signal == SIGKILL:
            # a frozen process would die only once it is thawed
            if self.cgroup.frozen:
                self.cgroup.thaw()
            if self._may_outlive():
                self.cgroup.kill(signal)

    def _kill_all(self, signal: int) -> None:
        if self.status == "stopped" and not self.pids():
            raise wrong_status("kill", self.id, "stopped")
        if self.cgroup.exists():
            self.cgroup.kill(signal)
        elif self._may_outlive():
            raise PyruncError(
                f"cannot kill all processes of container {self.id}: it has neither a cgroup nor a pid"
                " namespace to find them by"
            )
        else:
            from pyrunc.container.members import signal_beside

            signal_beside(self.pid, signal)

    def pids(self) -> list[int]:
        """Host pids of all processes of the container: of its cgroup, or of its pid namespace if it has none.

        Raises CgroupError.
        """
        cgroup = self.cgroup
        if cgroup.exists():
            return cgroup.pids()
        pid = self.pid
        if not pid or self._may_outlive():
            return [pid] if pid else []
        from pyrunc.container.members import pids_beside

        return pids_beside(pid)

    def _may_outlive(self) -> bool:
        """Processes may go on without the first one: there is no pid namespace that ends with it."""
        return bool(self.state["namespaces"].get("pid") != "")

    def pause(self) -> None:
        """`pausing`, in this thread."""
        finish(self.pausing())

    def pausing(self) -> Steps[None]:
        """Freeze all processes. Raises StateError unless it is running or created."""
        with (yield from self.locking()):
            status = self.status
            if status not in ("running", "created"):
                raise wrong_status("pause", self.id, status)
            yield from self.cgroup.freezing()

    def resume(self) -> None:
        """`resuming`, in this thread."""
        finish(self.resuming())

    def resuming(self) -> Steps[None]:
        """Let frozen processes go on. Raises StateError unless it is paused."""
        with (yield from self.locking()):
            if not self.cgroup.frozen:
                raise wrong_status("resume", self.id, self.status)
            self.cgroup.thaw()

    def delete(self, force: bool = False) -> None:
        """`deleting`, in this thread."""
        finish(self.deleting(force))

    def deleting(self, force: bool = False) -> Steps[None]:
        """Remove all that belongs to a stopped container, then run its poststop hooks.

        A created container is killed first, as runc does and engines expect. So is a running one with `force`.

        Raises:
            StateError: it is running.
            PyruncError: something could not be removed.
        """
        with (yield from self.locking()):
            status = self.status
            if status in ("running", "paused") and not force:
                raise StateError(
                    f"cannot delete container {self.id}: it is {status}; stop it first, or use --force"
                )
            self._kill_everything(status)
            yield from self.cgroup.destroying()
            unmount_shared(self.state)
            config = self.store.read_config() if self.state["hasHooks"] else {}
            self._delete_more()
            self.store.remove()
        if (config.get("hooks") or {}).get("poststop"):
            from pyrunc.container.hooks import run_all_hooks
            from pyrunc.spec.json import dumps

            state = dumps(state_document(self.state, "stopped")).encode()
            yield from run_all_hooks(config, "poststop", state)

    def _delete_more(self) -> None:
        """Remove what only some containers have."""
        resctrl = self.resctrl
        if resctrl is not None:
            resctrl.destroy()
        unmount_criu_root(self.store)

    def kill_process(self) -> None:
        """SIGKILL to the container process, and wait for its end. No error where it has ended."""
        try:
            fd = self.open_pidfd()
        except StateError:
            return
        try:
            signals.kill_and_wait(fd)
        finally:
            os.close(fd)

    def _kill_everything(self, status: str) -> None:
        if status == "paused":
            # a frozen process dies only once it is thawed
            self.cgroup.kill(SIGKILL)
            self.cgroup.thaw()
        if status != "stopped":
            self.kill_process()
        if status != "stopped" or self._may_outlive() or not self.state["startTime"]:
            cgroup = self.cgroup
            if cgroup.exists():
                cgroup.kill(SIGKILL)

    def update(self, resources: dict[str, Any], rdt: dict[str, Any] | None = None) -> None:
        """`updating`, in this thread."""
        finish(self.updating(resources, rdt))

    def updating(self, resources: dict[str, Any], rdt: dict[str, Any] | None = None) -> Steps[None]:
        """Change limits, all or none: those of `linux.resources`, and of `linux.intelRdt`. See `update.updating`."""
        from pyrunc.container.update import updating

        return updating(self, resources, rdt or {})

    @property
    def process(self) -> dict[str, Any]:
        """The process object of the configuration that it was created with; {} if there is none."""
        return self.store.read_config().get("process") or {}

    def exec(self, process: dict[str, Any], options: ExecOptions) -> int:
        """Run another process in the container. Returns its exit code, 0 when detached. See `execute.execute`."""
        from pyrunc.container.execute import execute

        return execute(self, process, options)


#: What can be done where an operation is not allowed: by operation and status, or by status alone.
_REMEDIES = {
    "stopped": "what it ran has ended; delete it, and create it again",
    "creating": "wait until it is created, or delete it by --force",
    "start running": "only a created container can be started",
    "start paused": "only a created container can be started",
    "pause paused": "resume lets it go on",
    "resume created": "only a paused container can be resumed",
    "resume running": "only a paused container can be resumed",
    "checkpoint created": "start it first",
}


def wrong_status(operation: str, container_id: str, status: str) -> StateError:
    """The error for an operation that is not allowed in a status, with what can be done."""
    remedy = _REMEDIES.get(f"{operation} {status}") or _REMEDIES.get(status)
    hint = f" ({remedy})" if remedy else ""
    # runc's words, by which containerd knows that there is nothing left to be killed
    head = "container not running: " if status == "stopped" else ""
    return StateError(f"{head}cannot {operation} container {container_id}: it is {status}{hint}")


def state_document(state: dict[str, Any], status: str) -> dict[str, Any]:
    """The state as the specification has it (state-schema.json), with runc's additions."""
    document = {
        "ociVersion": OCI_VERSION,
        "id": state["id"],
        "pid": 0 if status == "stopped" else state["pid"],
        "status": status,
        "bundle": state["bundle"],
        "rootfs": state["rootfs"],
        "created": state["created"],
        "owner": "",
    }
    if state["annotations"]:
        document["annotations"] = state["annotations"]
    return document


def unmount_shared(state: dict[str, Any]) -> None:
    """Take down the mounts of a container that has no mount namespace of its own."""
    if "mount" in state["namespaces"]:
        return
    from pyrunc.host import shim

    rootfs = state["rootfs"]
    # only what came on top of the mount that was there before
    while shim.mount_id(rootfs) not in (-1, state["rootfsMount"]):
        code = shim.unmount(rootfs)
        if code:
            log.warning(f"umount {rootfs}: {os.strerror(code)}")
            return


def unmount_criu_root(store: Store) -> None:
    """Take down the mount that a restoration needs, and its directory. Raises PyruncError."""
    path = store.path_of(CRIU_ROOT)
    if not os.path.exists(path):
        return
    from pyrunc.host import shim

    code = shim.unmount(path)
    if code not in (0, EINVAL):  # EINVAL: nothing is mounted there
        raise PyruncError(f"umount {path}: {os.strerror(code)}", errno=code)
    store.remove_directory(CRIU_ROOT)


def delete_remains(root: str, container_id: str) -> None:
    """`deleting_remains`, in this thread."""
    finish(deleting_remains(root, container_id))


def deleting_remains(root: str, container_id: str) -> Steps[None]:
    """`delete --force`: remove a container in whatever state it is, and what a killed command left of one.

    No container at all is no error, as engines that clean up expect.
    """
    store = Store(root, container_id)
    try:
        container = Container.load(root, container_id)
        _ = container.cgroup
    except NotFoundError:
        return
    except StateError as error:
        if not os.path.isdir(store.path):
            return
        log.warning(f"{error}")
        with store:
            yield from store.locking()
            if not _restore_state(store):
                return
        container = Container.load(root, container_id)
    yield from container.deleting(force=True)


def _restore_state(store: Store) -> bool:
    """Put the copy of a damaged state in its place. Without one, remove what can be found without it: False."""
    backup = store.read_backup()
    if backup is not None and not flaw(backup["cgroup"], CGROUP):
        store.restore_state()
        return True
    try:
        Container(store, store.read_state()).kill_process()
    except StateError as error:
        log.debug(f"nothing but the directory can be removed: {error}")
    store.remove()
    return False
