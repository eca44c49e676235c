"""Writes csrc/init/plan_format.h from the table in `operations`: ``python -m pyrunc.plan.header > FILE``."""

from __future__ import annotations

import re
import sys

from pyrunc.plan import operations
from pyrunc.plan.operation import REGISTRY

C_TYPES = {
    "u32": "uint32_t {};",
    "i32": "int32_t {};",
    "u64": "uint64_t {};",
    "Text": "const char *{};",
    "Blob": "struct blob {};",
    "Texts": "struct texts {};",
    "U32s": "struct u32s {};",
}

READERS = {
    "u32": "read_u32",
    "i32": "read_i32",
    "u64": "read_u64",
    "Text": "read_text",
    "Blob": "read_blob",
    "Texts": "read_texts",
    "U32s": "read_u32s",
}

CONSTANTS = re.compile(r"^(SYNC_[A-Z_]+|BIND_[A-Z_]+|FS_[A-Z_]+|LINK_[A-Z]+|NO_SLOT)$")


def snake(name: str) -> str:
    """MountBind -> mount_bind."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def render() -> str:
    """The text of plan_format.h."""
    out = [
        "/* Written by `python -m pyrunc.plan.header` from pyrunc/plan/operations.py: change that file. */",
        "#ifndef PYRUNC_PLAN_FORMAT_H",
        "#define PYRUNC_PLAN_FORMAT_H",
        "",
        '#include "decode.h"',
        "",
        "/* clang-format off */",
    ]
    for name, value in vars(operations).items():
        if CONSTANTS.match(name) and isinstance(value, int):
            out.append(f"#define {name} {value:#x}u")
    out.append("")
    for cls in REGISTRY:
        name = snake(cls.__name__)
        out.append(f"struct {name} {{")
        out += [f"\t{C_TYPES[kind].format(field)}" for field, kind in cls.fields]
        if not cls.fields:
            out.append("\tchar none;")
        out.append("};")
    out += ["", "struct init;", ""]
    out += [
        f"int op_{snake(cls.__name__)}(struct init *init, const struct {snake(cls.__name__)} *op);"
        for cls in REGISTRY
    ]
    out += [
        "",
        "/* Decode the operation `opcode` from `in` and execute it. False in *known: no such operation,",
        " * or its fields do not fill the record exactly. */",
        "static inline int dispatch(struct init *init, uint32_t opcode, struct reader *in, bool *known)",
        "{",
        "\t*known = true;",
        "\tswitch (opcode) {",
    ]
    for cls in REGISTRY:
        name = snake(cls.__name__)
        out.append(f"\tcase {cls.opcode}: {{")
        out.append(f"\t\tstruct {name} op = {{0}};")
        reads = [f"{READERS[kind]}(in, &op.{field})" for field, kind in cls.fields]
        reads.append("read_end(in)")
        joined = " &&\n\t\t    ".join(reads)
        out.append(f"\t\tif ({joined})")
        out.append(f"\t\t\treturn op_{name}(init, &op);")
        out.append("\t\tbreak;")
        out.append("\t}")
    out += ["\t}", "\t*known = false;", "\treturn -1;", "}", "/* clang-format on */", "", "#endif"]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
