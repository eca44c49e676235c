"""Compiles the root filesystem: `root`, devices, masked and read-only paths (config-linux.md)."""

from __future__ import annotations

import stat

from pyrunc.errors import HostError
from pyrunc.plan.mounts import absolute, compile_mounts
from pyrunc.plan.operations import (
    LINK_KEEP,
    LINK_REPLACE,
    SYNC_HOOKS,
    BindDevice,
    ChangeMount,
    ChangeRoot,
    EnterRootfs,
    MakeDirectory,
    MakeNode,
    MakeSymlink,
    MaskPath,
    MoveRoot,
    OpenConsole,
    OpenHookOutputs,
    OpenRootfs,
    PivotRoot,
    ReadonlyPath,
    RunHook,
    SetPropagation,
    Sync,
)
from pyrunc.plan.propagation import of_all_mounts, of_the_root
from pyrunc.spec.tables import MOUNT_ATTR_RDONLY, MS_SHARED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.context import Context

#: config-linux.md, "Default Devices": path, major, minor.
DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)

#: runtime-linux.md, "Dev symbolic links".
DEV_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
)

_FILE_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def compile_rootfs(context: Context) -> None:
    """Add all operations from the first mount to the entered root."""
    own_mounts = "mount" in context.namespaces
    if context.mount_label and not context.facts.selinux:
        raise HostError.asked_by(
            "/linux/mountLabel",
            f"SELinux label {context.mount_label}: SELinux is not enabled on this host",
        )
    before = of_all_mounts(context)
    if own_mounts:
        context.add(SetPropagation("/", before), "/linux/rootfsPropagation")
    rootfs = context.bundle.rootfs
    if context.in_user_namespace and own_mounts:
        context.host_side(EnterRootfs(rootfs), "/root/path")
        context.add(OpenRootfs(".", 0), "/root/path")
    else:
        # Slaves of the host's mounts stay that, so that what is mounted there later is seen.
        private = own_mounts and bool(before & MS_SHARED)
        context.add(OpenRootfs(rootfs, int(private)), "/root/path")
    compile_mounts(context)
    if not _dev_is_bound(context):
        _compile_devices(context)
    if context.process.get("terminal"):
        compile_console(context, context.process, mount=True)
    _compile_hooks(context)
    cwd = context.process.get("cwd") or "/"
    if cwd != "/":
        # while nothing is read-only yet, and with no umask
        context.add(MakeDirectory(cwd, 0o755), "/process/cwd")
    context.flush_later()
    if not own_mounts:
        context.add(ChangeRoot())
    elif context.options.no_pivot:
        context.add(MoveRoot())
    else:
        context.add(PivotRoot())


def compile_hiding(context: Context) -> None:
    """Add what hides and protects parts of the entered root."""
    for index, path in enumerate(context.linux.get("readonlyPaths") or ()):
        context.add(ReadonlyPath(path), f"/linux/readonlyPaths/{index}")
    for index, path in enumerate(context.linux.get("maskedPaths") or ()):
        context.add(MaskPath(path, context.mount_label), f"/linux/maskedPaths/{index}")
    if context.config["root"].get("readonly"):
        context.add(ChangeMount("/", [], MOUNT_ATTR_RDONLY, 0, 0, 0, 0), "/root/readonly")
    propagation = of_the_root(context)
    if propagation:
        # Last: parts of an unbindable rootfs could not be made read-only, and those of a shared
        # one would be mounted twice.
        context.add(ChangeMount("/", [], 0, 0, 0, 0, propagation), "/linux/rootfsPropagation")


def _dev_is_bound(context: Context) -> bool:
    """/dev is someone else's, by a bind mount, and is left as it is."""
    for mount in context.config.get("mounts") or ():
        if absolute(mount["destination"]).rstrip("/") == "/dev":
            options = mount.get("options") or ()
            if mount.get("type") == "bind" or "bind" in options or "rbind" in options:
                return True
    return False


def _compile_devices(context: Context) -> None:
    devices: dict[str, tuple[int, int, int, int, int, str]] = {
        path: (stat.S_IFCHR | 0o666, major, minor, 0, 0, "")
        for path, major, minor in DEFAULT_DEVICES
    }
    for index, device in enumerate(context.linux.get("devices") or ()):
        devices[device["path"]] = _device(device, f"/linux/devices/{index}")
    by_bind = context.in_user_namespace or context.facts.user_namespace
    for path, (mode, major, minor, uid, gid, pointer) in devices.items():
        if by_bind and not stat.S_ISFIFO(mode):
            context.add(BindDevice(path, path, mode, major, minor), pointer)
        else:
            context.add(MakeNode(path, mode, major, minor, uid, gid), pointer)
    context.add(MakeSymlink("pts/ptmx", "/dev/ptmx", LINK_REPLACE))
    for target, path in DEV_LINKS:
        context.add(MakeSymlink(target, path, LINK_KEEP))
    if context.facts.kcore:
        context.add(MakeSymlink("/proc/kcore", "/dev/core", LINK_KEEP))


def _device(device: dict[str, Any], pointer: str) -> tuple[int, int, int, int, int, str]:
    mode = device.get("fileMode")
    return (
        _FILE_TYPES[device["type"]] | (0o666 if mode is None else mode & 0o7777),
        device.get("major") or 0,
        device.get("minor") or 0,
        device.get("uid") or 0,
        device.get("gid") or 0,
        pointer,
    )


def compile_console(context: Context, process: dict[str, Any], *, mount: bool) -> None:
    """Add the terminal of a process, as /dev/console too with `mount`."""
    from pyrunc.plan.context import SLOT_CONSOLE

    size = process.get("consoleSize") or {}
    user = process.get("user") or {}
    context.add(
        OpenConsole(
            SLOT_CONSOLE,
            size.get("width") or 0,
            size.get("height") or 0,
            int(mount),
            user.get("uid") or 0,
            user.get("gid") or 0,
        ),
        "/process/terminal",
    )


def _compile_hooks(context: Context) -> None:
    hooks = context.config.get("hooks") or {}
    if hooks.get("prestart") or hooks.get("createRuntime") or hooks.get("createContainer"):
        context.add(Sync(SYNC_HOOKS), "/hooks/createRuntime")
    if hooks.get("createContainer") or hooks.get("startContainer"):
        _compile_hook_outputs(context)
    compile_hooks(context, "createContainer")


def _compile_hook_outputs(context: Context) -> None:
    annotations = context.annotations
    stdout = annotations.get("run.oci.hooks.stdout", "")
    stderr = annotations.get("run.oci.hooks.stderr", "")
    if not stdout and not stderr:
        return
    # the way there may be closed to the ids of the container
    add = context.host_side if context.in_user_namespace else context.add
    add(OpenHookOutputs(stdout, stderr), "/annotations")


def compile_hooks(context: Context, kind: str) -> None:
    """Add the hooks of one kind that run in the container's namespaces."""
    hooks = (context.config.get("hooks") or {}).get(kind) or ()
    for index, hook in enumerate(hooks):
        context.add(
            RunHook(
                hook["path"],
                hook.get("args") or [hook["path"]],
                hook.get("env") or [],
                min(hook.get("timeout") or 0, 0xFFFFFFFF),
            ),
            f"/hooks/{kind}/{index}",
        )
