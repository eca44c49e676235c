"""Directories of a cgroup filesystem: make, remove, list the processes in them."""

from __future__ import annotations

import os
import time

from pyrunc.cgroups.files import failure, read_text, refuse
from pyrunc.host.waiting import finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.host.waiting import Steps

# A cgroup stays busy for a moment after its last process has exited.
REMOVE_TIMEOUT = 5.0  # seconds


def make(path: str, made: list[str]) -> bool:
    """Make a directory and those above it that are missing; append each one made to `made`.

    Returns False if it was there already. Raises OSError.
    """
    while True:
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            if not os.path.isdir(path):
                raise NotADirectoryError(20, os.strerror(20), path) from None
            return False
        except FileNotFoundError:
            # Another container that is being removed may take the parent away once more.
            make(os.path.dirname(path), made)
            continue
        made.append(path)
        return True


def children(path: str) -> list[str]:
    """The cgroups directly below one; none if it is gone."""
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def pids(path: str, *, recursive: bool) -> list[int]:
    """The processes in a cgroup and, if recursive, in those below it; none if it is gone.

    Raises OSError.
    """
    try:
        text = read_text(f"{path}/cgroup.procs")
    except FileNotFoundError:
        return []
    except OSError as error:
        if error.errno == 19:  # ENODEV: just removed
            return []
        if error.errno != 95:  # EOPNOTSUPP: a threaded cgroup of v2 has threads only
            raise
        text = read_text(f"{path}/cgroup.threads")
    found = [int(line) for line in text.split()]
    if recursive:
        for child in children(path):
            found += pids(child, recursive=True)
        # A process with threads in several cgroups of v2 is found in each.
        found = list(dict.fromkeys(found))
    return found


def remove(path: str, deadline: float) -> None:
    """`removing`, in this thread."""
    finish(removing(path, deadline))


def removing(path: str, deadline: float) -> Steps[None]:
    """Remove a cgroup and all below it, waiting for processes on their way out.

    Args:
        path: the cgroup's directory; it may be gone already.
        deadline: on the clock of time.monotonic(), how long to wait.

    Raises:
        CgroupError: it cannot be removed; the message has the processes that are in it.
    """
    delay = 0.001
    while True:
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != 16:  # EBUSY
                raise failure(f"remove {path}", error) from error
            for child in children(path):
                yield from removing(child, deadline)
            if time.monotonic() >= deadline:
                inside = pids(path, recursive=False)
                hint = f"processes in it: {', '.join(map(str, inside))}" if inside else ""
                raise failure(f"remove {path}", error, hint=hint) from error
        yield -1, delay
        delay = min(2 * delay, 0.1)


def undo(made: list[str]) -> None:
    """Remove the directories that `make` has made, as far as nobody else uses them by now."""
    for path in reversed(made):
        try:
            os.rmdir(path)
        except OSError:
            continue


def require_unused(path: str) -> None:
    """Raises CgroupError for a cgroup that exists and has processes in it or below it."""
    inside = pids(path, recursive=True)
    if inside:
        some = ", ".join(map(str, inside[:8])) + (", …" if len(inside) > 8 else "")
        raise refuse(
            f"cgroup {path} is in use by {len(inside)} processes ({some}); "
            "a container needs one of its own",
            "/linux/cgroupsPath",
        )
