"""Compiles `mounts` of config.json (config.md, "Mounts") into operations."""

from __future__ import annotations

import os

from pyrunc.errors import ConfigError, HostError, Violation
from pyrunc.plan.namespaces import has_idmap
from pyrunc.plan.operation import Operation
from pyrunc.plan.operations import (
    BIND_NO_SYMLINK_SOURCE,
    BIND_RECURSIVE,
    FS_COPY_UP,
    FS_KEEP_MODE,
    FS_NO_SYMLINK,
    LINK_KEEP,
    MS_REC,
    NO_SLOT,
    ChangeMount,
    MakeDirectory,
    MakeIdmap,
    MakeSymlink,
    MountBind,
    MountFilesystem,
    OpenTree,
    SetFileLabel,
)
from pyrunc.plan.propagation import of_source
from pyrunc.spec.tables import (
    ACTION,
    ATTRIBUTE,
    FSCONFIG_FLAGS,
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOUNT_OPTIONS,
    MS_SILENT,
    PROPAGATION,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.context import Context


class Options:
    """The options of one mount, sorted out.

    Attributes:
        set, clear: MOUNT_ATTR_* of the mount itself.
        tree_set, tree_clear: the same for the whole tree (`rro`, …).
        propagation: MS_* types in the order given, with MS_REC.
        data: what goes to the filesystem.
        flags: superblock flags that fsconfig(2) has no name for (MS_*).
        actions: `bind`, `rbind`, `remount`, `idmap`, `ridmap`, `tmpcopyup`, `copy-symlink`.
    """

    def __init__(self, names: list[str]) -> None:
        self.set = self.clear = self.tree_set = self.tree_clear = self.flags = 0
        self.propagation: list[int] = []
        self.data: list[str] = []
        self.actions: set[str] = set()
        for name in names:
            option = MOUNT_OPTIONS.get(name)
            if option is None:
                self.data += split_data(name)
                continue
            kind, bits, mask, recursive = option
            if kind is ATTRIBUTE and recursive:
                self.tree_set = self.tree_set & ~mask | bits
                self.tree_clear = self.tree_clear & ~bits | mask
            elif kind is ATTRIBUTE:
                self.set = self.set & ~mask | bits
                self.clear = self.clear & ~bits | mask
            elif kind is PROPAGATION:
                self.propagation.append(bits | (MS_REC if recursive else 0))
            elif kind is ACTION:
                self.actions.add(name)
            elif name in FSCONFIG_FLAGS:
                self.data.append(name)
            else:
                self.flags = self.flags & ~mask | bits

    @property
    def bind(self) -> bool:
        return "bind" in self.actions or "rbind" in self.actions


def split_data(option: str) -> list[str]:
    """The options in one string, at its commas; a backslash keeps a comma (as overlay has it)."""
    if "," not in option:
        return [option] if option else []
    parts = []
    part = ""
    escaped = False
    for char in option:
        if char == "," and not escaped:
            parts.append(part)
            part = ""
            continue
        escaped = char == "\\" and not escaped
        part += char
    parts.append(part)
    return [part for part in parts if part]


def absolute(destination: str) -> str:
    """A destination as an absolute path (relative ones are deprecated, and relative to /)."""
    return destination if destination.startswith("/") else "/" + destination


def compile_mounts(context: Context) -> None:
    """Add the operations for all of `mounts`, in their order."""
    for index, mount in enumerate(context.config.get("mounts") or ()):
        compile_mount(context, mount, f"/mounts/{index}")


def compile_mount(context: Context, mount: dict[str, Any], pointer: str) -> None:
    """Add the operations for one mount.

    Raises:
        ConfigError: the mount cannot be made as it is described.
        HostError: it needs what this host lacks.
    """
    options = Options(mount.get("options") or [])
    destination = absolute(mount["destination"])
    kind = mount.get("type") or ""
    if "remount" in options.actions:
        operation: Operation | None = ChangeMount(
            destination, options.data, *_attributes(options), _first(options)
        )
    elif options.bind or kind == "bind":
        operation = _bind(context, mount, options, destination, pointer)
    elif has_idmap(mount):
        raise _wrong(context, pointer, "only a bind mount can have id mappings")
    elif kind == "cgroup":
        if context.annotations.get("run.oci.systemd.force_cgroup_v1") == mount["destination"]:
            operation = _systemd_hierarchy(options, destination)
        else:
            _cgroup(context, options, destination, pointer)
            operation = None
    else:
        operation = _filesystem(context, mount, options, destination, kind, pointer)
    if operation is not None:
        context.add(operation, pointer)
    for propagation in options.propagation[1:]:
        context.add(ChangeMount(destination, [], 0, 0, 0, 0, propagation), pointer)


def _wrong(context: Context, pointer: str, message: str) -> ConfigError:
    return ConfigError(context.source, [Violation(pointer, message)])


def _first(options: Options) -> int:
    return options.propagation[0] if options.propagation else 0


def _attributes(options: Options) -> tuple[int, int, int, int]:
    """The four attribute fields, with the access time field cleared as a whole when it is changed."""
    clear, tree_clear = options.clear, options.tree_clear
    if (options.set | clear) & MOUNT_ATTR__ATIME:
        clear |= MOUNT_ATTR__ATIME
    if (options.tree_set | tree_clear) & MOUNT_ATTR__ATIME:
        tree_clear |= MOUNT_ATTR__ATIME
    return options.set, clear, options.tree_set, tree_clear


#: The kernel labels the files of these itself.
_UNLABELLED = ("proc", "sysfs", "cgroup", "cgroup2")


def _filesystem(
    context: Context,
    mount: dict[str, Any],
    options: Options,
    destination: str,
    kind: str,
    pointer: str,
) -> Operation:
    if not kind:
        kind = "none"
    _check_owner(context, kind, pointer)
    data = options.data
    flags = 0
    attrs = options.set
    if kind in ("proc", "sysfs"):
        flags |= FS_NO_SYMLINK
    if kind == "tmpfs":
        if "tmpcopyup" in options.actions:
            flags |= FS_COPY_UP
        if not any(option.startswith("mode=") for option in data):
            flags |= FS_KEEP_MODE
    if (kind == "tmpfs" or destination == "/dev") and attrs & MOUNT_ATTR_RDONLY:
        # later mounts and devices still go into it
        attrs &= ~MOUNT_ATTR_RDONLY
        context.later(ChangeMount(destination, [], MOUNT_ATTR_RDONLY, 0, 0, 0, 0), pointer)
    elif attrs & MOUNT_ATTR_RDONLY and not options.flags & ~MS_SILENT:
        # mount(2) makes the filesystem read-only by the same flag as the mount, and that of a
        # write-protected device cannot be opened otherwise; fsconfig(2) wants to be told
        data = ["ro", *data]
    label = context.mount_label
    if label and kind == "mqueue":  # it does not take the option
        context.later(SetFileLabel(destination, label), "/linux/mountLabel")
    elif label and kind not in _UNLABELLED:
        # in one string of options for mount(2), a label of categories needs quotes for its commas
        quote = '"' if options.flags & ~MS_SILENT else ""
        option = context.annotations.get("run.oci.mount_context_type", "context")
        data = [*data, f"{option}={quote}{label}{quote}"]
    operation = MountFilesystem(
        kind,
        mount.get("source") or kind,
        destination,
        data,
        attrs,
        options.flags & ~MS_SILENT,
        _first(options),
        flags,
    )
    if options.tree_set or options.tree_clear:
        _, _, tree_set, tree_clear = _attributes(options)
        context.later(ChangeMount(destination, [], 0, 0, tree_set, tree_clear, 0), pointer)
    return operation


#: Filesystems that show a namespace, which has to belong to the user namespace they are mounted in.
_SHOWN_NAMESPACE = {"proc": "pid", "sysfs": "network", "mqueue": "ipc"}


def _check_owner(context: Context, kind: str, pointer: str) -> None:
    namespace = _SHOWN_NAMESPACE.get(kind)
    if namespace and context.has_new("user") and namespace not in context.namespaces:
        raise HostError.asked_by(
            pointer,
            f"{kind} cannot be mounted in a user namespace without a {namespace} namespace of its"
            " own; a bind mount of the host's can take its place",
        )


def _bind(
    context: Context, mount: dict[str, Any], options: Options, destination: str, pointer: str
) -> Operation:
    source = mount.get("source")
    if not source:
        raise _wrong(context, pointer + "/source", "a bind mount needs a source")
    if not source.startswith("/"):
        source = os.path.normpath(os.path.join(context.bundle.path, source))
    if "tmpcopyup" in options.actions:
        raise _wrong(context, pointer + "/options", "tmpcopyup is for a tmpfs, not a bind mount")
    flags = 0
    if "rbind" in options.actions:
        flags |= BIND_RECURSIVE
    if "copy-symlink" in options.actions:
        flags |= BIND_NO_SYMLINK_SOURCE
    slot = NO_SLOT
    mapped = has_idmap(mount)
    if mapped or context.open_sources:
        idmap = _idmap(context, mount, pointer) if mapped else NO_SLOT
        slot = _host_source(context, source, flags, pointer, idmap, "ridmap" in options.actions)
    return MountBind(source, slot, destination, flags, *_attributes(options), _first(options))


def _host_source(
    context: Context,
    source: str,
    flags: int,
    pointer: str,
    idmap: int = NO_SLOT,
    recursive: bool = False,
) -> int:
    """The slot of a source that is opened on the host's side."""
    slot = context.new_slot()
    tree = OpenTree(slot, source, flags, idmap, int(recursive), of_source(context))
    context.host_side(tree, pointer)
    return slot


def _idmap(context: Context, mount: dict[str, Any], pointer: str) -> int:
    uids, gids = mount.get("uidMappings"), mount.get("gidMappings")
    if not uids and not gids:
        linux = context.config.get("linux") or {}
        uids, gids = linux.get("uidMappings"), linux.get("gidMappings")
    if not uids or not gids:
        raise _wrong(
            context,
            pointer + "/options",
            "an id-mapped mount needs uidMappings and gidMappings, its own or the container's",
        )
    if not context.facts.is_privileged:
        raise HostError.asked_by(
            pointer + "/options", "id-mapped mounts need CAP_SYS_ADMIN on the host"
        )
    slot = context.new_slot()
    context.host_side(MakeIdmap(slot, flatten(uids), flatten(gids)), pointer)
    return slot


def flatten(mappings: list[dict[str, Any]]) -> list[int]:
    """Id mappings as container id, host id, size, one after another."""
    return [
        number
        for mapping in mappings
        for number in (mapping["containerID"], mapping["hostID"], mapping["size"])
    ]


# ---- cgroup -----------------------------------------------------------------------------------

_CGROUP_ATTRS = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


def _systemd_hierarchy(options: Options, destination: str) -> MountFilesystem:
    """The hierarchy of v1 that an old systemd wants, on any host that has it mounted."""
    data = ["none", "name=systemd", "xattr"]
    attrs = options.set | _CGROUP_ATTRS
    return MountFilesystem("cgroup", "cgroup", destination, data, attrs, 0, _first(options), 0)


def _cgroup(context: Context, options: Options, destination: str, pointer: str) -> None:
    """A mount of type `cgroup`: what this host has of them, as the container may see it."""
    if context.facts.cgroup_mode == "v2":
        _cgroup2(context, options, destination, pointer)
    else:
        _cgroup1(context, options, destination, pointer)


def _live_source(context: Context, source: str, flags: int, pointer: str) -> int:
    """The slot of a source that has to be opened before a container that runs is entered."""
    return _host_source(context, source, flags, pointer) if context.live else NO_SLOT


def _cgroup2(context: Context, options: Options, destination: str, pointer: str) -> None:
    own = context.has_new("cgroup")
    if own or not context.in_user_namespace:
        data = options.data
        if not own:
            # in the host's cgroup namespace a mount sets them for the whole system, and takes away what it leaves out
            data = list(dict.fromkeys((*data, *context.facts.cgroup2_options)))
        operation: Operation = MountFilesystem(
            "cgroup2", "cgroup", destination, data, options.set, 0, _first(options), 0
        )
    else:
        # without a cgroup namespace of its own, a user namespace may only bind what is there
        source = context.facts.cgroup_mounts[""]
        operation = MountBind(
            source,
            _live_source(context, source, BIND_RECURSIVE, pointer),
            destination,
            BIND_RECURSIVE,
            *_attributes(options),
            _first(options),
        )
    context.add(operation, pointer)


def _cgroup1(context: Context, options: Options, destination: str, pointer: str) -> None:
    attrs = options.set & ~MOUNT_ATTR_RDONLY | _CGROUP_ATTRS
    data = [*options.data, "mode=755"]
    if context.mount_label:
        data.append(f"context={context.mount_label}")
    context.add(
        MountFilesystem("tmpfs", "tmpfs", destination, data, attrs, 0, _first(options), 0), pointer
    )
    readonly = options.set & MOUNT_ATTR_RDONLY
    together: dict[str, list[str]] = {}
    for controller, mountpoint in context.facts.cgroup_mounts.items():
        together.setdefault(mountpoint, []).append(controller)
    for mountpoint, controllers in together.items():
        name = mountpoint[mountpoint.rindex("/") + 1 :]
        below = f"{destination}/{name}"
        context.add(MakeDirectory(below, 0o755), pointer)
        if context.has_new("cgroup"):
            fstype = "cgroup2" if controllers == [""] else "cgroup"
            data = [] if fstype == "cgroup2" else controllers
            operation: Operation = MountFilesystem(
                fstype,
                fstype,
                below,
                data,
                options.set & ~readonly | _CGROUP_ATTRS | readonly,
                0,
                0,
                0,
            )
        else:
            source = context.cgroup_directory(controllers[0])
            attributes = _CGROUP_ATTRS | readonly
            slot = _live_source(context, source, 0, pointer)
            operation = MountBind(source, slot, below, 0, attributes, 0, 0, 0, 0)
        context.add(operation, pointer)
        for controller in controllers:
            if controller not in ("", name) and not controller.startswith("name="):
                context.add(MakeSymlink(name, f"{destination}/{controller}", LINK_KEEP), pointer)
    if readonly:
        context.later(ChangeMount(destination, [], MOUNT_ATTR_RDONLY, 0, 0, 0, 0), pointer)
