"""Hooks in the runtime's namespaces (config.md, "POSIX-platform Hooks")."""

from __future__ import annotations

from pyrunc import log
from pyrunc.container.channel import hook_failure, label
from pyrunc.errors import HookError
from pyrunc.host import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.host.waiting import Steps


def run_hooks(config_hooks: dict[str, Any], kind: str, state: bytes) -> Steps[None]:
    """Run all hooks of one kind, in order, until one fails.

    Raises:
        HookError: a hook could not be executed, exited with another status than 0, or was killed after its timeout.
    """
    for index, hook in enumerate(config_hooks.get(kind) or ()):
        yield from _run(hook, f"/hooks/{kind}/{index}", state)


def run_all_hooks(config_hooks: dict[str, Any], kind: str, state: bytes) -> Steps[None]:
    """Run all hooks of one kind; one that fails is a warning (poststop)."""
    for index, hook in enumerate(config_hooks.get(kind) or ()):
        try:
            yield from _run(hook, f"/hooks/{kind}/{index}", state)
        except HookError as error:
            log.warning(str(error))


def _run(hook: dict[str, Any], pointer: str, state: bytes) -> Steps[None]:
    path = hook["path"]
    timeout = hook.get("timeout") or 0
    args, env = hook.get("args") or [path], hook.get("env") or []
    result = yield from program.running(path, args, env, state, timeout)
    if result is None:
        return
    why = hook_failure(result.error, result.call, result.status, result.output)
    raise HookError(
        f"{label(pointer)}: {path} {why} (config.json: {pointer})",
        pointer=pointer,
        errno=result.error,
    )
