"""The state of containers on disk: one directory for each below the root directory.

    ROOT/ID/state.json   what is known of the container
    ROOT/ID/state-backup.json  the same, for `delete --force` when that is damaged
    ROOT/ID/config.json  its configuration, as it was when it was created
    ROOT/ID/start.sock   where it waits for `start`; gone once it was started
    ROOT/ID/criu-root/   where its rootfs is mounted while it is restored
    ROOT/ID/notify/      with the socket of its sd_notify(3), where $NOTIFY_SOCKET was set

The directory itself is locked (flock(2)) by whoever changes the container. A file is written beside its place and
renamed, so that there is always a whole one.
"""

from __future__ import annotations

import fcntl
import os
import time

from pyrunc.container.shape import STATE as STATE_SHAPE
from pyrunc.container.shape import flaw
from pyrunc.errors import ExistsError, NotFoundError, PyruncError, StateError, UsageError
from pyrunc.host import files, shim
from pyrunc.host.facts import HostFacts
from pyrunc.host.waiting import finish
from pyrunc.spec.json import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.host.waiting import Steps

STATE = "state.json"
BACKUP = "state-backup.json"
CONFIG = "config.json"
START_SOCKET = "start.sock"
NOTIFY = "notify"
CRIU_ROOT = "criu-root"
LOCK_TIMEOUT = 10.0  # seconds

_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


def default_root() -> str:
    """Where containers are kept when nothing else is said: /run/pyrunc, or the user's runtime directory."""
    return f"{_runtime_directory() or '/run'}/pyrunc"


def seccomp_cache() -> str | None:
    """Directory for compiled seccomp filters, shared by all roots; None where there is no place for it."""
    runtime = _runtime_directory()
    if runtime or os.geteuid() == 0:
        return f"{runtime or '/run'}/pyrunc-seccomp"
    return None


