"""The log of the command line: records as engines read them, without the `logging` package.

Records go to the file of `--log`, in the format of `--log-format`: `text` is the key=value form of
logrus, `json` one object a line with `level`, `msg` and `time` (RFC 3339). containerd and CRI-O
report the last record of level `error` as the reason of a failure. Without `--log` records go to
standard error, in plain words when that is a terminal.
"""

from __future__ import annotations

import os
import time

from pyrunc.errors import UsageError

FORMATS = ("text", "json")
LEVELS = ("error", "warning", "debug")

_STDERR = 2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class _Log:
    """Where records go. `format` is "text", "json" or "plain" (for people).

    `sink` is a program's own log, which takes level and message; then all else is unused.
    """

    __slots__ = ("debug", "fd", "format", "quiet", "sink")

    def __init__(self) -> None:
        self.fd = _STDERR
        self.format = "text"
        self.debug = False
        self.quiet = False
        self.sink: Callable[[str, str], None] | None = None


_log = _Log()


def configure(
    path: str = "", format: str = "text", debug: bool = False, level: str = "warning"
) -> None:
    """Choose where records go.

    Args:
        path: file that records are appended to (made with mode 0644); "" is standard error. As crun
            has it, also file:PATH, journald:NAME and syslog:NAME.
        format: one of `FORMATS`, for files.
        debug: whether `debug` records are written.
        level: one of `LEVELS`: what is less grave is not written.

    Raises:
        UsageError: there is no such format or level, or the file cannot be opened.
    """
    if format not in FORMATS:
        raise UsageError(f"--log-format {format}: must be {' or '.join(FORMATS)}")
    if level not in LEVELS:
        raise UsageError(f"--log-level {level}: must be {', '.join(LEVELS[:-1])} or {LEVELS[-1]}")
    _log.debug = debug or level == "debug"
    _log.quiet = level == "error" and not debug
    _log.format = format
    _log.fd = _STDERR
    _log.sink = None
    kind, colon, rest = path.partition(":")
    if colon and kind in ("journald", "syslog"):
        from pyrunc import log_daemons

        _log.sink = getattr(log_daemons, kind)(rest)
        _log.fd = -1
        return
    if colon and kind == "file":
        path = rest
    if path:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            _log.fd = os.open(path, flags, 0o644)
        except OSError as error:
            raise UsageError(f"--log {path}: {error.strerror}", errno=error.errno or 0) from None
    elif format == "text" and os.isatty(_STDERR):
        _log.format = "plain"


def redirect(sink: Callable[[str, str], None], debug: bool) -> None:
    """Hand records, as level and message, to the log of a program that embeds the runtime.

    Args:
        sink: takes them.
        debug: whether it takes `debug` records.
    """
    _log.sink = sink
    _log.debug = debug


def is_file() -> bool:
    """Whether records go elsewhere, and are therefore not seen on standard error."""
    return _log.fd != _STDERR


def debugging() -> bool:
    """Whether `debug` records are written, for those that are dear to make."""
    return _log.debug


def debug(message: str) -> None:
    """Record what is done; only with `--debug`."""
    if _log.debug:
        _record("debug", message)


def info(message: str) -> None:
    """Record something worth knowing."""
    if not _log.quiet:
        _record("info", message)


def warning(message: str) -> None:
    """Record that something is wrong that does not stop the command."""
    if not _log.quiet:
        _record("warning", message)


def error(message: str) -> None:
    """Record why the command failed."""
    _record("error", message)


def stderr(text: str) -> None:
    """Write text and a newline to standard error, whatever it is connected to."""
    _write(_STDERR, (text + "\n").encode("utf-8", "surrogateescape"))


def _record(level: str, message: str) -> None:
    if _log.sink is not None:
        _log.sink(level, message)
        return
    if _log.format == "json":
        line = json_record(level, message, timestamp())
    elif _log.format == "plain":
        line = f"pyrunc: {message}" if level == "error" else f"pyrunc: {level}: {message}"
    else:
        line = text_record(level, message, timestamp())
    _write(_log.fd, (line + "\n").encode("utf-8", "surrogateescape"))


def _write(fd: int, data: bytes) -> None:
    """Write in one call, so that records of several processes do not mix. A full disk, or a reader
    that has gone, must not fail the command that reports."""
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        pass


def timestamp() -> str:
    """The present local time as RFC 3339."""
    now = time.localtime()
    offset = now.tm_gmtoff // 60
    zone = "Z"
    if offset:
        sign = "-" if offset < 0 else "+"
        zone = f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", now) + zone


def json_record(level: str, message: str, when: str) -> str:
    """One record as JSON, in ASCII; bytes that are not UTF-8 become U+FFFD."""
    from _json import encode_basestring_ascii as quote

    message = message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return f'{{"level":{quote(level)},"msg":{quote(message)},"time":{quote(when)}}}'


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def text_record(level: str, message: str, when: str) -> str:
    """One record as key=value pairs; the message is quoted as Go's %q does."""
    quoted = "".join(_ESCAPES.get(c) or (c if c.isprintable() else _hex(c)) for c in message)
    return f'time="{when}" level={level} msg="{quoted}"'


def _hex(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as surrogateescape has it
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
