"""Reads a bundle: config.json, checked in full, and the root filesystem that it names."""

from __future__ import annotations

import errno
import os
import stat

from pyrunc.errors import BundleError, ConfigError, Violation
from pyrunc.spec.json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Documents above this size are refused: nothing that describes a container is near it.
MAX_SIZE = 16 << 20


class Bundle:
    """A bundle that was read and checked.

    Attributes:
        path: absolute path of the bundle's directory.
        config: the document of config.json.
        rootfs: absolute path of the root filesystem.
    """

    __slots__ = ("config", "path", "rootfs")

    def __init__(self, path: str, config: dict[str, Any], rootfs: str) -> None:
        self.path = path
        self.config = config
        self.rootfs = rootfs


def read_document(path: str) -> object:
    """Return the JSON document in the file at `path`.

    Raises:
        BundleError: there is no such file, it is no regular file, it is too large, or it is not
            JSON.
    """
    try:
        # O_NONBLOCK, since opening a fifo would otherwise wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise BundleError(f"{path}: {_reason(error)}", errno=error.errno or 0) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path}: it is {_kind(status.st_mode)}, not a regular file")
        data = b""
        while chunk := os.read(fd, max(status.st_size - len(data), 0) + 1):
            data += chunk
            if len(data) > MAX_SIZE:
                raise BundleError(f"{path}: larger than {MAX_SIZE >> 20} MiB")
    except OSError as error:
        raise BundleError(f"{path}: {_reason(error)}", errno=error.errno or 0) from None
    finally:
        os.close(fd)
    return loads(data, path)


def load_bundle(path: str, config_file: str | None = None) -> Bundle:
    """Read and check the bundle in the directory `path`.

    Args:
        path: the bundle's directory.
        config_file: read this file instead of the bundle's config.json.

    Raises:
        BundleError: the bundle cannot be read, or its root filesystem is no directory.
        ConfigError: config.json was read and is wrong; the error has every violation.
    """
    path = os.path.abspath(path)
    source = config_file or os.path.join(path, "config.json")
    config = read_document(source)
    if not isinstance(config, dict):
        raise ConfigError(source, [Violation("", "expected an object")])
    root = config.get("root")
    if not isinstance(root, dict) or not isinstance(root.get("path"), str):
        raise ConfigError(source, [Violation("/root", "required: the root filesystem's path")])
    return Bundle(path, config, _rootfs(path, root["path"], source))


def load_process(path: str) -> dict[str, Any]:
    """Read a process document (the `process` of config.json alone) and check it.

    Raises:
        BundleError: it cannot be read.
        ConfigError: it was read and is wrong.
    """
    process = read_document(path)
    if not isinstance(process, dict):
        raise ConfigError(path, [Violation("", "expected an object")])
    check_process(process, path)
    return process


def check_process(process: dict[str, Any], source: str) -> None:
    """Check a process document.

    Raises:
        ConfigError: it is wrong; `source` is what the error calls it.
    """
    if not isinstance(process.get("cwd"), str):
        raise ConfigError(source, [Violation("/cwd", "required")])


def _rootfs(bundle: str, root: str, source: str) -> str:
    rootfs = os.path.normpath(os.path.join(bundle, root))
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


def _reason(error: OSError) -> str:
    if error.errno == errno.ENXIO:  # what opening a socket gives
        return "it is a socket or a device without a driver, not a regular file"
    return os.strerror(error.errno or 0)
