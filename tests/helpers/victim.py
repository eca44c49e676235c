"""A container that suffers faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from helpers.bundle import Bundle
from helpers.faults import Faults, take_orphans
from helpers.leaks import Leaks
from helpers.runtime import Runtime
from helpers.tally import count

#: Words that no user should be shown.
DEFECTS = ("Traceback", "internal error")


class Victim:
    """A container that is brought into a status, and of which nothing must be left.

    Attributes:
        id: of the present one.
        faults: runs its operations.
    """

    #: Operations, with the status that they start from and what follows the id.
    OPERATIONS: ClassVar[dict[str, tuple[str, tuple[str, ...]]]] = {
        "create": ("none", ()),
        "start": ("created", ()),
        "exec": ("running", ("true",)),
        "update": ("running", ()),
        "pause": ("running", ()),
        "resume": ("paused", ()),
        "kill": ("running", ("KILL",)),
        "delete": ("created", ()),
        "state": ("running", ()),
    }

    def __init__(
        self, runtime: Runtime, bundle: Bundle, leaks: Leaks, new_id: Callable[[], str]
    ) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.leaks = leaks
        self.faults = Faults(runtime, bundle.path)
        self._new_id = new_id
        self.id = ""

    def arguments(self, operation: str) -> list[str | Path]:
        """The arguments of the operation on the container."""
        before: dict[str, list[str | Path]] = {
            "create": ["--bundle", self.bundle.path],
            "update": ["--pids-limit", "50"],
            "delete": ["--force"],
        }
        return [operation, *before.get(operation, []), self.id, *self.OPERATIONS[operation][1]]

    def bring(self, operation: str) -> None:
        """Bring a new container to where the operation starts from."""
        self.id = self._new_id()
        status = self.OPERATIONS[operation][0]
        if status != "none":
            self._do("create", "--bundle", self.bundle.path, self.id)
        if status in ("running", "paused"):
            self._do("start", self.id)
        if status == "paused":
            self._do("pause", self.id)

    def _do(self, *arguments: str | Path) -> None:
        code, said = self.faults.plain(*arguments)
        assert code == 0, said

    def remove(self, what: str) -> list[str]:
        """Delete it by force, after `what` happened to it; what is left, or wrongly said."""
        code, said = self.faults.plain("delete", "--force", self.id)
        wrong = [f"{what}: delete --force: {said}"] if code or _is_defect(said) else []
        take_orphans()
        left = self.leaks.found(self.runtime.root)
        if left:
            self.leaks.remove()
        return [*wrong, *(f"{what}: left: {line}" for line in left)]

    def suffer(self, fault: str, operation: str, *, follow: bool = False) -> list[str]:
        """Bring it, run the operation with a fault, and remove it; what went wrong."""
        self.bring(operation)
        return self.judge(fault, self.faults.run(fault, *self.arguments(operation), follow=follow))

    def judge(self, fault: str, done: tuple[int, str]) -> list[str]:
        """What went wrong in an operation that ended so, and in removing the container."""
        count("faults injected and cleaned up")
        code, said = done
        wrong = [f"{fault}: {said}"] if _is_defect(said) else []
        if 0 < code < 128 and not said.strip():
            wrong.append(f"{fault}: exit status {code} without a word")
        return wrong + self.remove(fault)


def _is_defect(said: str) -> bool:
    # the interpreter's own words for a pipe that fails as no pipe does
    return "signal wakeup fd" not in said and any(word in said for word in DEFECTS)
