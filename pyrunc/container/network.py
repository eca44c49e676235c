"""Moving network devices into a container (config-linux.md, "Network Devices")."""

from __future__ import annotations

import errno
import os

from pyrunc import log
from pyrunc.container.channel import label
from pyrunc.errors import HostError, PyruncError
from pyrunc.host.netlink import Netlink
from pyrunc.spec.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.host.netlink import Address, Link


class _Device:
    """One device: as it was on the host, and where it is in the container."""

    def __init__(self, name: str, new_name: str, link: Link, addresses: list[Address]) -> None:
        self.pointer = f"/linux/netDevices/{escape(name)}"
        self.new_name = new_name
        self.link = link
        self.addresses = addresses
        self.index = 0  # in the container, once it is there


class NetworkDevices:
    """The devices of one container, between the runtime's network namespace and the container's.

    Args:
        devices: linux.netDevices.
        pid: a process in the network namespace of the container.

    Raises:
        PyruncError: the namespace cannot be entered.
    """

    def __init__(self, devices: dict[str, Any], pid: int) -> None:
        self._wanted = devices
        self._devices: list[_Device] = []
        self._fds: list[int] = []
        self._sockets: list[Netlink] = []
        try:
            self._outer = self._open("/proc/thread-self/ns/net")
            self._inner = self._open(f"/proc/{pid}/ns/net")
            self._host = self._connect(self._outer)
            self._container = self._connect(self._inner)
        except OSError as error:
            self.close()
            raise PyruncError(
                f"network namespace of the container: {error.strerror}"
                " (config.json: /linux/netDevices)",
                errno=error.errno or 0,
                pointer="/linux/netDevices",
            ) from None
        self._same = os.path.samestat(os.fstat(self._outer), os.fstat(self._inner))

    def _open(self, path: str) -> int:
        self._fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        return self._fds[-1]

    def _connect(self, namespace: int) -> Netlink:
        self._sockets.append(Netlink(namespace))
        return self._sockets[-1]

    def close(self) -> None:
        """Let go of both namespaces."""
        while self._sockets:
            self._sockets.pop().close()
        while self._fds:
            os.close(self._fds.pop())

    def move(self) -> None:
        """Move all devices, with their addresses, and switch them on.

        All that can be known to fail is found out before the first one is moved.

        Raises:
            HostError: a device is missing, cannot be moved, or its new name is taken.
        """
        for name, device in self._wanted.items():
            self._look(name, device.get("name") or name)
        for found in self._devices:
            self._enter(found)

    def _look(self, name: str, new_name: str) -> None:
        pointer = f"/linux/netDevices/{escape(name)}"
        try:
            link = self._host.link(name)
            addresses = [
                address
                for address in self._host.addresses(link.index)
                if address.permanent and address.universal
            ]
        except OSError as error:
            missing = error.errno == errno.ENODEV
            raise _failure(pointer, "", "no such device" if missing else error) from None
        if not self._same and any(other.name == new_name for other in self._container.links()):
            raise _failure(pointer, "", f"the container has a device {new_name} already")
        self._devices.append(_Device(name, new_name, link, addresses))

    def _enter(self, device: _Device) -> None:
        index = device.link.index
        taken = {link.index for link in self._container.links()}
        if index in taken and not self._same:
            index = max(taken) + 1
        doing = "switch it off"
        try:
            # before it is renamed: nobody on the host may meet it half changed
            self._host.set_up(device.link.index, False)
            doing = "move it"
            self._host.move(device.link.index, self._inner, device.new_name, index)
            device.index = index
            link = self._container.link(index=index)
            for address in device.addresses:
                doing = f"give it the address {address}"
                self._container.add_address(link, address, device.link.name)
            doing = "switch it on"
            self._container.set_up(index, True)
        except OSError as error:
            raise _failure(device.pointer, doing, error) from None

    def give_back(self) -> None:
        """Bring back what a creation that failed has moved. What cannot be is a warning."""
        for device in reversed(self._devices):
            index = device.link.index
            try:
                if device.index:
                    taken = {link.index for link in self._host.links()}
                    if index in taken and not self._same:
                        index = max(taken) + 1
                    self._container.set_up(device.index, False)
                    self._container.move(device.index, self._outer, device.link.name, index)
                    link = self._host.link(index=index)
                    for address in device.addresses:
                        self._host.add_address(link, address, device.new_name)
                self._host.set_up(index, device.link.up)
            except OSError as error:
                log.warning(str(_failure(device.pointer, "bring it back", error)))


def _failure(pointer: str, doing: str, why: OSError | str) -> HostError:
    text = f"{label(pointer)}: {doing}{': ' if doing else ''}"
    reason, number = (why, 0) if isinstance(why, str) else (why.strerror, why.errno or 0)
    return HostError(f"{text}{reason} (config.json: {pointer})", errno=number, pointer=pointer)
