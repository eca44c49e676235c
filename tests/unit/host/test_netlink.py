"""Messages of rtnetlink, as bytes."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest

from pyrunc.host import netlink
from pyrunc.host.netlink import Address, Link, attribute, attributes

ADDRESS, LOCAL, LABEL, FLAGS = 1, 2, 3, 8
PERMANENT, TENTATIVE, SECONDARY, NODAD = 0x80, 0x40, 0x01, 0x02


def link(index: int, name: str, flags: int = 0) -> Link:
    return Link(struct.pack("=BxHiII", 0, 1, index, flags, 0) + attribute(3, name.encode() + b"\0"))


def address(label: str = "", flags: int = PERMANENT, scope: int = 0) -> Address:
    body = struct.pack("=BBBBI", socket.AF_INET, 24, flags & 0xFF, scope, 7)
    body += attribute(LOCAL, socket.inet_aton("10.0.0.1"))
    body += attribute(ADDRESS, socket.inet_aton("10.0.0.1"))
    body += attribute(FLAGS, struct.pack("=I", flags))
    if label:
        body += attribute(LABEL, label.encode() + b"\0")
    return Address(body)


@pytest.mark.parametrize("size", range(9))
def test_attributes_are_padded_to_four_bytes(size: int) -> None:
    value = bytes(range(1, size + 1))
    data = attribute(5, value) + attribute(6, b"next")
    assert len(data) % 4 == 0
    assert attributes(data) == {5: value, 6: b"next"}


@pytest.mark.parametrize("data", [b"", b"\x01", b"\0\0\1\0", b"\3\0\1\0xxxx", b"\xff\xff\1\0x"])
def test_damaged_attributes_end_the_reading(data: bytes) -> None:
    assert set(attributes(data)) <= {1}


def test_a_link() -> None:
    found = link(5, "eth0", flags=0x1003)
    assert (found.index, found.name, found.up) == (5, "eth0", True)
    assert not link(5, "eth0", flags=0x1002).up


def test_which_addresses_are_permanent_and_universal() -> None:
    assert address().permanent
    assert not address(flags=0).permanent
    assert address().universal
    assert not address(scope=253).universal
    assert str(address()) == "10.0.0.1/24"


def test_an_address_is_given_again_without_what_the_kernel_made_of_it() -> None:
    known = address(flags=PERMANENT | TENTATIVE | SECONDARY | NODAD)
    body = known.encode(link(9, "new"), "old")
    family, prefix, flags, scope, index = struct.unpack_from("=BBBBI", body)
    assert (family, prefix, flags, scope, index) == (socket.AF_INET, 24, 0, 0, 9)
    found = attributes(body[8:])
    assert found[FLAGS] == struct.pack("=I", NODAD)
    assert found[LOCAL] == found[ADDRESS] == socket.inet_aton("10.0.0.1")


@pytest.mark.parametrize(
    ("label", "name", "given"),
    [
        ("old", "new", None),
        ("old:1", "new", b"new:1\0"),
        ("older:1", "new", None),
        ("old:1", "fourteen_bytes", None),
    ],
)
def test_labels_follow_the_name(label: str, name: str, given: bytes | None) -> None:
    body = address(label).encode(link(9, name), "old")
    assert attributes(body[8:]).get(LABEL) == given


class FakeSocket:
    """Answers every message with the packets that it was given, in their order."""

    def __init__(self, *packets: bytes) -> None:
        self.sent = 0
        self.packets = list(packets)

    def send(self, _: bytes) -> None:
        self.sent += 1

    def recv(self, _: int) -> bytes:
        return self.packets.pop(0)


def message(kind: int, sequence: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, sequence, 0) + payload


def connect(*packets: bytes) -> tuple[netlink.Netlink, FakeSocket]:
    made = object.__new__(netlink.Netlink)
    fake = FakeSocket(*packets)
    made.__dict__.update(_socket=fake, _sequence=0)
    return made, fake


def test_replies_of_several_packets_and_of_others() -> None:
    done = message(3, 1, bytes(4))
    sock, _ = connect(
        message(16, 1, b"one1") + message(16, 77, b"not ours"), message(16, 1, b"two2") + done
    )
    assert sock.request(18, b"") == [b"one1", b"two2"]


def test_an_interrupted_list_is_asked_for_again() -> None:
    sock, fake = connect(
        message(16, 1, b"old1", flags=0x10) + message(3, 1, bytes(4), flags=0x10),
        message(16, 2, b"new1") + message(3, 2, bytes(4)),
    )
    assert sock.request(18, b"") == [b"new1"]
    assert fake.sent == 2


def test_errors_have_the_words_of_the_kernel() -> None:
    payload = struct.pack("=i", -errno.EEXIST) + bytes(16) + attribute(1, b"name taken\0")
    sock, _ = connect(message(2, 1, payload, flags=0x200))
    with pytest.raises(FileExistsError) as error:
        sock.request(16, b"")
    assert error.value.strerror == f"{os.strerror(errno.EEXIST)}: name taken"
