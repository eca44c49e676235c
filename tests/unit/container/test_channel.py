"""What the runtime makes of messages: those of pyrunc-init, and those of whoever took it over."""

from __future__ import annotations

import os
import struct

import pytest

from pyrunc.cgroups import Cgroup
from pyrunc.cgroups.plan import CgroupPlan
from pyrunc.container import channel
from pyrunc.container.session import Session
from pyrunc.errors import OperationError
from pyrunc.host.waiting import finish
from pyrunc.plan.operation import Operation
from pyrunc.plan.operations import NewSession, Sync
from pyrunc.plan.plan import Plan

MAX = (1 << 32) - 1


def message(kind: int, operation: int = 0, call: bytes = b"", detail: bytes = b"") -> bytes:
    return struct.pack("=IIiI24s", kind, operation, 0, 0, call) + detail


def session_of(*operations: Operation) -> tuple[Session, object]:
    cgroup = CgroupPlan("disabled", "v1", {}, [])
    session = Session(Cgroup(cgroup))
    session._plan = Plan(list(operations), cgroup)
    ours, theirs = channel.pair()
    session._socket = ours
    return session, theirs


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        message(channel.SYNC)[:-1],
        message(0),
        message(5),
        message(MAX),
        message(channel.SYNC, 1),
        message(channel.SYNC, MAX),
        message(channel.SYNC, 0),
        message(channel.CLONED),
    ],
)
def test_what_no_init_says_is_an_error(data: bytes) -> None:
    session, theirs = session_of(NewSession(), Sync(MAX))
    theirs.send(data)  # type: ignore[attr-defined]
    with pytest.raises(OperationError, match="unexpected message"):
        finish(session.converse())
    session.close()


def test_an_error_may_hold_any_bytes() -> None:
    session, theirs = session_of()
    data = message(channel.ERROR, MAX - 1, b"\xff" * 24, b"\xfe\n\x1b[2J")
    theirs.send(data)  # type: ignore[attr-defined]
    with pytest.raises(OperationError, match=f"operation {MAX - 1}"):
        finish(session.converse())
    session.close()


def test_a_descriptor_that_was_not_asked_for_is_closed() -> None:
    session, theirs = session_of(NewSession())
    reader, writer = os.pipe()
    rights = [(1, 1, struct.pack("i", writer))]
    theirs.sendmsg([message(channel.SYNC, 0)[:-1]], rights)  # type: ignore[attr-defined]
    os.close(writer)
    with pytest.raises(OperationError, match="unexpected message"):
        finish(session.converse())
    assert os.read(reader, 1) == b""  # nobody holds the other end
    os.close(reader)
    session.close()


@pytest.mark.parametrize("said", [True, False])
def test_the_last_words_of_an_init_that_did_not_read_its_answer(said: bool) -> None:
    """The kernel tells of the unread answer first (ECONNRESET), then what was said, then the end."""
    ours, theirs = channel.pair()
    if said:
        theirs.send(message(channel.ERROR, call=b"clone3", detail=b"it was killed"))
    ours.send(b"G")
    theirs.close()
    if said:
        received = channel.receive(ours)
        assert received is not None
        assert received.detail == "it was killed"
    assert channel.receive(ours) is None
    ours.close()
