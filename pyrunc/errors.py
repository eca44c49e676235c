"""The exceptions that pyrunc raises, as one tree.

Every error is raised once, with its context, and shown once. `str(error)` is the whole message for
a person; the attributes serve programs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class PyruncError(Exception):
    """Base of all errors.

    Attributes:
        pointer: JSON pointer (RFC 6901) into config.json of what asked for the step, or None.
        errno: error number of the failed system call, or 0.
        operation: one-line description of the failed plan operation, or None.
        exit_code: what the command line exits with.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        pointer: str | None = None,
        errno: int = 0,
        operation: str | None = None,
    ) -> None:
        super().__init__(message)
        self.pointer = pointer
        self.errno = errno
        self.operation = operation


class Violation:
    """One thing wrong with a document: where (JSON pointer) and what."""

    __slots__ = ("message", "pointer")

    def __init__(self, pointer: str, message: str) -> None:
        self.pointer = pointer
        self.message = message

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}"

    def __repr__(self) -> str:
        return f"Violation({self.pointer!r}, {self.message!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Violation):
            return NotImplemented
        return (self.pointer, self.message) == (other.pointer, other.message)

    def __hash__(self) -> int:
        return hash((self.pointer, self.message))


class BundleError(PyruncError):
    """The bundle cannot be read: no config.json, not JSON, no rootfs."""


class ConfigError(BundleError):
    """config.json was read and is wrong; `violations` has all that is."""

    def __init__(self, source: str, violations: Sequence[Violation]) -> None:
        self.source = source
        self.violations = tuple(violations)
        lines = "; ".join(str(v) for v in self.violations)
        super().__init__(
            f"{source}: {lines}", pointer=self.violations[0].pointer if violations else None
        )


class UsageError(PyruncError):
    """The command line or an argument of the API is wrong."""


class HostError(PyruncError):
    """This host lacks something that was asked for; the message names it."""

    @classmethod
    def asked_by(cls, pointer: str, message: str) -> HostError:
        """The error for what config.json asks for at `pointer`."""
        return cls(f"{message} (config.json: {pointer})", pointer=pointer)


class OperationError(PyruncError):
    """An operation of a plan failed on the container's side.

    Attributes:
        index: which one of the plan; -1 where none of it is to blame.
    """

    index = -1


class HookError(PyruncError):
    """A hook could not be run, failed or timed out."""


class CgroupError(PyruncError):
    """A cgroup could not be made, changed or removed."""


class StateError(PyruncError):
    """The operation is not allowed in the container's present state."""


class NotFoundError(PyruncError):
    """No container of that id."""


class ExistsError(PyruncError):
    """A container of that id exists already."""


class TimeoutExpired(PyruncError):
    """Something did not end within its time.

    Attributes:
        timeout: that time, in seconds.
        stdout, stderr: what a process wrote until then; None where it was not read.
    """

    def __init__(self, what: str, timeout: float | None) -> None:
        super().__init__(f"{what} did not end within {timeout} s")
        self.timeout = timeout
        self.stdout: bytes | None = None
        self.stderr: bytes | None = None

    def of(self, what: str, timeout: float | None) -> TimeoutExpired:
        """The same, told of something else."""
        other = TimeoutExpired(what, timeout)
        other.stdout, other.stderr = self.stdout, self.stderr
        return other
