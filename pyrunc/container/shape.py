"""What a document that was written by this program has to look like when it is read again."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Each:
    """An object of any names, or a list, whose values all have one shape."""

    def __init__(self, kind: type, shape: Any) -> None:
        self.kind = kind
        self.shape = shape


class Maybe:
    """A member that may be missing or null."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


CGROUP: dict[str, Any] = {
    "driver": str,
    "mode": str,
    "paths": Each(dict, str),
    "tolerant": bool,
    "late": bool,
    "unit": Maybe({"name": str, "slice": str, "user": bool}),
    "mount": str,
}

#: state.json, but for the cgroup: where that is damaged, the process can still be killed.
STATE: dict[str, Any] = {
    "id": str,
    "pid": int,
    "startTime": int,
    "bundle": str,
    "rootfs": str,
    "rootfsMount": int,
    "created": str,
    "annotations": Each(dict, str),
    "cgroup": dict,
    "namespaces": Each(dict, str),
    "hasProcess": bool,
    "hasHooks": bool,
    "hasListener": bool,
    "late": Each(dict, Each(list, str)),
    "resctrl": Maybe(
        {"mount": str, "group": str, "tasks": Each(list, str), "remove": Each(list, str)}
    ),
}

_PID_MAX = 1 << 22  # proc(5), pid_max


def flaw(value: Any, shape: Any, name: str = "") -> str:
    """Where a JSON value has not the shape, as a.b.c; "" where it has."""
    if type(shape) is type:
        right = type(value) is shape and (name != "pid" or value in range(_PID_MAX + 1))
        return "" if right else name
    if isinstance(shape, Maybe):
        return "" if value is None else flaw(value, shape.shape, name)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return name
        prefix = f"{name}." if name else ""
        for key, below in shape.items():
            if found := flaw(value.get(key), below, prefix + key):
                return found
        return ""
    if not isinstance(value, shape.kind):
        return name
    for one in value.values() if isinstance(value, dict) else value:
        if found := flaw(one, shape.shape, name):
            return found
    return ""
