"""Network devices and their addresses by rtnetlink(7)."""

from __future__ import annotations

import _socket
import _struct
import os

from pyrunc.host import shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_MAX = 15

_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_RTM_NEWADDR, _RTM_GETADDR = 20, 22

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_REPLACE, _CREATE = 0x100, 0x400
_DUMP_INTERRUPTED = 0x10
_ACK_ATTRIBUTES = 0x200

_ERROR, _DONE = 2, 3
_ERROR_TEXT = 1

_IFF_UP = 0x1
_IFLA_IFNAME, _IFLA_NET_NS_FD, _IFLA_NEW_IFINDEX = 3, 28, 49

_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_BROADCAST, _IFA_CACHEINFO = 1, 2, 3, 4, 6
_IFA_FLAGS, _IFA_RT_PRIORITY, _IFA_PROTO = 8, 9, 11
#: What an address is given again as it was.
_KEPT = (_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_CACHEINFO, _IFA_RT_PRIORITY, _IFA_PROTO)
_IFA_F_PERMANENT = 0x80
#: NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN: what was asked for, and not what became of it.
_IFA_F_KEPT = 0x02 | 0x10 | 0x100 | 0x200 | 0x400
_SCOPE_UNIVERSE = 0

_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11

_HEADER = _struct.Struct("=IHHII")  # struct nlmsghdr
_LINK = _struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = _struct.Struct("=BBBBI")  # struct ifaddrmsg
_ATTRIBUTE = _struct.Struct("=HH")  # struct rtattr


def _aligned(size: int) -> int:
    return size + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute of a message."""
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + b"\0" * (_aligned(size) - size)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message by their kind."""
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        if size < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[_ATTRIBUTE.size : size]
        data = data[_aligned(size) :]
    return found


def _name(name: str) -> bytes:
    return attribute(_IFLA_IFNAME, os.fsencode(name) + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(4, "little"))


class Link:
    """A network device: its `index`, its `name`, and whether it is `up`."""

    __slots__ = ("index", "name", "up")

    def __init__(self, payload: bytes) -> None:
        _, _, self.index, flags, _ = _LINK.unpack_from(payload)
        self.name = os.fsdecode(attributes(payload[_LINK.size :])[_IFLA_IFNAME].rstrip(b"\0"))
        self.up = bool(flags & _IFF_UP)


class Address:
    """An address of a network device, as the kernel tells it.

    Attributes:
        index: of the device.
        permanent: it was configured, and neither learned nor made up (IFA_F_PERMANENT).
        universal: it is valid everywhere (RT_SCOPE_UNIVERSE), and not only on its link or host.
    """

    __slots__ = ("_attributes", "_family", "_flags", "_prefix", "_scope", "index")

    def __init__(self, payload: bytes) -> None:
        self._family, self._prefix, flags, self._scope, self.index = _ADDRESS.unpack_from(payload)
        self._attributes = attributes(payload[_ADDRESS.size :])
        wide = self._attributes.get(_IFA_FLAGS)
        self._flags = int.from_bytes(wide, "little") if wide else flags

    @property
    def permanent(self) -> bool:
        return bool(self._flags & _IFA_F_PERMANENT)

    @property
    def universal(self) -> bool:
        return bool(self._scope == _SCOPE_UNIVERSE)

    def encode(self, link: Link, former_name: str) -> bytes:
        """The body of a message that gives the address to `link`, which was called `former_name`."""
        body = _ADDRESS.pack(self._family, self._prefix, 0, self._scope, link.index)
        body += _number(_IFA_FLAGS, self._flags & _IFA_F_KEPT)
        for kind in _KEPT:
            if kind in self._attributes:
                body += attribute(kind, self._attributes[kind])
        label = os.fsdecode(self._attributes.get(_IFA_LABEL, b"").rstrip(b"\0"))
        # a label begins with the name of its device
        if label.startswith(former_name + ":"):
            label = link.name + label[len(former_name) :]
            if len(os.fsencode(label)) <= NAME_MAX:
                body += attribute(_IFA_LABEL, os.fsencode(label) + b"\0")
        return body

    def __str__(self) -> str:
        data = self._attributes.get(_IFA_LOCAL) or self._attributes.get(_IFA_ADDRESS) or b""
        try:
            return f"{_socket.inet_ntop(self._family, data)}/{self._prefix}"
        except (OSError, ValueError):
            return f"{data.hex()}/{self._prefix}"


