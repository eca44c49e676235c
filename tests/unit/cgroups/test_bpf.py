"""Device programs, run by an interpreter, against the rules they were made from."""

from __future__ import annotations

import random
import struct
import sys

import pytest

from pyrunc.cgroups.bpf import device_program
from pyrunc.cgroups.devices import ALL, ANY, DeviceRule, device_rules

LITTLE = sys.byteorder == "little"
READ, WRITE, MKNOD = 2, 4, 1  # BPF_DEVCG_ACC_*


def run(program: bytes, context: bytes) -> int:
    """Interpret the instructions that device programs are made of."""
    registers: dict[int, int] = {}
    instructions = list(struct.iter_unpack("=BBhi", program))
    position = steps = 0
    while True:
        code, both, offset, value = instructions[position]
        target = both & 15 if LITTLE else both >> 4
        source = both >> 4 if LITTLE else both & 15
        position += 1
        steps += 1
        assert steps <= len(instructions), "a program only goes forward"
        if code == 0x61:  # r = *(u32 *)(context + offset)
            assert source == 1
            registers[target] = int.from_bytes(context[offset : offset + 4], sys.byteorder)
        elif code == 0x57:  # r &= value, sign-extended
            registers[target] &= value & 0xFFFFFFFFFFFFFFFF
        elif code == 0x77:
            registers[target] >>= value
        elif code == 0xB7:
            registers[target] = value & 0xFFFFFFFFFFFFFFFF
        elif code == 0x56:  # if (u32)r != (u32)value
            position += offset if registers[target] & 0xFFFFFFFF != value & 0xFFFFFFFF else 0
        elif code == 0x46:
            position += offset if registers[target] & value & 0xFFFFFFFF else 0
        elif code == 0x05:
            position += offset
        elif code == 0x95:
            return registers[0]
        else:
            pytest.fail(f"unknown opcode {code:#x}")


def passes(program: bytes, kind: str, major: int, minor: int, access: int) -> bool:
    context = struct.pack("=III", {"b": 1, "c": 2}[kind] | access << 16, major, minor)
    return run(program, context) == 1


def model(rules: list[DeviceRule], kind: str, major: int, minor: int) -> int:
    """What the rules, one after the other, leave: BPF_DEVCG_ACC_* bits."""
    granted = 0
    for rule in rules:
        matches = (
            rule.kind in ("a", kind) and rule.major in (ANY, major) and rule.minor in (ANY, minor)
        )
        if matches:
            bits = (
                (READ if rule.access & 1 else 0)
                | (WRITE if rule.access & 2 else 0)
                | (MKNOD if rule.access & 4 else 0)
            )
            granted = granted | bits if rule.allow else granted & ~bits
    return granted


def random_rule(rng: random.Random) -> DeviceRule:
    numbers = (ANY, 0, 1, 2, 0xFFFFFFFF)
    return DeviceRule(
        rng.random() < 0.5,
        rng.choice("abc"),
        rng.choice(numbers),
        rng.choice(numbers),
        access=rng.randint(1, ALL),
        pointer=None,
    )


def test_programs_do_what_the_rules_say() -> None:
    rng = random.Random(3)
    outcomes = set()
    for _ in range(1500):
        rules = [random_rule(rng) for _ in range(rng.randint(0, 8))]
        program = device_program(rules)
        for _ in range(20):
            device = (rng.choice("bc"), rng.choice((0, 1, 3, 0xFFFFFFFF)), rng.choice((0, 2, 3)))
            access = rng.randint(1, 7)
            expected = access & ~model(rules, *device) == 0
            outcomes.add(expected)
            assert passes(program, *device, access) is expected
    assert outcomes == {True, False}


def test_default_rules() -> None:
    program = device_program(device_rules({}, ""))
    assert passes(program, "c", 1, 3, READ | WRITE)
    assert passes(program, "b", 8, 0, MKNOD)
    assert not passes(program, "b", 8, 0, MKNOD | READ)
    assert passes(program, "c", 136, 77, READ | WRITE | MKNOD)


def test_rules_before_one_for_everything_take_no_instructions() -> None:
    entries = [
        {"allow": True, "type": "c", "major": 1, "minor": 1, "access": "r"},
        {"allow": False, "access": "rwm"},
    ]
    program = device_program(device_rules({"resources": {"devices": entries}}, ""))
    # Without an earlier rule the end is "deny" all the same.
    assert program == device_program(device_rules({}, ""))
