"""What a runtime left behind: processes, mounts, cgroups, state, open files.

Only what the tests made is looked at, as other containers may run on the same machine: processes
that were orphaned to this one, mounts below the directory of the tests, cgroups with our ids.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
CGROUPS = Path("/sys/fs/cgroup")


def adopt_orphans() -> None:
    """Make this process the parent of whatever its descendants orphan, so that it can be seen."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and parent of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1])


def children(parent: int = 0) -> dict[int, str]:
    """Live children of a process (of this one), by pid, with their command lines."""
    own = parent or os.getpid()
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat(int(entry))) is not None:
            state, parent = stat
            if parent == own and state not in "ZX":
                try:
                    line = Path(f"/proc/{entry}/cmdline").read_bytes()
                except OSError:
                    continue
                found[int(entry)] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def zombies() -> set[int]:
    """Children of this process that have ended and that nobody has taken away."""
    own = os.getpid()
    stats = {int(entry): _stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
    return {pid for pid, stat in stats.items() if stat == ("Z", own)}


def mounts(below: Path) -> list[str]:
    """Mount points at or below a directory."""
    prefix = str(below)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point == prefix or point.startswith(prefix + "/")]


def remove_tree(path: Path) -> None:
    """Remove a directory, but nothing through a mount that leaked into it.

    Raises:
        RuntimeError: something below it cannot be unmounted.
    """
    for point in reversed(mounts(path)):
        subprocess.run(["umount", "-l", point], check=False)
    if left := mounts(path):
        raise RuntimeError(f"cannot be unmounted: {', '.join(left)}")
    shutil.rmtree(path)


def cgroups(prefix: str) -> list[str]:
    """Cgroups whose name starts with `prefix` and all below them, in any hierarchy."""
    found = []
    for directory, names, _ in os.walk(CGROUPS):
        depth = len(Path(directory).relative_to(CGROUPS).parts)
        matching = [name for name in names if name.startswith(prefix)]
        for name in matching:
            found += [group for group, _, _ in os.walk(os.path.join(directory, name))]
        names[:] = [name for name in names if name not in matching] if depth < 4 else []
    return sorted(found)


def remove_cgroups(prefix: str, *, keep: set[str] | None = None) -> None:
    """Remove what `cgroups` finds, but those of `keep`, as far as no process is in them."""
    for group in reversed(cgroups(prefix)):
        if keep is None or group not in keep:
            try:
                os.rmdir(group)
            except OSError:
                continue


def open_files() -> set[str]:
    """Numbers and targets of this process's open files."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} -> {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            continue  # the descriptor of this listing
    return found


class Leaks:
    """A look before and one after.

    Attributes:
        directory: below which mounts are ours.
        prefix: with which names of our cgroups and containers begin.
        ignored: mount points to say nothing of.
    """

    def __init__(self, directory: Path, prefix: str, *, ignored: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.prefix = prefix
        self.ignored = ignored
        self.processes = set(children())
        self.files = open_files()
        self.mounts = {*mounts(directory), *ignored}
        self.cgroups = set(cgroups(prefix))

    def found(self, *roots: Path) -> list[str]:
        """What there is now and was not before; `roots` are state directories, to be empty.

        A killed process needs a moment to go; so what is only just leaving is waited for.
        """
        deadline = time.monotonic() + 5
        while True:
            left = self._look(roots)
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.05)

    def _look(self, roots: tuple[Path, ...]) -> list[str]:
        left = [
            f"process {pid}: {command}"
            for pid, command in children().items()
            if pid not in self.processes
        ]
        left += [f"mount: {m}" for m in mounts(self.directory) if m not in self.mounts]
        left += [f"cgroup: {c}" for c in cgroups(self.prefix) if c not in self.cgroups]
        left += [f"open file: {f}" for f in sorted(open_files() - self.files)]
        for root in roots:
            if root.is_dir():
                left += [f"state: {entry}" for entry in sorted(root.iterdir())]
        return left

    def remove(self) -> None:
        """Remove what was left, so that the next test starts clean."""
        for pid in set(children()) - self.processes:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for point in reversed(mounts(self.directory)):
            if point not in self.mounts:
                subprocess.run(["umount", "-l", point], check=False)
        remove_cgroups(self.prefix, keep=self.cgroups)
