"""The systemd unit of a container: its name, its place, and limits as properties of it.

systemd has to know the limits too: it writes what it knows whenever it reloads. What it has no
property for, or only a coarser one, is written to the files besides.

Sources: systemd.resource-control(5), org.freedesktop.systemd1(5), and runc for what is set.
"""

from __future__ import annotations

from pyrunc.cgroups.devices import ANY, DevicePolicy, access_text
from pyrunc.cgroups.files import refuse
from pyrunc.cgroups.resources import escape
from pyrunc.cgroups.resources_v2 import DEFAULT_PERIOD, io_weight, weight_of_shares
from pyrunc.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroups.devices import DeviceRule

INFINITY = 2**64 - 1
_SECOND = 10**6  # microseconds
_PERCENT = 10**4  # microseconds in a second

_ANNOTATION = "org.systemd.property."


class UnitProperty:
    """A property of a unit.

    Attributes:
        name: its name in the D-Bus interface.
        signature: its D-Bus type.
        value: as jeepney takes it for that type.
        since: the version of systemd that has it; for an older one it is left out.
    """

    __slots__ = ("name", "signature", "since", "value")

    def __init__(self, name: str, signature: str, value: object, *, since: int = 0) -> None:
        self.name = name
        self.signature = signature
        self.value = value
        self.since = since

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UnitProperty):
            return NotImplemented
        return (self.name, self.signature, self.value) == (
            other.name,
            other.signature,
            other.value,
        )

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        value = "infinity" if self.value == INFINITY else self.value
        return f"{self.name}={value}"

    def __repr__(self) -> str:
        return f"UnitProperty({self.name!r}, {self.signature!r}, {self.value!r})"

    def wire(self) -> tuple[str, tuple[str, object]]:
        """As a member of an array of type a(sv)."""
        return self.name, (self.signature, self.value)


class Unit:
    """A transient scope.

    Attributes:
        name: the unit's name.
        slice: the slice that it is in.
        user: it belongs to the user's service manager, not to the system's.
        properties: its limits, and what annotations set.
    """

    def __init__(
        self, name: str, slice_name: str, *, user: bool, properties: list[UnitProperty]
    ) -> None:
        self.name = name
        self.slice = slice_name
        self.user = user
        self.properties = properties

    def to_state(self) -> dict[str, object]:
        """What is needed to find it again."""
        return {"name": self.name, "slice": self.slice, "user": self.user}

    def __str__(self) -> str:
        kind = "user unit" if self.user else "unit"
        properties = ", ".join(map(str, self.properties))
        return f"start {kind} {self.name} in {self.slice}: {properties}"


def parse_path(cgroups_path: str, container_id: str, *, user: bool) -> tuple[str, str]:
    """The slice and the scope for a cgroupsPath of the form slice:prefix:name, or for none.

    Raises CgroupError for another form.
    """
    pointer = "/linux/cgroupsPath"
    default = "user.slice" if user else "system.slice"
    if not cgroups_path:
        return default, f"pyrunc-{container_id}.scope"
    parts = cgroups_path.split(":")
    if len(parts) != 3 or not parts[2] or "/" in cgroups_path:
        raise refuse(
            f"cgroupsPath {cgroups_path!r}: with systemd it has the form slice:prefix:name", pointer
        )
    slice_name, prefix, name = parts
    if name.endswith(".slice"):
        raise refuse(
            f"cgroupsPath {cgroups_path!r}: a container is in a scope, not a slice", pointer
        )
    slice_path(slice_name or default)
    return slice_name or default, f"{prefix}-{name}.scope"


def slice_path(name: str) -> str:
    """Where a slice is in the tree: a-b.slice is in a.slice (systemd.slice(5)).

    Raises CgroupError for what is not the name of a slice.
    """
    stem = name.removesuffix(".slice")
    if stem == "-" and name != stem:
        return ""
    parts = stem.split("-")
    if name == stem or not all(parts):
        raise refuse(f"{name!r} is not the name of a slice", "/linux/cgroupsPath")
    return "".join(f"/{'-'.join(parts[: count + 1])}.slice" for count in range(len(parts)))


