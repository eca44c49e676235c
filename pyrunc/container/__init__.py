"""The container state machine: create, start, exec, kill, delete, and the state on disk."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.container.container import Container, delete_remains
    from pyrunc.container.creation import CreateOptions, compile_bundle, create
    from pyrunc.container.execute import ExecOptions
    from pyrunc.container.running import run

__all__ = [
    "Container",
    "CreateOptions",
    "ExecOptions",
    "compile_bundle",
    "create",
    "delete_remains",
    "run",
]

_MODULES = {
    "Container": "container",
    "delete_remains": "container",
    "CreateOptions": "creation",
    "compile_bundle": "creation",
    "create": "creation",
    "ExecOptions": "execute",
    "run": "running",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # Lazily: a command loads only what it needs.
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(name)
        loaded = __import__(f"pyrunc.container.{module}", fromlist=[name])
        value = globals()[name] = getattr(loaded, name)
        return value
