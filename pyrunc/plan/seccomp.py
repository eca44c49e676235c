"""The seccomp filter of a container: program and flags for seccomp(2), from `linux.seccomp`.

The filter is taken from the cache where that has it, and is otherwise built with libseccomp; only
then is the library loaded (see `seccomp_filter` and `seccomp_cache`).
"""

from __future__ import annotations

import _thread
import os

from pyrunc import __version__, log
from pyrunc.plan.seccomp_cache import Cache, sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# To be raised whenever the same profile gives another filter than before.
_FORMAT = 1
_FLAG_NEW_LISTENER = 1 << 3


class SeccompFilter:
    """A compiled filter.

    Attributes:
        program: array of struct sock_filter, in the byte order of this machine.
        flags: SECCOMP_FILTER_FLAG_* for seccomp(2).
        skipped: names of system calls in the profile that libseccomp does not know.
    """

    __slots__ = ("flags", "program", "skipped")

    def __init__(self, program: bytes, flags: int, skipped: tuple[str, ...] = ()) -> None:
        self.program = program
        self.flags = flags
        self.skipped = skipped

    @property
    def listener(self) -> bool:
        """Whether seccomp(2) will return a descriptor for notifications."""
        return bool(self.flags & _FLAG_NEW_LISTENER)


class PendingFilter:
    """A filter that another thread compiles, as libseccomp takes its time: meanwhile the caller goes on."""

    def __init__(self, seccomp: dict[str, Any], cache_dir: str | None) -> None:
        """Begin to compile: see `compile_filter`. What the cache has is there at once."""
        self._error: BaseException | None = None
        self._compiling = _thread.allocate_lock()
        key = _key(seccomp)
        self._filter = _cached(key, cache_dir)
        if self._filter is None:
            self._compiling.acquire()
            try:
                _thread.start_new_thread(self._compile, (seccomp, key, cache_dir))
            except RuntimeError:  # we may have no more of them
                self._compile(seccomp, key, cache_dir)

    def _compile(self, seccomp: dict[str, Any], key: bytes, cache_dir: str | None) -> None:
        try:
            self._filter = _built(seccomp, key, cache_dir)
        except BaseException as error:
            self._error = error
        finally:
            self._compiling.release()

    def result(self) -> SeccompFilter:
        """The filter, as soon as it is there. Raises what `compile_filter` does."""
        with self._compiling:
            if self._filter is None:
                assert self._error is not None
                raise self._error
        return _told(self._filter)


def compile_filter(seccomp: dict[str, Any], *, cache_dir: str | None) -> SeccompFilter:
    """Compile the `linux.seccomp` object of a config that has passed the schema.

    Args:
        seccomp: the object.
        cache_dir: directory for compiled filters, made where it is missing; None for no cache.

    Raises:
        ConfigError: the profile is wrong; every violation with its pointer.
        HostError: libseccomp or the kernel lacks something that the profile needs, named with its
            pointer.
    """
    key = _key(seccomp)
    return _told(_cached(key, cache_dir) or _built(seccomp, key, cache_dir))


def _told(filter_: SeccompFilter) -> SeccompFilter:
    for name in filter_.skipped:
        log.debug(f"seccomp: libseccomp does not know the system call {name!r}; skipped")
    return filter_


def _cached(key: bytes, cache_dir: str | None) -> SeccompFilter | None:
    cache = Cache.open(cache_dir) if cache_dir is not None else None
    if cache is None:
        return None
    with cache:
        stored = cache.get(key)
    return SeccompFilter(*stored) if stored is not None else None


def _built(seccomp: dict[str, Any], key: bytes, cache_dir: str | None) -> SeccompFilter:
    filter_, library = _build(seccomp)
    cache = Cache.open(cache_dir) if cache_dir is not None else None
    if cache is not None:
        with cache:
            cache.put(key, filter_.program, filter_.flags, filter_.skipped, library)
    return filter_


def _build(seccomp: dict[str, Any]) -> tuple[SeccompFilter, str]:
    """The filter, and the file of the library that made it."""
    from pyrunc.host import libseccomp
    from pyrunc.plan import seccomp_filter

    return SeccompFilter(*seccomp_filter.build(seccomp)), libseccomp.library_path()


def _key(seccomp: dict[str, Any]) -> bytes:
    """Digest of all that the filter and the checks of the profile depend on, but for libseccomp
    itself.

    Where the profile sends its notifications does not matter, only whether it does; so that a path
    which holds the id of the container does not defeat the cache.
    """
    parts = dict(seccomp)
    for name in ("listenerPath", "listenerMetadata"):
        parts[name] = bool(parts.get(name))
    host = os.uname()
    # repr() of what JSON can hold is as unambiguous as JSON, and needs no encoder.
    text = repr((_FORMAT, __version__, host.machine, host.release, parts))
    digest: bytes = sha256(text.encode("utf-8", "surrogatepass")).digest()
    return digest