def annotated(annotations: dict[str, str]) -> list[UnitProperty]:
    """The properties that annotations org.systemd.property.NAME set, in GVariant text format.

    Raises CgroupError for a wrong name or value.
    """
    properties = []
    for key, text in annotations.items():
        if not key.startswith(_ANNOTATION):
            continue
        from pyrunc.cgroups.gvariant import parse

        name = key[len(_ANNOTATION) :]
        pointer = f"/annotations/{escape(key)}"
        if len(name) < 3 or not (name.isascii() and name.isalpha()):
            raise refuse(f"{name!r} is not the name of a property of a unit", pointer)
        try:
            signature, value = parse(text)
        except ValueError as error:
            raise refuse(f"{name}={text}: {error}", pointer) from None
        # In unit files times are in seconds and end in Sec; in D-Bus they are not and end in USec.
        if name.endswith("Sec") and name[-4].islower():
            if signature not in _NUMERIC:
                raise refuse(f"{name}={text}: not a number", pointer)
            name = f"{name[:-3]}USec"
            signature, value = "t", int(value * _SECOND)
        properties.append(UnitProperty(name, signature, value))
    return properties


_NUMERIC = ("y", "n", "q", "i", "u", "x", "t", "d")


def v2_properties(resources: dict[str, Any]) -> list[UnitProperty]:
    """The properties for an object like `linux.resources`, on v2."""
    found: list[UnitProperty] = []
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit:
        found.append(_bytes("MemoryMax", limit))
    if memory.get("reservation"):
        found.append(_bytes("MemoryLow", memory["reservation"]))
    if swap < 0 or (limit < 0 and not swap):
        found.append(_bytes("MemorySwapMax", -1))
    elif swap and limit:
        found.append(_bytes("MemorySwapMax", swap - max(limit, 0)))
    if cpu.get("idle") == 1:
        found.append(UnitProperty("CPUWeight", "t", 0, since=252))
    elif cpu.get("shares"):
        found.append(UnitProperty("CPUWeight", "t", weight_of_shares(cpu["shares"])))
    found += _quota(cpu.get("quota") or 0, cpu.get("period") or 0)
    found += _tasks(resources)
    found += _cpus(cpu)
    weight = (resources.get("blockIO") or {}).get("weight")
    if weight:
        found.append(UnitProperty("IOWeight", "t", io_weight(weight)))
    return found + _unified(resources.get("unified") or {})


def v1_properties(resources: dict[str, Any]) -> list[UnitProperty]:
    """The properties for an object like `linux.resources`, on v1."""
    found: list[UnitProperty] = []
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    if memory.get("limit"):
        found.append(_bytes("MemoryLimit", memory["limit"]))
    if cpu.get("shares"):
        found.append(UnitProperty("CPUShares", "t", int(cpu["shares"])))
    found += _quota(cpu.get("quota") or 0, cpu.get("period") or 0)
    weight = (resources.get("blockIO") or {}).get("weight")
    if weight:
        found.append(UnitProperty("BlockIOWeight", "t", int(weight)))
    return found + _tasks(resources) + _cpus(cpu)


def _bytes(name: str, value: int) -> UnitProperty:
    return UnitProperty(name, "t", INFINITY if value < 0 else int(value))


def _quota(quota: int, period: int) -> list[UnitProperty]:
    found = []
    if period:
        found.append(UnitProperty("CPUQuotaPeriodUSec", "t", int(period)))
    if quota or period:
        per_second = INFINITY
        if quota > 0:
            per_second = int(quota) * _SECOND // (int(period) or DEFAULT_PERIOD)
            # systemd has whole percents; the files get the exact value, so here it may be more.
            per_second += -per_second % _PERCENT
        found.append(UnitProperty("CPUQuotaPerSecUSec", "t", per_second))
    return found