def _runtime_directory() -> str:
    """$XDG_RUNTIME_DIR of whoever is not root of the host; otherwise "".

    Root of a user namespace is some user, unless the environment was made by a login as root.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR") or ""
    if not runtime or os.geteuid() != 0:
        return runtime
    if os.environ.get("USER") != "root" and HostFacts().user_namespace:
        return runtime
    return ""


def check_id(container_id: str) -> None:
    """Raise UsageError unless it can name a container: letters, digits and _ + - . only."""
    if not container_id:
        raise UsageError("container id: must not be empty")
    if container_id in (".", "..") or not _ID_CHARACTERS.issuperset(container_id):
        raise UsageError(
            f"container id {container_id!r}: may hold only letters, digits and the characters _ + - ."
        )
    if len(container_id) > 255:
        raise UsageError(f"container id: {len(container_id)} characters, at most 255 are allowed")


def list_ids(root: str) -> list[str]:
    """The ids of all containers, in order."""
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PyruncError(f"--root {root}: {error.strerror}", errno=error.errno or 0) from None
    return sorted(
        name
        for name in names
        if name not in (".", "..")
        and _ID_CHARACTERS.issuperset(name)
        and os.path.isdir(os.path.join(root, name))
    )


class Store:
    """The directory of one container. A context manager that gives back the lock."""

    def __init__(self, root: str, container_id: str) -> None:
        check_id(container_id)
        self.root = root
        self.id = container_id
        self.path = os.path.join(root, container_id)
        self._lock_fd = -1
        self._sound = b""  # a state that need not be checked (again)

    def another(self) -> Store:
        """The same directory, for somebody who locks it for himself."""
        other = Store(self.root, self.id)
        other._sound = self._sound
        return other

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.unlock()

    def make(self) -> None:
        """Make the directory, locked.

        Raises:
            ExistsError: there is a container of this id.
        """
        try:
            try:
                os.mkdir(self.path, 0o700)
            except FileNotFoundError:
                os.makedirs(self.root, 0o711, exist_ok=True)
                os.mkdir(self.path, 0o700)
        except FileExistsError:
            raise ExistsError(
                f"container {self.id} exists already in {self.root}:"
                " choose another id, or delete it"
            ) from None
        except OSError as error:
            hint = ""
            if os.geteuid() != 0 and not os.environ.get("XDG_RUNTIME_DIR"):
                hint = "; XDG_RUNTIME_DIR is not set, which would name a directory of this user"
            raise PyruncError(
                f"--root {self.root}: cannot make {self.path}: {error.strerror}{hint}",
                errno=error.errno or 0,
            ) from None
        self.lock()

    def lock(self, timeout: float = LOCK_TIMEOUT) -> None:
        """`locking`, in this thread."""
        finish(self.locking(timeout))

    def locking(self, timeout: float = LOCK_TIMEOUT) -> Steps[None]:
        """Wait until nobody else changes the container.

        Raises:
            NotFoundError: there is no such container, or it was deleted meanwhile.
            StateError: somebody else has been changing it for `timeout` seconds.
        """
        if self._lock_fd >= 0:
            return
        self._lock_fd = shim.lock_directory(self.path) if shim.is_loaded() else -1
        if self._lock_fd >= 0:
            return
        fd = self._open()
        try:
            yield from self._acquire(fd, timeout)
        except BaseException:
            os.close(fd)
            raise
        self._lock_fd = fd

    def _acquire(self, fd: int, timeout: float) -> Steps[None]:
        deadline = time.monotonic() + timeout
        pause = 0.001
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    raise StateError(
                        f"container {self.id} is busy: another command is changing it"
                    ) from None
            yield -1, pause
            pause = min(pause * 2, 0.05)
        # what was waited for may have been its deletion, and even another container's creation
        try:
            same = os.path.samestat(os.fstat(fd), os.stat(self.path))
        except FileNotFoundError:
            same = False
        if not same:
            raise self._missing()

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._missing() from None
        except OSError as error:
            raise PyruncError(f"{self.path}: {error.strerror}", errno=error.errno or 0) from None

    def _missing(self) -> NotFoundError:
        return NotFoundError(
            f"container {self.id} does not exist in {self.root}"
            " (list shows those that do; --root names another directory)"
        )

    def unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def is_locked(self) -> bool:
        """Somebody else is changing the container right now."""
        if self._lock_fd >= 0:
            return False
        fd = self._open()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def write(self, name: str, text: str) -> None:
        """Put a whole file in place, or leave the one that is there. Raises PyruncError."""
        path = self.path_of(name)
        try:
            files.replace(path, text)
        except OSError as error:
            raise PyruncError(f"{path}: {error.strerror}", errno=error.errno or 0) from None

    def make_directory(self, name: str, mode: int) -> None:
        """Make a directory in it. Raises PyruncError."""
        path = self.path_of(name)
        try:
            os.mkdir(path)
            os.chmod(path, mode)
        except OSError as error:
            raise PyruncError(f"{path}: {error.strerror}", errno=error.errno or 0) from None

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory in it. Raises PyruncError."""
        path = self.path_of(name)
        try:
            os.rmdir(path)
        except OSError as error:
            raise PyruncError(f"{path}: {error.strerror}", errno=error.errno or 0) from None

    def write_state(self, state: dict[str, Any]) -> None:
        text = dumps(state)
        self.write(STATE, text)
        self._sound = text.encode()
        if state["startTime"]:
            # so that a process is found and ended also where something else damages the state
            self.write(BACKUP, text)

    def read_state(self, known: dict[str, Any] | None = None) -> dict[str, Any]:
        """The state.

        Args:
            known: returned where the file is as this store has last read or written it.

        Raises:
            NotFoundError: there is no such container.
            StateError: its state is missing or damaged; it can only be deleted by force.
        """
        try:
            return self._read_checked(STATE, known)
        except FileNotFoundError:
            if os.path.isdir(self.path):
                raise StateError(
                    f"container {self.id} has no state: its creation was cut short;"
                    f" remove it with delete --force {self.id}"
                ) from None
            raise self._missing() from None

    def read_backup(self) -> dict[str, Any] | None:
        """The copy of the state, for when that is damaged; None where it is of no use either."""
        try:
            return self._read_checked(BACKUP)
        except (FileNotFoundError, PyruncError):
            return None

    def restore_state(self) -> None:
        """Put the copy of the state in its place, which needs no room on the disk. Raises PyruncError."""
        try:
            os.rename(self.path_of(BACKUP), self.path_of(STATE))
        except OSError as error:
            path = self.path_of(STATE)
            raise PyruncError(f"{path}: {error.strerror}", errno=error.errno or 0) from None

    def _read_checked(self, name: str, known: dict[str, Any] | None = None) -> dict[str, Any]:
        data = self._read_bytes(name)
        if known is not None and data == self._sound:
            return known
        state = self._parse(name, data)
        if data != self._sound:
            if missing := flaw(state, STATE_SHAPE):
                raise StateError(
                    f"container {self.id}: its state is damaged: {missing} is missing or wrong"
                )
            self._sound = data
        return state

    def read_config(self) -> dict[str, Any]:
        """The configuration that the container was created with. Raises as `read_state` does."""
        try:
            return self._parse(CONFIG, self._read_bytes(CONFIG))
        except FileNotFoundError:
            raise StateError(f"container {self.id}: its configuration is missing") from None

    def _read_bytes(self, name: str) -> bytes:
        path = self.path_of(name)
        try:
            return files.read_bytes(path)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(path) from None
        except OSError as error:
            raise PyruncError(f"{path}: {error.strerror}", errno=error.errno or 0) from None

    def _parse(self, name: str, data: bytes) -> dict[str, Any]:
        path = self.path_of(name)
        try:
            value = loads(data, path)
        except PyruncError as error:
            raise StateError(f"container {self.id}: its state is damaged: {error}") from None
        if not isinstance(value, dict):
            raise StateError(f"container {self.id}: its state is damaged: {path} is no object")
        return value

    def path_of(self, name: str) -> str:
        return f"{self.path}/{name}"

    def remove(self) -> None:
        """Remove the directory. One that is gone is no error. Raises PyruncError."""
        if shim.is_loaded() and shim.clear_directory(self.path):
            self.unlock()
            return
        try:
            for name in os.listdir(self.path):
                path = self.path_of(name)
                try:
                    os.unlink(path)
                except IsADirectoryError:
                    if name == NOTIFY:  # of others, which may be mount points, only empty ones
                        for below in os.listdir(path):
                            os.unlink(os.path.join(path, below))
                    os.rmdir(path)
            os.rmdir(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise PyruncError(f"{self.path}: {error.strerror}", errno=error.errno or 0) from None
        self.unlock()


def write_pid_file(path: str, pid: int) -> None:
    """Write a pid file, so that whoever sees it sees all of it. Raises PyruncError."""
    directory, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(directory, f".{name}.{os.getpid()}")
    try:
        # In a directory that others write to, whoever made the file would own it, or have us write
        # to another one by a link.
        remove_file(temporary)
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
        )
        try:
            shim.write_all(fd, str(pid).encode())
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError as error:
        raise PyruncError(f"--pid-file {path}: {error.strerror}", errno=error.errno or 0) from None


def remove_file(path: str) -> None:
    """Remove a file; one that is gone or cannot be removed is no error."""
    try:
        os.unlink(path)
    except OSError:
        return
