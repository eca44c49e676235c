"""An interpreter of classic BPF over struct seccomp_data, as far as seccomp(2) allows it.

It is written from linux/bpf_common.h and the kernel's seccomp_check_filter(), not from what
pyrunc or libseccomp emit, and it refuses whatever the kernel would refuse.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

MAX_INSTRUCTIONS = 4096
_DATA = struct.Struct("=iIQ6Q")
_INSTRUCTION = struct.Struct("=HBBI")
_WORD = 0xFFFFFFFF

_LD_W_ABS = 0x20
_LD_IMM = 0x00
_LDX_IMM = 0x01
_ST = 0x02
_STX = 0x03
_LD_MEM = 0x60
_LDX_MEM = 0x61
_RET_K, _RET_A = 0x06, 0x16
_TAX, _TXA = 0x07, 0x87
_JA = 0x05
_ALU: dict[int, Callable[[int, int], int]] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << b if b < 32 else 0,
    0x70: lambda a, b: a >> b if b < 32 else 0,
    0xA0: lambda a, b: a ^ b,
}
_COMPARE: dict[int, Callable[[int, int], bool]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: a & b != 0,
}


class BadProgram(Exception):
    """The kernel would refuse the program."""


Program = list[tuple[int, int, int, int]]


def decode(program: bytes) -> Program:
    """The instructions (code, jt, jf, k) of an array of struct sock_filter."""
    if len(program) % _INSTRUCTION.size:
        raise BadProgram("torn instruction")
    code = list(_INSTRUCTION.iter_unpack(program))
    if not 0 < len(code) <= MAX_INSTRUCTIONS:
        raise BadProgram(f"{len(code)} instructions")
    return code


def run(code: Program, arch: int, number: int, args: Sequence[int] = ()) -> int:
    """What the program returns (SECCOMP_RET_*) for a system call.

    `number` is taken as the kernel gets it, so that -1 and 0xffffffff are the same.
    """
    number &= _WORD
    signed = number - (1 << 32) if number >> 31 else number
    data = _DATA.pack(signed, arch, 0, *args, *([0] * (6 - len(args))))
    accumulator = index = at = 0
    memory = [0] * 16
    while True:
        if at >= len(code):
            raise BadProgram("ran over the end")
        op, jt, jf, k = code[at]
        at += 1
        if op == _LD_W_ABS:
            if k % 4 or k + 4 > len(data):
                raise BadProgram(f"load from {k}")
            accumulator = int(struct.unpack_from("=I", data, k)[0])
        elif op == _RET_K:
            return k
        elif op == _RET_A:
            return accumulator
        elif op == _JA:
            at += k
        elif op & 0x07 == 0x05:
            operand = index if op & 0x08 else k
            at += jt if _COMPARE[op & 0xF0](accumulator, operand) else jf
        elif op & 0x07 == 0x04:
            operand = index if op & 0x08 else k
            accumulator = _ALU[op & 0xF0](accumulator, operand) & _WORD
        elif op == _LD_IMM:
            accumulator = k
        elif op == _LDX_IMM:
            index = k
        elif op == _ST:
            memory[k] = accumulator
        elif op == _STX:
            memory[k] = index
        elif op == _LD_MEM:
            accumulator = memory[k]
        elif op == _LDX_MEM:
            index = memory[k]
        elif op == _TAX:
            index = accumulator
        elif op == _TXA:
            accumulator = index
        else:
            raise BadProgram(f"instruction {op:#x}")
