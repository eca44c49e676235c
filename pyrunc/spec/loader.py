"""Reads a bundle: config.json, checked in full, and the root filesystem that it names.

The documents are read as Go's decoder would, whose users write them, where it matters: a member
that is null counts as absent; unknown members are accepted; numbers must fit the integers that they
are read into, and have no fraction or exponent. Unlike Go: names are matched exactly (Go takes
`CWD` for `cwd`), a name may not occur twice, and what is not UTF-8, or is half of a surrogate pair,
is an error rather than replaced.
"""

from __future__ import annotations

import errno
import os
import stat

from pyrunc.errors import BundleError, ConfigError, Violation
from pyrunc.host.files import real_path
from pyrunc.spec.json import loads
from pyrunc.spec.rules import broken, broken_process
from pyrunc.spec.texts import may_have_bad_text, text_violations
from pyrunc.spec.version import OCI_VERSION
from pyrunc.spec.words import without_nulls

try:
    from pyrunc.spec._check import valid as _valid
    from pyrunc.spec._check import valid_process as _valid_process
except ModuleNotFoundError:  # a source tree that was not built: the talkative check does it all

    def _valid(v0: object) -> bool:
        return False

    def _valid_process(v0: object) -> bool:
        return False


TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Documents above this size are refused: nothing that describes a container is near it.
MAX_SIZE = 16 << 20


class Bundle:
    """A bundle that was read and checked.

    Attributes:
        path: absolute path of the bundle's directory, without symbolic links.
        config: the document of config.json, without members that are null.
        rootfs: absolute path of the root filesystem, without symbolic links.
    """

    __slots__ = ("config", "path", "rootfs")

    def __init__(self, path: str, config: dict[str, Any], rootfs: str) -> None:
        self.path = path
        self.config = config
        self.rootfs = rootfs


def read_file(path: str) -> bytes:
    """Return what is in the file at `path`.

    Raises:
        BundleError: there is no such file, it is no regular file, or it is too large.
    """
    try:
        # O_NONBLOCK, since opening a fifo would otherwise wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path}: it is {_kind(status.st_mode)}, not a regular file")
        data = b""
        size = status.st_size
        # One byte more than expected, to meet the end of the file in the same call.
        while size <= MAX_SIZE and (chunk := os.read(fd, max(size - len(data) + 1, 4096))):
            data += chunk
            size = max(size, len(data))
        if size > MAX_SIZE:
            raise BundleError(f"{path}: larger than {MAX_SIZE >> 20} MiB")
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        os.close(fd)
    return data


def load_bundle(path: str, config_file: str | None = None) -> Bundle:
    """Read and check the bundle in the directory `path`.

    Args:
        path: the bundle's directory.
        config_file: read this file instead of the bundle's config.json.

    Raises:
        BundleError: the bundle cannot be read, or its root filesystem is no directory.
        ConfigError: config.json was read and is wrong; the error has every violation.
    """
    path = real_path(path)
    source = config_file or os.path.join(path, "config.json")
    return check_bundle(path, read_file(source), source)


def check_bundle(path: str, data: bytes, source: str) -> Bundle:
    """Check a configuration for the bundle in a directory.

    Args:
        path: the directory, absolute and without symbolic links.
        data: the configuration as JSON.
        source: what errors call it.

    Raises as `load_bundle` does.
    """
    config: Any = loads(data, source, nulls=False)
    if b'"run.oci.' in data and isinstance(config, dict):
        from pyrunc.spec.annotations import moved

        config = moved(config)
    if not (_valid(config) and _sound(data, config) and not broken(config)):
        _explain(config, "config", source)
    return Bundle(path, config, _rootfs(path, config["root"]["path"], source))


def load_process(path: str) -> dict[str, Any]:
    """Read a process document (the `process` of config.json alone) and check it.

    Raises:
        BundleError: it cannot be read.
        ConfigError: it was read and is wrong.
    """
    process: Any = loads(read_file(path), path, nulls=False)
    check_process(process, path)
    return process  # type: ignore[no-any-return]


def check_process(process: dict[str, Any], source: str) -> None:
    """Check a process document.

    Raises:
        ConfigError: it is wrong; `source` is what the error calls it.
    """
    document: Any = without_nulls(process)
    if not (
        _valid_process(document) and not text_violations(document) and not broken_process(document)
    ):
        _explain(document, "process", source)


def check_resources(resources: object, source: str) -> None:
    """Check an object like `linux.resources`.

    Raises:
        ConfigError: it is wrong; pointers lead into it.
    """
    _check_part({"linux": {"resources": resources}}, "/linux/resources", source)


def check_mounts(mounts: object, config: dict[str, Any], source: str) -> None:
    """Check an array like `mounts`, for a container of this configuration.

    Raises:
        ConfigError: it is wrong; pointers lead into it.
    """
    namespaces = (config.get("linux") or {}).get("namespaces") or []
    mappings = {
        name: config["linux"][name]
        for name in ("uidMappings", "gidMappings")
        if (config.get("linux") or {}).get(name)
    }
    linux = {"namespaces": namespaces, **mappings}
    _check_part({"mounts": mounts, "linux": linux}, "/mounts", source)


def _check_part(part: dict[str, Any], pointer: str, source: str) -> None:
    config: Any = {"ociVersion": OCI_VERSION, "root": {"path": "/"}, **part}
    if _valid(config) and not text_violations(config) and not broken(config):
        return
    try:
        _explain(config, "config", source)
    except ConfigError as error:
        found = [
            Violation(violation.pointer.removeprefix(pointer), violation.message)
            for violation in error.violations
        ]
        raise ConfigError(source, found) from None


def _explain(document: object, schema: str, source: str) -> None:
    """Raise the error for a document that the hot checks refused.

    When the talkative check finds nothing, it is believed: it reads the schema itself.
    """
    try:
        from pyrunc.spec.validate import violations

        found = violations(document, schema)
    except ModuleNotFoundError as error:
        found = [Violation("", f"it breaks the specification (to see where, install {error.name})")]
    if found:
        raise ConfigError(source, found)


def _sound(data: bytes, document: object) -> bool:
    return not (may_have_bad_text(data) and text_violations(document))


def _rootfs(bundle: str, root: str, source: str) -> str:
    rootfs = real_path(os.path.join(bundle, root))
    try:
        mode = os.stat(rootfs).st_mode
    except OSError as error:
        raise BundleError(
            f"root filesystem {rootfs}: {_reason(error)} ({source}: /root/path)",
            pointer="/root/path",
            errno=error.errno or 0,
        ) from None
    if not stat.S_ISDIR(mode):
        raise BundleError(
            f"root filesystem {rootfs}: it is {_kind(mode)}, not a directory"
            f" ({source}: /root/path)",
            pointer="/root/path",
        )
    return rootfs


_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "a special file")


def _unreadable(path: str, error: OSError) -> BundleError:
    hint = ""
    if error.errno == errno.ENOENT and path.endswith("/config.json"):
        hint = ": a bundle is a directory with a config.json, as `pyrunc spec` writes"
    return BundleError(f"{path}: {_reason(error)}{hint}", errno=error.errno or 0)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENXIO:  # what opening a socket gives
        return "it is a socket or a device without a driver, not a regular file"
    return os.strerror(error.errno or 0)