class Netlink:
    """A socket to the devices of one network namespace. It keeps the namespace alive.

    Args:
        namespace: a descriptor of the namespace.

    Raises:
        OSError: it cannot be entered.
    """

    def __init__(self, namespace: int) -> None:
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            shim.join_network(namespace)
            try:
                self._socket = _open()
            finally:
                shim.join_network(own)
        finally:
            os.close(own)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def request(self, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
        """Send a message and return the bodies of the replies. Raises OSError, with the kernel's own words."""
        self._sequence += 1
        size = _HEADER.size + len(body)
        header = _HEADER.pack(size, kind, flags | _REQUEST | _ACK, self._sequence, 0)
        self._socket.send(header + body)
        replies = []
        interrupted = False
        while True:
            for kind_, flags_, sequence, payload in _messages(self._socket.recv(1 << 16)):
                if sequence != self._sequence:
                    continue
                interrupted |= bool(flags_ & _DUMP_INTERRUPTED)
                if kind_ not in (_ERROR, _DONE):
                    replies.append(payload)
                    continue
                if error := -int.from_bytes(payload[:4], "little", signed=True):
                    raise OSError(error, _error_text(error, flags_, payload))
                # what changed while it was listed is listed once more
                return self.request(kind, body, flags) if interrupted else replies

    def links(self) -> list[Link]:
        """All devices. Raises OSError."""
        return [Link(p) for p in self.request(_RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0), _DUMP)]

    def link(self, name: str = "", index: int = 0) -> Link:
        """The device of this name, or of this index. Raises OSError; ENODEV when there is none."""
        body = _LINK.pack(0, 0, index, 0, 0) + (_name(name) if name else b"")
        return Link(self.request(_RTM_GETLINK, body)[0])

    def addresses(self, index: int) -> list[Address]:
        """The addresses of a device, in their order. Raises OSError."""
        found = map(Address, self.request(_RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0), _DUMP))
        return [address for address in found if address.index == index]

    def set_up(self, index: int, up: bool) -> None:
        """Switch a device on or off. Raises OSError."""
        self.request(_RTM_NEWLINK, _LINK.pack(0, 0, index, _IFF_UP if up else 0, _IFF_UP))

    def move(self, index: int, namespace: int, name: str, new_index: int) -> None:
        """Move a device to another network namespace, under another name and index, in one step.

        A `%d` in the name stands for the lowest number that makes it unique there. Raises OSError.
        """
        body = _LINK.pack(0, 0, index, 0, 0) + _name(name) + _number(_IFLA_NET_NS_FD, namespace)
        self.request(_RTM_NEWLINK, body + _number(_IFLA_NEW_IFINDEX, new_index))

    def add_address(self, link: Link, address: Address, former_name: str) -> None:
        """Give a device an address that it had under its former name. Raises OSError."""
        self.request(_RTM_NEWADDR, address.encode(link, former_name), _CREATE | _REPLACE)


def _open() -> _socket.socket:
    sock = _socket.socket(
        _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _socket.NETLINK_ROUTE
    )
    sock.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
    sock.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
    return sock


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    while len(data) >= _HEADER.size:
        size, kind, flags, sequence, _ = _HEADER.unpack_from(data)
        if size < _HEADER.size:
            return
        yield kind, flags, sequence, data[_HEADER.size : size]
        data = data[_aligned(size) :]


def _error_text(error: int, flags: int, payload: bytes) -> str:
    text = os.strerror(error)
    if flags & _ACK_ATTRIBUTES and len(payload) > 4 + _HEADER.size:
        said = attributes(payload[4 + _HEADER.size :]).get(_ERROR_TEXT)
        if said:
            text += f": {said.rstrip(bytes(1)).decode(errors='replace')}"
    return text
