"""Writing the id mappings of a user namespace (user_namespaces(7))."""

from __future__ import annotations

import os

from pyrunc.errors import HostError, PyruncError
from pyrunc.host import procfs, program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.host.waiting import Steps


def write_id_maps(pid: int, uids: list[int], gids: list[int]) -> Steps[None]:
    """Map the ids of the user namespace of process `pid`.

    Without privileges, a mapping of just the caller is written by the kernel's rule for it, and any other by
    newuidmap(1) and newgidmap(1), which know the subordinate ids of the caller.

    Raises:
        HostError: newuidmap or newgidmap is missing or refuses.
        PyruncError: the kernel refuses a mapping.
    """
    privileged = os.geteuid() == 0
    for kind, ids, own in (("gid", gids, os.getegid()), ("uid", uids, os.geteuid())):
        pointer = f"/linux/{kind}Mappings"
        if not ids:
            continue
        if privileged:
            if not _write(pid, f"{kind}_map", _lines(ids), pointer, try_only=True):
                yield from _run_helper(kind, pid, ids, pointer)
        elif len(ids) == 3 and ids[1] == own and ids[2] == 1:
            if kind == "gid":
                _write(pid, "setgroups", "deny", pointer)
            _write(pid, f"{kind}_map", _lines(ids), pointer)
        else:
            yield from _run_helper(kind, pid, ids, pointer)


def _lines(ids: list[int]) -> str:
    return "".join(f"{ids[i]} {ids[i + 1]} {ids[i + 2]}\n" for i in range(0, len(ids), 3))


def _write(pid: int, name: str, text: str, pointer: str, *, try_only: bool = False) -> bool:
    try:
        procfs.write(pid, name, text)
    except OSError as error:
        if try_only and error.errno == 1:  # EPERM: root of a user namespace maps by the helpers too
            return False
        raise PyruncError(
            f"write to {name}: {error.strerror} (config.json: {pointer})",
            errno=error.errno or 0,
            pointer=pointer,
        ) from None
    return True


def find_helper(name: str) -> str | None:
    """The path of newuidmap or newgidmap, or None."""
    for directory in (os.environ.get("PATH") or "/usr/bin:/bin").split(":"):
        path = os.path.join(directory, name)
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return None


def _run_helper(kind: str, pid: int, ids: list[int], pointer: str) -> Steps[None]:
    name = f"new{kind}map"
    path = find_helper(name)
    if path is None:
        raise HostError(
            f"{name} is needed for this mapping and was not found: install the package uidmap"
            f" (config.json: {pointer})",
            pointer=pointer,
        )
    result = yield from program.running(path, [path, str(pid), *map(str, ids)], [], b"", 10)
    if result is not None:
        raise HostError(
            f"{name}: {result.output.strip() or 'failed'} (config.json: {pointer})", pointer=pointer
        )
