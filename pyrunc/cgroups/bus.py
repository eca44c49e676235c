"""systemd over D-Bus: the few calls of org.freedesktop.systemd1 that a container needs.

jeepney turns messages into bytes and back. The connection is our own, because in a user namespace
we must let the bus see who we are and not say it: the two user ids differ.
"""

from __future__ import annotations

import os
import time

from pyrunc.errors import CgroupError, HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyrunc.cgroups.unit import UnitProperty
else:
    import _socket

TIMEOUT = 30.0  # seconds, for an answer and for a job

SYSTEMD = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"


class BusError(Exception):
    """An error that systemd answered with.

    Attributes:
        name: the D-Bus name of the error, without org.freedesktop.systemd1. or the like.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name.rpartition(".")[2]


def addresses(*, user: bool) -> list[tuple[str, bool]]:
    """Where systemd may be reached, best first: D-Bus address, and whether a bus is behind it.

    Besides the bus it has a socket of its own, which serves where no bus is installed.
    """
    if not user:
        system = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/dbus/system_bus_socket")
        return [(system, True), ("unix:path=/run/systemd/private", False)]
    found = []
    session = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    if session:
        found.append((session, True))
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        found.append((f"unix:path={runtime}/bus", True))
        found.append((f"unix:path={runtime}/systemd/private", False))
    return found


def socket_paths(address: str) -> list[str]:
    """The sockets of a D-Bus address; "\\0" begins an abstract one."""
    paths = []
    for option in address.split(";"):
        transport, _, rest = option.partition(":")
        if transport != "unix":
            continue
        for pair in rest.split(","):
            key, _, value = pair.partition("=")
            if key in ("path", "abstract"):
                paths.append(("\0" if key == "abstract" else "") + _unescape(value))
    return paths


def _unescape(value: str) -> str:
    first, *others = value.split("%")
    return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in others)


class Manager:
    """A connection to systemd. A context manager.

    Args:
        user: to the service manager of the user.

    Raises HostError: there is none, or jeepney is missing.
    """

    def __init__(self, *, user: bool) -> None:
        try:
            from jeepney.low_level import Parser
        except ImportError:
            raise HostError(
                "the systemd cgroup driver needs the Python package jeepney: install pyrunc[systemd]"
            ) from None
        self._parser = Parser()
        self._serial = 0
        self._signals: list[Any] = []
        self._socket = self._connect(user)

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _connect(self, user: bool) -> _socket.socket:
        reasons = []
        for address, is_bus in addresses(user=user):
            for path in socket_paths(address):
                sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
                try:
                    sock.settimeout(TIMEOUT)
                    sock.connect(path)
                    _authenticate(sock)
                    self._socket = sock
                    if is_bus:
                        self._on_bus()
                    return sock
                except (OSError, BusError, CgroupError) as error:
                    sock.close()
                    reason = error.strerror if isinstance(error, OSError) else None
                    reasons.append(f"{path}: {reason or error}")
        whose = "the user's systemd" if user else "systemd"
        hint = "; ".join(reasons) or "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"
        raise HostError(f"cannot reach {whose} over D-Bus: {hint}")

    def _on_bus(self) -> None:
        bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        self._call(*bus, "Hello")
        rule = f"type='signal',sender='{SYSTEMD}',interface='{_MANAGER}',member='JobRemoved'"
        self._call(*bus, "AddMatch", "s", (rule,))

    # ---- messages ---------------------------------------------------------------------------------

    def _call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str | None = None,
        body: Sequence[object] = (),
    ) -> Any:
        """Call a method; the body of the answer. Raises BusError, CgroupError."""
        from jeepney.low_level import HeaderFields, MessageType
        from jeepney.wrappers import DBusAddress, new_method_call

        message = new_method_call(
            DBusAddress(path, bus_name=destination, interface=interface), member, signature, body
        )
        self._serial += 1
        serial = self._serial
        deadline = time.monotonic() + TIMEOUT
        try:
            self._socket.sendall(message.serialise(serial=serial))
        except OSError as error:
            raise CgroupError(f"the connection to systemd broke: {error.strerror}") from error
        while True:
            answer = self._receive(deadline, f"{member} was not answered")
            fields = answer.header.fields
            if fields.get(HeaderFields.reply_serial) != serial:
                continue
            if answer.header.message_type is MessageType.error:
                text = answer.body[0] if answer.body else ""
                raise BusError(fields[HeaderFields.error_name], str(text))
            return answer.body

    def _receive(self, deadline: float, complaint: str) -> Any:
        """The next message; signals are kept as well. Raises CgroupError."""
        from jeepney.low_level import MessageType

        while True:
            message = self._parser.get_next_message()
            if message is not None:
                if message.header.message_type is MessageType.signal:
                    self._signals.append(message)
                return message
            left = deadline - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
                data = self._socket.recv(65536)
            except TimeoutError:
                raise CgroupError(f"systemd: {complaint} within {TIMEOUT:g} s") from None
            except OSError as error:
                raise CgroupError(f"the connection to systemd broke: {error.strerror}") from error
            if not data:
                raise CgroupError("systemd closed the connection")
            self._parser.add_data(data)

    def _manager(self, member: str, signature: str, body: Sequence[object]) -> Any:
        return self._call(SYSTEMD, _PATH, _MANAGER, member, signature, body)

    def _job(self, start: Callable[[], Any], unit: str) -> str:
        """Start a job and wait for its end; its result. Raises BusError, CgroupError."""
        self._signals.clear()
        (job,) = start()
        deadline = time.monotonic() + TIMEOUT
        while True:
            for signal in self._signals:
                if len(signal.body) == 4 and signal.body[1] == job:
                    return str(signal.body[3])
            self._signals.clear()
            self._receive(deadline, f"the job for unit {unit} did not end")

    # ---- units ------------------------------------------------------------------------------------

    def start(self, unit: str, properties: Sequence[UnitProperty]) -> None:
        """Start a transient unit.

        One of that name that has failed is cleared away first. Raises CgroupError.
        """
        wire = [item.wire() for item in self._known(properties)]

        def call() -> Any:
            return self._manager(
                "StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, "replace", wire, [])
            )

        try:
            try:
                result = self._job(call, unit)
            except BusError as error:
                if error.name != "UnitExists":
                    raise
                self.reset_failed(unit)
                result = self._job(call, unit)
        except BusError as error:
            raise CgroupError(f"systemd: start unit {unit}: {error}") from error
        if result != "done":
            self.reset_failed(unit)
            raise CgroupError(f"systemd: start unit {unit}: the job's result is {result!r}")

    def _known(self, properties: Sequence[UnitProperty]) -> list[UnitProperty]:
        """Those that this systemd has."""
        if not any(item.since for item in properties):
            return list(properties)
        version = self.version()
        return [item for item in properties if item.since <= version]

    def version(self) -> int:
        """The version of systemd. Raises CgroupError."""
        try:
            ((_, text),) = self._call(
                SYSTEMD,
                _PATH,
                "org.freedesktop.DBus.Properties",
                "Get",
                "ss",
                (_MANAGER, "Version"),
            )
        except BusError as error:
            raise CgroupError(f"systemd: ask for its version: {error}") from error
        digits = ""
        for char in text.lstrip("v"):
            if not char.isdigit():
                break
            digits += char
        return int(digits or 0)

    def stop(self, unit: str) -> None:
        """Stop a unit and clear it away; no error if there is none. Raises CgroupError."""
        try:
            self._job(lambda: self._manager("StopUnit", "ss", (unit, "replace")), unit)
        except BusError as error:
            if error.name != "NoSuchUnit":
                raise CgroupError(f"systemd: stop unit {unit}: {error}") from error
            return
        self.reset_failed(unit)

    def reset_failed(self, unit: str) -> None:
        """Let systemd forget a unit that has failed, so that its name is free again."""
        try:
            self._manager("ResetFailedUnit", "s", (unit,))
        except BusError:
            return  # it is not loaded, which is what is wanted

    def set_properties(self, unit: str, properties: Sequence[UnitProperty]) -> None:
        """Change a unit until it ends. Raises CgroupError."""
        wire = [item.wire() for item in self._known(properties)]
        try:
            self._manager("SetUnitProperties", "sba(sv)", (unit, True, wire))
        except BusError as error:
            raise CgroupError(f"systemd: change unit {unit}: {error}") from error

    def attach(self, unit: str, pid: int) -> None:
        """Have systemd move a process to a unit, for one who may not. Raises CgroupError."""
        try:
            self._manager("AttachProcessesToUnit", "ssau", (unit, "", [pid]))
        except BusError as error:
            raise CgroupError(f"systemd: move process {pid} to unit {unit}: {error}") from error


def _authenticate(sock: _socket.socket) -> None:
    """SASL EXTERNAL without an identity: the other end takes it from the socket.

    Raises OSError, CgroupError.
    """
    sock.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\n")
    answer = b""
    # Byte by byte would be many calls; nothing follows before we have said BEGIN.
    while answer.count(b"\r\n") < 2 and b"REJECTED" not in answer:
        data = sock.recv(4096)
        if not data:
            raise CgroupError("the connection was closed during authentication")
        answer += data
    if b"\r\nOK " not in answer:
        raise CgroupError("authentication was rejected")
    sock.sendall(b"BEGIN\r\n")
