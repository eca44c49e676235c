"""Hooks in the runtime's namespaces (config.md, "POSIX-platform Hooks")."""

from __future__ import annotations

import os

from pyrunc import log
from pyrunc.container.channel import hook_failure, label
from pyrunc.container.session import close_all
from pyrunc.errors import HookError
from pyrunc.host import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.host.waiting import Steps


def run_hooks(config: dict[str, Any], kind: str, state: bytes) -> Steps[None]:
    """Run all hooks of one kind, in order, until one fails.

    Args:
        config: the container's configuration.
        kind: as in `hooks`.
        state: the container's, which they are given.

    Raises:
        HookError: a hook could not be executed, exited with another status than 0, or was killed after its timeout.
    """
    for index, hook in enumerate((config.get("hooks") or {}).get(kind) or ()):
        yield from _run(hook, f"/hooks/{kind}/{index}", state, config)


def run_all_hooks(config: dict[str, Any], kind: str, state: bytes) -> Steps[None]:
    """Run all hooks of one kind; one that fails is a warning (poststop)."""
    for index, hook in enumerate((config.get("hooks") or {}).get(kind) or ()):
        try:
            yield from _run(hook, f"/hooks/{kind}/{index}", state, config)
        except HookError as error:
            log.warning(str(error))


def output_files(config: dict[str, Any]) -> tuple[str, str]:
    """The files that annotations of crun name for stdout and stderr of hooks; "" for none."""
    annotations = config.get("annotations") or {}
    return annotations.get("run.oci.hooks.stdout", ""), annotations.get("run.oci.hooks.stderr", "")


def _run(hook: dict[str, Any], pointer: str, state: bytes, config: dict[str, Any]) -> Steps[None]:
    path = hook["path"]
    timeout = hook.get("timeout") or 0
    args, env = hook.get("args") or [path], hook.get("env") or []
    out = err = -1
    try:
        stdout, stderr = output_files(config)
        out = _open_output(stdout)
        err = _open_output(stderr)
        result = yield from program.running(path, args, env, state, timeout, (out, err))
    finally:
        close_all((out, err))
    if result is None:
        return
    why = hook_failure(result.error, result.call, result.status, result.output)
    raise HookError(
        f"{label(pointer)}: {path} {why} (config.json: {pointer})",
        pointer=pointer,
        errno=result.error,
    )


def _open_output(path: str) -> int:
    if not path:
        return -1
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o644)
    except OSError as error:
        raise HookError(
            f"output of hooks: {path}: {error.strerror} (config.json: /annotations)",
            pointer="/annotations",
            errno=error.errno or 0,
        ) from None
