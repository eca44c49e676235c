"""`pyrunc update`."""

from __future__ import annotations

import sys

from pyrunc import log
from pyrunc.cli.parser import TEXT, Command, Flag
from pyrunc.cli.settings import absolute
from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings


def _size(option: str, text: str) -> int:
    """Bytes of "512M", "1.5g", "65536" or "-1" (no limit); units are powers of 1024."""
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    power = "kmgtpe".find(number[-1:]) + 1 if number[-1:].isalpha() else 0
    if power:
        number = number[:-1].rstrip()
    try:
        if text == "-1":
            return -1
        value = int(float(number) * (1 << (10 * power))) if "." in number else int(number)
        value = value if "." in number else value << (10 * power)
        if value < 0 or not number[:1].isdigit() or not (power or text.strip().isdigit()):
            raise ValueError
    except ValueError:
        raise UsageError(
            f'update: --{option} "{text}": must be a number of bytes, such as 67108864 or 64M,'
            " or -1 for no limit"
        ) from None
    return value


def _integer(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f'update: --{option} "{text}": must be an integer') from None


def _natural(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f'update: --{option} "{text}": must be an integer that is not negative')
    return int(text)


def _text(option: str, text: str) -> str:
    return text


#: Option: (place in `linux.resources`, how its value is read, name of the value, help).
RESOURCES = {
    "blkio-weight": (
        "blockIO/weight",
        _natural,
        "WEIGHT",
        "relative weight of block I/O, from 10 to 1000",
    ),
    "cpu-period": ("cpu/period", _natural, "USEC", "period of the CPU bandwidth limit"),
    "cpu-quota": ("cpu/quota", _integer, "USEC", "CPU time in each period; -1 for no limit"),
    "cpu-burst": ("cpu/burst", _natural, "USEC", "unused quota that may be used in a later period"),
    "cpu-share": ("cpu/shares", _natural, "SHARES", "relative weight of CPU time"),
    "cpu-rt-period": ("cpu/realtimePeriod", _natural, "USEC", "period of the real-time limit"),
    "cpu-rt-runtime": (
        "cpu/realtimeRuntime",
        _integer,
        "USEC",
        "real-time CPU time in each period",
    ),
    "cpu-idle": ("cpu/idle", _integer, "0|1", "whether the CPU is used only when it is idle"),
    "cpuset-cpus": ("cpu/cpus", _text, "LIST", "CPUs to run on, such as 0-3,7"),
    "cpuset-mems": ("cpu/mems", _text, "LIST", "memory nodes to use"),
    "memory": ("memory/limit", _size, "BYTES", "limit of memory; -1 for none"),
    "memory-reservation": (
        "memory/reservation",
        _size,
        "BYTES",
        "memory that is kept when memory is short",
    ),
    "memory-swap": ("memory/swap", _size, "BYTES", "limit of memory and swap; -1 for none"),
    "kernel-memory-tcp": ("memory/kernelTCP", _size, "BYTES", "limit of memory of TCP buffers"),
    "pids-limit": ("pids/limit", _integer, "N", "limit of processes and threads; -1 for none"),
    "l3-cache-schema": ("intelRdt/l3CacheSchema", _text, "SCHEMA", "Intel RDT: L3 cache"),
    "mem-bw-schema": ("intelRdt/memBwSchema", _text, "SCHEMA", "Intel RDT: memory bandwidth"),
}

#: What nothing can be done about, and is a warning, as in runc.
IGNORED = (Flag("kernel-memory", "ignored: no kernel has it any more", kind=TEXT, metavar="BYTES"),)

COMMAND = Command(
    "update",
    "change the resource limits of a container",
    operands="<container-id>",
    minimum=1,
    description="""\
Changes limits of a container that is not stopped, all of those named or, if one is refused, none.
What is not named keeps its value. Sizes may have a unit: 64M, 1.5G (powers of 1024).

With --resources, limits are read as JSON in the form of linux.resources of config.json, and the
other options are ignored, but for those of Intel RDT:

{"memory": {"limit": 67108864}, "cpu": {"quota": 50000, "period": 100000}}""",
    flags=(
        Flag(
            "resources r",
            "read the limits from this file, or from standard input (-)",
            kind=TEXT,
            metavar="FILE",
        ),
        *(
            Flag(name, text, kind=TEXT, metavar=metavar)
            for name, (_, _, metavar, text) in RESOURCES.items()
        ),
        *IGNORED,
    ),
    examples=(("pyrunc update --memory 256M --pids-limit 100 web", "set two limits"),),
)


def run(settings: Settings, arguments: Arguments) -> int:
    path = arguments.text("resources")
    named = resources_of(arguments)
    rdt = named.pop("intelRdt", None) or {}
    resources = read_resources(path) if path else named
    for flag in IGNORED:
        if arguments.text(flag.name):
            log.warning(f"update: --{flag.name} is ignored: the kernel has no such limit any more")
    from pyrunc.container.container import Container

    Container.load(settings.root, arguments.positional[0]).update(resources, rdt)
    return 0


def resources_of(arguments: Arguments) -> dict[str, Any]:
    """The limits named on the command line, as `linux.resources` has them; `intelRdt` beside."""
    resources: dict[str, Any] = {}
    for option, (place, convert, _, _) in RESOURCES.items():
        if arguments.text(option):
            section, field = place.split("/")
            value = convert(option, arguments.text(option))
            resources.setdefault(section, {})[field] = value
    return resources


def read_resources(path: str) -> dict[str, Any]:
    """The limits in a JSON file, or on standard input for "-".

    Raises:
        BundleError: the file cannot be read.
        ConfigError: it is not what `linux.resources` may be.
    """
    from pyrunc.spec.json import loads
    from pyrunc.spec.loader import check_resources, read_file

    if path == "-":
        path = "standard input"
        data = sys.stdin.buffer.read()
    else:
        path = absolute(path)
        data = read_file(path)
    resources: Any = loads(data, path, nulls=False)
    check_resources(resources, path)
    return resources  # type: ignore[no-any-return]
