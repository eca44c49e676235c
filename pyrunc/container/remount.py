"""`mounts`: more or fewer mounts for a container that runs, which its stored configuration remembers."""

from __future__ import annotations

import os

from pyrunc import log
from pyrunc.cgroups import Cgroup
from pyrunc.cgroups.paths import clean
from pyrunc.container.container import wrong_status
from pyrunc.container.session import Session, close_all
from pyrunc.container.store import CONFIG
from pyrunc.errors import OperationError, PyruncError
from pyrunc.host.facts import HostFacts
from pyrunc.host.waiting import finish
from pyrunc.plan.live import compile_added, compile_removed
from pyrunc.plan.operations import MountBind, MountFilesystem, Unmount
from pyrunc.spec.json import dumps
from pyrunc.spec.loader import Bundle, check_mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.container.container import Container
    from pyrunc.plan.plan import Plan


class _Change:
    """What one change needs to know of the container, which is locked."""

    def __init__(self, container: Container, operation: str, mounts: Any, source: str) -> None:
        status = container.status
        if status not in ("created", "running", "paused"):
            raise wrong_status(f"{operation} mounts of", container.id, status)
        self.container = container
        self.config = container.store.read_config()
        if operation == "remove" and isinstance(mounts, list):
            # destinations are all that counts
            mounts = [{"type": "none", **m} if isinstance(m, dict) else m for m in mounts]
        check_mounts(mounts, self.config, source)
        self.source = source
        self.facts = HostFacts()
        state = container.state
        self.bundle = Bundle(state["bundle"], self.config, state["rootfs"])
        self.namespaces: dict[str, str] = state["namespaces"]

    def removal(self, destinations: dict[str, str]) -> Plan:
        return compile_removed(self.bundle, destinations, self.facts, self.namespaces, self.source)

    def execute(self, plan: Plan) -> None:
        """Execute a plan in the container. Raises OperationError."""
        session = Session(Cgroup(plan.cgroup))
        session.source = self.source
        container_fd = self.container.open_pidfd()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            session.spawn((0, 0), 0, (null, null, null))
            session.send(plan, [-1, -1, container_fd])
            finish(session.converse())
            _, status = os.waitpid(session.pid, 0)
            if status:
                raise OperationError(f"pyrunc-init ended with wait status {status}")
        except BaseException:
            session.kill()
            raise
        finally:
            session.close()
            close_all((container_fd, null))

    def remember(self, mounts: list[dict[str, Any]]) -> None:
        self.container.store.write(CONFIG, dumps({**self.config, "mounts": mounts}))


def add_mounts(container: Container, mounts: list[dict[str, Any]], source: str) -> None:
    """Make mounts in a container, all or none. Files and directories to mount on are made, and stay.

    Args:
        container: it may be created, running or paused.
        mounts: as `mounts` of config.json.
        source: what errors call the document that they are from.

    Raises:
        StateError: the container is stopped, or has no mounts of its own.
        ConfigError: the mounts are wrong.
        HostError: they need what this host lacks.
        OperationError: one could not be made.
    """
    with container.lock():
        change = _Change(container, "add", mounts, source)
        plan = compile_added(
            change.bundle,
            mounts,
            change.facts,
            change.namespaces,
            container.cgroup.plan,
            source,
        )
        try:
            change.execute(plan)
        except OperationError as error:
            _take_back(change, plan, error)
            raise
        change.remember([*(change.config.get("mounts") or []), *mounts])


def _take_back(change: _Change, plan: Plan, error: OperationError) -> None:
    """Unmount what was mounted before the operation that failed."""
    made = [
        operation.destination
        for operation in plan.operations[: max(error.index, 0)]
        if isinstance(operation, (MountBind, MountFilesystem))
    ]
    if not made:
        return
    try:
        change.execute(change.removal({f"/{i}": path for i, path in enumerate(reversed(made))}))
    except PyruncError as failure:
        log.warning(f"mounts that were made before are left: {failure}")


def remove_mounts(container: Container, mounts: list[dict[str, Any]], source: str) -> None:
    """Unmount the destinations of `mounts` in a container, the last first. Raises as `add_mounts` does.

    Where one fails, those that come before it in `mounts` stay.
    """
    with container.lock():
        change = _Change(container, "remove", mounts, source)
        known = list(change.config.get("mounts") or [])
        pointers = {
            f"/{index}": mount["destination"] for index, mount in reversed([*enumerate(mounts)])
        }
        plan = change.removal(pointers)
        done = list(pointers.values())
        try:
            change.execute(plan)
        except OperationError as error:
            done = [
                operation.destination
                for operation in plan.operations[: max(error.index, 0)]
                if isinstance(operation, Unmount)
            ]
            raise
        finally:
            for destination in done:
                _forget(known, destination)
            change.remember(known)


def _forget(mounts: list[dict[str, Any]], destination: str) -> None:
    """Take the mount on top of a destination out of a list."""
    wanted = clean(destination)
    for index in reversed(range(len(mounts))):
        if clean(mounts[index]["destination"]) == wanted:
            del mounts[index]
            return