def _tasks(resources: dict[str, Any]) -> list[UnitProperty]:
    limit = (resources.get("pids") or {}).get("limit")
    if limit is None:
        return []
    # systemd has no limit of 0, which keeps from forking as 1 does.
    return [UnitProperty("TasksMax", "t", INFINITY if limit < 0 else max(1, int(limit)))]


def _cpus(cpu: dict[str, Any]) -> list[UnitProperty]:
    return [
        UnitProperty(name, "ay", list_bits(cpu[key], f"/linux/resources/cpu/{key}"))
        for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes"))
        if cpu.get(key)
    ]


def list_bits(text: str, pointer: str) -> bytes:
    """A list such as "0-3,7" as bits, the first byte having those of 0 to 7.

    Raises CgroupError.
    """
    bits = 0
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            low = int(first)
            high = int(last) if dash else low
            if not 0 <= low <= high < 8192:
                raise ValueError
            bits |= (1 << high + 1) - (1 << low)
    except ValueError:
        raise refuse(f"{text!r} is not a list of numbers like 0-3,7", pointer) from None
    return bits.to_bytes(bits.bit_length() // 8 + 1, "little").rstrip(b"\0")


# Files of v2 with a property of the same meaning; "max" is infinity.
_UNIFIED = {
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
}


def _unified(unified: dict[str, str]) -> list[UnitProperty]:
    found: list[UnitProperty] = []
    for name, text in unified.items():
        value = text.strip()
        pointer = f"/linux/resources/unified/{escape(name)}"
        try:
            if name == "cpu.weight" and unified.get("cpu.idle", "").strip() == "1":
                continue
            if name in _UNIFIED:
                number = INFINITY if value == "max" else int(value)
                found.append(UnitProperty(_UNIFIED[name], "t", number))
            elif name == "cpu.idle" and value == "1":
                found.append(UnitProperty("CPUWeight", "t", 0, since=252))
            elif name == "cpu.max":
                quota, _, period = value.partition(" ")
                amount = -1 if quota == "max" else int(quota)
                found += _quota(amount, int(period or DEFAULT_PERIOD))
            elif name in ("cpuset.cpus", "cpuset.mems"):
                key = name.partition(".")[2]
                found += _cpus({key: value})
            elif name == "memory.oom.group":
                policy = {"0": "continue", "1": "kill"}[value]
                found.append(UnitProperty("OOMPolicy", "s", policy, since=253))
        except (ValueError, KeyError):
            raise refuse(f"{name}: {value!r} is not a value for it", pointer) from None
    return found


def device_properties(rules: list[DeviceRule]) -> list[UnitProperty]:
    """The properties for device rules, as strict as systemd can have them.

    Our own rules apply besides. What systemd cannot express exactly is left to those: a list that
    is too strict would deny what they allow.
    """
    lenient = [UnitProperty("DevicePolicy", "s", "auto"), UnitProperty("DeviceAllow", "a(ss)", [])]
    try:
        policy = DevicePolicy.of(rules)
    except CgroupError:
        return lenient
    if policy.allow_by_default:
        return lenient
    allowed = []
    for (kind, major, minor), access in sorted(policy.exceptions.items()):
        group = "char" if kind == "c" else "block"
        if major == ANY and minor != ANY:
            return lenient
        if major == ANY:
            path = f"{group}-*"
        elif minor == ANY:
            path = f"{group}-{major}"
        else:
            path = f"/dev/{group}/{major}:{minor}"
        allowed.append((path, access_text(access)))
    return [
        UnitProperty("DevicePolicy", "s", "strict"),
        UnitProperty("DeviceAllow", "a(ss)", []),  # first take away what is there
        UnitProperty("DeviceAllow", "a(ss)", allowed),
    ]
