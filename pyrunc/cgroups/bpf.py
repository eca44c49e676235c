"""Device rules as a program of type BPF_PROG_TYPE_CGROUP_DEVICE, which cgroup v2 has for them.

The kernel runs the program at each access to a device, with what is asked for; it returns 1 to let
it pass. The program looks at the rules from the last to the first and keeps the bits of access on
which no rule has decided yet, so it does exactly what the list of rules says.

Source: the kernel's admin-guide/cgroup-v2.rst, "Device controller", and
bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import sys

from pyrunc.cgroups.devices import ANY

TYPE_CHECKING = False
if TYPE_CHECKING:
    import struct as _struct

    from pyrunc.cgroups.devices import DeviceRule
else:
    import _struct

# Opcodes: class | operation | source.
_LOAD_WORD = 0x61  # LDX | MEM | W
_AND = 0x57  # ALU64 | AND | K
_SHIFT_RIGHT = 0x77  # ALU64 | RSH | K
_MOVE = 0xB7  # ALU64 | MOV | K
_JUMP_NOT_EQUAL = 0x56  # JMP32 | JNE | K
_JUMP_IF_SET = 0x46  # JMP32 | JSET | K
_JUMP = 0x05  # JMP | JA
_EXIT = 0x95  # JMP | EXIT

# Registers: the result, the argument (struct bpf_cgroup_dev_ctx), and what is taken out of it.
_RESULT, _CONTEXT, _KIND, _ACCESS, _MAJOR, _MINOR = range(6)

_KINDS = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*

# The order of the bits in BPF_DEVCG_ACC_* is mknod, read, write; ours is that of "rwm".
_BITS = ((1, 2), (2, 4), (4, 1))


def _instruction(code: int, register: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """One struct bpf_insn: code, destination and source register, offset, immediate value."""
    source = _CONTEXT if code == _LOAD_WORD else 0
    if sys.byteorder == "little":
        registers = source << 4 | register
    else:
        registers = register << 4 | source
    return _struct.pack("=BBhI", code, registers, offset, value & 0xFFFFFFFF)


def _leave(result: int) -> bytes:
    return _instruction(_MOVE, _RESULT, value=result) + _instruction(_EXIT)


def device_program(rules: list[DeviceRule]) -> bytes:
    """The instructions, as an array of struct bpf_insn, for rules in the order of the config.

    What no rule decides is denied.
    """
    program = (
        _instruction(_LOAD_WORD, _KIND, 0)
        + _instruction(_AND, _KIND, value=0xFFFF)
        + _instruction(_LOAD_WORD, _ACCESS, 0)
        + _instruction(_SHIFT_RIGHT, _ACCESS, value=16)
        + _instruction(_LOAD_WORD, _MAJOR, 4)
        + _instruction(_LOAD_WORD, _MINOR, 8)
    )
    for rule in reversed(rules):
        if rule.everything:
            return program + _leave(int(rule.allow))
        program += _rule(rule)
    return program + _leave(0)


def _rule(rule: DeviceRule) -> bytes:
    """Decide, or go on to what comes next."""
    access = sum(theirs for ours, theirs in _BITS if rule.access & ours)
    if rule.allow:
        # What this allows is decided; if all is, let it pass.
        action = (
            _instruction(_AND, _ACCESS, value=~access)
            + _instruction(_JUMP_NOT_EQUAL, _ACCESS, 2, 0)
            + _leave(1)
        )
    else:
        action = (
            _instruction(_JUMP_IF_SET, _ACCESS, 1, access)
            + _instruction(_JUMP, offset=2)
            + _leave(0)
        )
    conditions = [(_KIND, _KINDS.get(rule.kind, ANY)), (_MAJOR, rule.major), (_MINOR, rule.minor)]
    for register, value in reversed(conditions):
        if value != ANY:
            action = _instruction(_JUMP_NOT_EQUAL, register, len(action) // 8, value) + action
    return action
