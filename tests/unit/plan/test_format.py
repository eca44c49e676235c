"""The encoding of plans: the table, the C header, and what the init makes of malformed ones."""

from __future__ import annotations

import errno
import os
import random
import socket
import subprocess
from pathlib import Path

import pytest

import pyrunc
from pyrunc.container import channel
from pyrunc.plan import header
from pyrunc.plan.operation import REGISTRY, Operation
from pyrunc.plan.operations import (
    ChangeDirectory,
    Execute,
    SetAffinity,
    SetHostname,
    SetRlimit,
    SetScheduler,
    SetUmask,
)
from pyrunc.plan.plan import MAGIC
from pyrunc.plan.process import SCHED_FLAGS

ROOT = Path(__file__).resolve().parents[3]
INIT = Path(pyrunc.__file__).parent / "libexec" / "pyrunc-init"

SAMPLES = {
    "u32": 7,
    "i32": -7,
    "u64": 1 << 40,
    "Text": "text",
    "Blob": b"blob",
    "Texts": ["a", "bc"],
    "U32s": [1, 2, 3],
}


def sample(cls: type[Operation]) -> Operation:
    return cls(*[SAMPLES[kind] for _, kind in cls.fields])


def test_the_header_is_in_step_with_the_table() -> None:
    assert (ROOT / "csrc/init/plan_format.h").read_text() == header.render()


def test_opcodes_are_the_order_of_the_table() -> None:
    assert [cls.opcode for cls in REGISTRY] == list(range(len(REGISTRY)))


@pytest.mark.parametrize("cls", REGISTRY, ids=lambda cls: cls.__name__)
def test_each_operation_encodes_and_shows_itself(cls: type[Operation]) -> None:
    if cls.__name__ == "Sync":
        operation: Operation = cls(0)
    elif cls.__name__ == "JoinNamespaces":
        operation = cls(["/a"], [0x10000000])
    elif cls.__name__ == "MakeIdmap":
        operation = cls(1, [0, 1, 2], [0, 1, 2])
    else:
        operation = sample(cls)
    data = operation.encode()
    assert int.from_bytes(data[:4], "little") == cls.opcode
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert "\n" not in operation.describe()
    assert operation.to_json()["operation"] == cls.__name__


def test_integers_are_little_endian() -> None:
    assert SetRlimit(7, 1, 1 << 63).encode()[8:] == bytes.fromhex(
        "07000000 0100000000000000 0000000000000080"
    )
    assert (-5).to_bytes(4, "little", signed=True) in SetScheduler(0, 0, -5, 0, 0, 0, 0).encode()


def test_texts_end_in_nul_and_hold_none() -> None:
    assert SetHostname("ab").encode()[8:] == b"\x02\0\0\0ab\0"
    with pytest.raises(ValueError, match="NUL"):
        SetHostname("a\0b").encode()


def test_bytes_that_are_not_utf8_pass_through() -> None:
    assert b"\xff\0" in SetHostname("\udcff").encode()


def test_fields_must_be_complete() -> None:
    with pytest.raises(TypeError):
        SetRlimit(1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        SetRlimit(1, 2, 3, 4)  # type: ignore[call-arg]


def run_init(plan: bytes) -> channel.Message | None:
    """What pyrunc-init says to a plan. It runs in no namespace of its own: only for plans that fail."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(30)
    plan_fd = os.memfd_create("plan")
    os.write(plan_fd, plan)
    try:
        init = subprocess.Popen(
            [INIT, str(theirs.fileno()), "0"],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        channel.send_plan(ours, plan_fd, [])
        message = channel.receive(ours)
        init.wait(timeout=30)
        assert init.returncode in (126, 127)
        return message
    finally:
        ours.close()
        os.close(plan_fd)


def encoded(*operations: Operation) -> bytes:
    return b"".join(
        [MAGIC, len(operations).to_bytes(4, "little"), *[o.encode() for o in operations]]
    )


HARMLESS = SetAffinity(b"")  # which the kernel refuses

MALFORMED = {
    "empty": b"",
    "wrong magic": b"NOPE" + bytes(4),
    "no operation": encoded(),
    "fewer operations than counted": MAGIC + (5).to_bytes(4, "little"),
    "unknown opcode": MAGIC + (1).to_bytes(4, "little") + b"\xff\xff\0\0" + bytes(4),
    "record longer than the plan": MAGIC
    + (1).to_bytes(4, "little")
    + bytes(4)
    + b"\xff\xff\xff\x7f",
    "text without its NUL": encoded(SetHostname("abc"))[:-1] + b"x",
    "text longer than its record": encoded(SetHostname("abc")).replace(
        b"\x03\0\0\0abc", b"\xff\0\0\0abc"
    ),
    "list longer than its record": encoded(Execute(["a"], [])).replace(
        b"\x01\0\0\0\x01\0\0\0a", b"\xff\xff\xff\xff\x01\0\0\0a"
    ),
    "fields beyond the last": encoded(SetHostname("abc"))
    .replace(b"\x08\0\0\0\x03", b"\x09\0\0\0\x03")
    .replace(b"abc\0", b"abc\0\0"),
}


@pytest.mark.parametrize("plan", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_plans_are_refused(plan: bytes) -> None:
    message = run_init(plan)
    assert message is not None
    assert message.type == channel.ERROR
    assert message.call in ("plan", "mmap")


def test_errors_name_operation_call_and_errno() -> None:
    message = run_init(encoded(SetAffinity(b"\xff" * 8), ChangeDirectory("/none")))
    assert message is not None
    assert (message.operation, message.call, message.error) == (1, "chdir", errno.ENOENT)
    assert message.detail == "/none"


def test_a_signal_that_the_program_asked_for_does_not_end_the_init() -> None:
    """SCHED_FLAG_DL_OVERRUN has the kernel send SIGXCPU to whoever uses more time, as the set-up does."""
    millisecond = 1_000_000
    deadline = SetScheduler(
        6, SCHED_FLAGS["SCHED_FLAG_DL_OVERRUN"], 0, 0, millisecond, 2 * millisecond, 2 * millisecond
    )
    work = [SetUmask(0)] * 200_000
    message = run_init(encoded(deadline, *work, Execute(["/none"], [])))
    assert message is not None
    if (message.operation, message.error) == (0, errno.EPERM):
        pytest.skip("SCHED_DEADLINE needs CAP_SYS_NICE")
    assert (message.operation, message.call) == (len(work) + 1, "execve")


def test_random_damage_is_survived() -> None:
    """Whatever is flipped, the init answers with an error or ends: it neither hangs nor is killed by a signal."""
    plan = encoded(HARMLESS, Execute(["/none"], ["A=b"]))
    random_ = random.Random(1)
    for _ in range(200):
        damaged = bytearray(plan)
        for _ in range(random_.randint(1, 4)):
            at = random_.randrange(8, len(damaged))
            # opcodes stay those of operations that change nothing outside the init
            if at not in (8, 9, 10, 11):
                damaged[at] = random_.randrange(256)
        run_init(bytes(damaged))
