"""Mounts as the kernel lists them (proc(5), /proc/PID/mountinfo)."""

from __future__ import annotations

from typing import NamedTuple


class Mount(NamedTuple):
    """One line.

    Attributes:
        point: where it is mounted.
        root: what of the filesystem is mounted there.
        options: of the mount itself.
        propagation: `shared:N`, `master:N`, `unbindable` in their order.
        kind: type of the filesystem.
        source: what was given as its source.
        super_options: of the filesystem.
    """

    point: str
    root: str
    options: list[str]
    propagation: list[str]
    kind: str
    source: str
    super_options: list[str]

    @property
    def propagation_kinds(self) -> set[str]:
        """`propagation` without the numbers of peer groups."""
        return {entry.partition(":")[0] for entry in self.propagation}


def parse(text: str) -> dict[str, Mount]:
    """The mounts by their mount points; of several on one point the last, which is on top."""
    found = {}
    for line in text.splitlines():
        head, separator, tail = line.partition(" - ")
        if separator:
            _, _, _, root, point, options, *propagation = head.split()
            kind, source, super_options = tail.split(" ", 2)
            found[point] = Mount(
                point,
                root,
                options.split(","),
                propagation,
                kind,
                source,
                super_options.split(","),
            )
    return found
