"""Failures that are explained: by a defect of the program, by the kernel, or by the specification.

Each entry holds for the runtime under test, whatever runc does. A failure without an entry, and an
entry without a failure, fail the run: so the table says exactly what does not pass, and why.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def _always() -> bool:
    return True


def lacks(*places: str) -> Callable[[], bool]:
    """A condition: none of these paths exists on this host."""
    return lambda: not any(Path(place).exists() for place in places)


def lacks_capability(number: int) -> Callable[[], bool]:
    """A condition: the bounding set of this process lacks capability `number`."""

    def condition() -> bool:
        status = Path("/proc/self/status").read_text()
        bounding = re.search(r"^CapBnd:\s*([0-9a-f]+)", status, re.MULTILINE)
        return bounding is not None and not int(bounding[1], 16) >> number & 1

    return condition


@dataclass(frozen=True)
class Known:
    """Test points of one program that cannot pass.

    Attributes:
        program: name of the validation program.
        point: regular expression, matched against the whole description of the test point.
        why: what stands in the way.
        when: whether it stands in the way on this host.
    """

    program: str
    point: str
    why: str
    when: Callable[[], bool] = _always

    def explains(self, program: str, description: str) -> bool:
        """Whether this entry is about that test point, on this host."""
        return (
            program == self.program
            and re.fullmatch(self.point, description) is not None
            and self.when()
        )


KNOWN: tuple[Known, ...] = ()
