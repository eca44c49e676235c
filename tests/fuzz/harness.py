"""Builds the fuzzer of the init's decoder, with clang, ASan and UBSan."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pyrunc.plan import header
from pyrunc.plan.operation import REGISTRY

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

_FLAGS = (
    *("-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror"),
    *("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"),
)

_TOUCHES = {
    "u32": "touch(&op->{0}, sizeof op->{0});",
    "i32": "touch(&op->{0}, sizeof op->{0});",
    "u64": "touch(&op->{0}, sizeof op->{0});",
    "Text": "touch_text(op->{0});",
    "Blob": "touch(op->{0}.data, op->{0}.size);",
    "Texts": "for (uint32_t i = 0; i <= op->{0}.count; i++)\n\t\ttouch_text(op->{0}.items[i]);",
    "U32s": "touch(op->{0}.items, op->{0}.count * sizeof *op->{0}.items);",
}

_TOUCH = """\
static volatile unsigned touched;

static void touch(const void *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		touched += ((const unsigned char *)data)[i];
}

static void touch_text(const char *text)
{
	touch(text, text ? strlen(text) : 0);
}
"""


def render(sources: Path) -> str:
    """The text of touch.h: every operation that plan.c does not take from the init, reading all that it is given."""
    parts = [_TOUCH]
    taken = "".join((sources / "init" / name).read_text() for name in ("main.c", "channel.c"))
    for cls in REGISTRY:
        name = header.snake(cls.__name__)
        if f"int op_{name}(" in taken:
            continue
        body = "".join(f"\t{_TOUCHES[kind].format(field)}\n" for field, kind in cls.fields)
        parts.append(
            f"int op_{name}(struct init *init, const struct {name} *op)\n"
            f"{{\n\t(void)init;\n\t(void)op;\n{body}\treturn 0;\n}}\n"
        )
    return "\n".join(parts)


def build(directory: Path, sources: Path = REPOSITORY / "csrc") -> Path:
    """Compile the fuzzer of the C sources into a directory; its path.

    Raises:
        FileNotFoundError: there is no clang.
        subprocess.CalledProcessError: it cannot be compiled.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "touch.h").write_text(render(sources))
    target = directory / "plan"
    includes = [f"-I{sources}", f"-I{directory}"]
    subprocess.run(["clang", *_FLAGS, *includes, "-o", target, HERE / "plan.c"], check=True)
    return target
