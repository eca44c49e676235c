"""A service manager for tests: speaks org.freedesktop.systemd1 over a real D-Bus connection.

It does as much as the tests look at: scopes with a directory below `root` to which it moves their
processes, jobs, properties, failed units. How it is to misbehave is set on the object.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import Any

from jeepney.io.blocking import open_dbus_connection
from jeepney.low_level import HeaderFields, Message, MessageType, Parser
from jeepney.wrappers import DBusAddress, new_error, new_method_call, new_method_return, new_signal

NAME = "org.freedesktop.systemd1"
MANAGER = DBusAddress("/org/freedesktop/systemd1", bus_name=NAME, interface=f"{NAME}.Manager")


class FakeSystemd:
    """Serves until `close`.

    Attributes:
        calls: (member, body) of each call, in order.
        units: properties of each unit that is there.
        failed: units that have failed, whose names are taken.
        result: the result of the next jobs.
        silent: jobs never end.
        hang_up: the connection is closed instead of answering this member.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.calls: list[tuple[str, Any]] = []
        self.units: dict[str, dict[str, Any]] = {}
        self.failed: set[str] = set()
        self.result = "done"
        self.silent = False
        self.hang_up = ""
        self.version = "252.39-1~deb12u1"
        self._jobs = 0
        self._connections: list[Any] = []

    # ---- transports -------------------------------------------------------------------------------

    def on_bus(self, address: str) -> None:
        """Own the name on a bus."""
        connection = open_dbus_connection(address)
        request = DBusAddress(
            "/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus"
        )
        reply = connection.send_and_get_reply(
            new_method_call(request, "RequestName", "su", (NAME, 0))
        )
        assert reply.body == (1,), reply.body
        self._connections.append(connection.sock)

        def serve() -> None:
            try:
                while True:
                    message = connection.receive()
                    if message.header.message_type is not MessageType.method_call:
                        continue
                    for answer in self.answers(message):
                        connection.send(answer)
            except (OSError, ConnectionError):
                return

        threading.Thread(target=serve, daemon=True).start()

    def on_socket(self, path: str) -> None:
        """Listen on a socket without a bus, as systemd does on /run/systemd/private."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        self._connections.append(listener)

        def accept() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=self._serve_peer, args=(peer,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def _serve_peer(self, peer: socket.socket) -> None:
        received = b""
        while not received.endswith(b"DATA\r\n"):
            received += peer.recv(4096)
        assert received == b"\0AUTH EXTERNAL\r\nDATA\r\n", received
        peer.sendall(b"DATA\r\nOK 0123456789abcdef\r\n")
        received = b""
        while b"BEGIN\r\n" not in received:
            received += peer.recv(4096)
        parser = Parser()
        parser.add_data(received.partition(b"BEGIN\r\n")[2])
        serial = 0
        while True:
            while (message := parser.get_next_message()) is not None:
                try:
                    answers = self.answers(message)
                except ConnectionError:
                    peer.close()
                    return
                for answer in answers:
                    serial += 1
                    peer.sendall(answer.serialise(serial=serial))
            data = peer.recv(4096)
            if not data:
                return
            parser.add_data(data)

    def close(self) -> None:
        for connection in self._connections:
            # shutdown, because a thread that waits in recv keeps the socket open
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    # ---- behaviour --------------------------------------------------------------------------------

    def answers(self, message: Message) -> list[Message]:
        member = message.header.fields[HeaderFields.member]
        self.calls.append((member, message.body))
        if member == self.hang_up:
            raise ConnectionError
        handler = getattr(self, f"_{member}", None)
        if handler is None:
            return [new_error(message, f"{NAME}.UnknownMethod", "s", (member,))]
        result: list[Message] = handler(message)
        return result

    def _error(self, message: Message, name: str, text: str) -> list[Message]:
        return [new_error(message, f"{NAME}.{name}", "s", (text,))]

    def _job(self, message: Message, unit: str) -> list[Message]:
        self._jobs += 1
        path = f"/org/freedesktop/systemd1/job/{self._jobs}"
        ended = new_signal(MANAGER, "JobRemoved", "uoss", (self._jobs, path, unit, self.result))
        other = new_signal(
            MANAGER, "JobRemoved", "uoss", (99, "/job/99", "other.service", "failed")
        )
        answer = new_method_return(message, "o", (path,))
        return [answer] if self.silent else [other, answer, ended]

    def _StartTransientUnit(self, message: Message) -> list[Message]:
        unit, _, properties, _ = message.body
        if unit in self.units or unit in self.failed:
            return self._error(message, "UnitExists", f"Unit {unit} already exists.")
        values = {name: value for name, (_, value) in properties}
        if self.result == "done":
            self.units[unit] = values
            directory = self.directory(unit)
            os.makedirs(directory, exist_ok=True)
            for pid in values["PIDs"]:
                with open(f"{directory}/cgroup.procs", "w") as file:
                    file.write(str(pid))
        return self._job(message, unit)

    def directory(self, unit: str) -> str:
        slice_name = self.units[unit]["Slice"]
        return f"{self.root}/{slice_name}/{unit}"

    def _StopUnit(self, message: Message) -> list[Message]:
        unit, _ = message.body
        if unit not in self.units:
            return self._error(message, "NoSuchUnit", f"Unit {unit} not loaded.")
        directory = self.directory(unit)
        if os.path.isdir(directory):
            os.rmdir(directory)
        del self.units[unit]
        return self._job(message, unit)

    def _ResetFailedUnit(self, message: Message) -> list[Message]:
        (unit,) = message.body
        if unit not in self.failed:
            return self._error(message, "NoSuchUnit", f"Unit {unit} not loaded.")
        self.failed.remove(unit)
        return [new_method_return(message)]

    def _SetUnitProperties(self, message: Message) -> list[Message]:
        unit, runtime, properties = message.body
        assert runtime is True
        if any(name == "TasksMax" and value == 13 for name, (_, value) in properties):
            return self._error(message, "InvalidArgs", "13 is an unlucky number.")
        self.units[unit] |= {name: value for name, (_, value) in properties}
        return [new_method_return(message)]

    def _Get(self, message: Message) -> list[Message]:
        assert message.body == (f"{NAME}.Manager", "Version")
        return [new_method_return(message, "v", (("s", self.version),))]

    def _AttachProcessesToUnit(self, message: Message) -> list[Message]:
        return [new_method_return(message)]
