"""Device rules: what `linux.resources.devices` comes to, as the kernel keeps it.

The kernel keeps a default, allow or deny, and exceptions from it. `DevicePolicy` is that, and works
out what the v1 files must be told to get from one policy to another without a moment in between in
which devices that both allow are denied.

Sources: runtime-spec config-linux.md, "Allowed Device list"; the kernel's cgroup-v1/devices.rst.
"""

from __future__ import annotations

from pyrunc.cgroups.files import refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANY = -1

READ, WRITE, MKNOD = 1, 2, 4
_LETTERS = (("r", READ), ("w", WRITE), ("m", MKNOD))
ALL = READ | WRITE | MKNOD
_TEXTS = ["".join(letter for letter, bit in _LETTERS if access & bit) for access in range(ALL + 1)]

# What each container may do whatever its rules say, as runc grants it: make any node (it takes
# another rule to open it), and use the default devices of the spec, terminals and tun.
_DEFAULTS = (
    ("", "c", ANY, ANY, MKNOD),
    ("", "b", ANY, ANY, MKNOD),
    ("/dev/null", "c", 1, 3, ALL),
    ("/dev/random", "c", 1, 8, ALL),
    ("/dev/full", "c", 1, 7, ALL),
    ("/dev/tty", "c", 5, 0, ALL),
    ("/dev/zero", "c", 1, 5, ALL),
    ("/dev/urandom", "c", 1, 9, ALL),
    ("", "c", 136, ANY, ALL),
    ("", "c", 5, 2, ALL),
    ("", "c", 10, 200, ALL),
)


class DeviceRule:
    """One rule. `kind` is "b", "c" or "a" for both; `major` and `minor` may be ANY."""

    __slots__ = ("access", "allow", "kind", "major", "minor", "pointer")

    def __init__(
        self, allow: bool, kind: str, major: int, minor: int, *, access: int, pointer: str | None
    ) -> None:
        self.allow = allow
        self.kind = kind
        self.major = major
        self.minor = minor
        self.access = access
        self.pointer = pointer

    def __str__(self) -> str:
        verb = "allow" if self.allow else "deny"
        return f"{verb} {entry((self.kind, self.major, self.minor), self.access)}"

    @property
    def everything(self) -> bool:
        """The rule is for all access to all devices."""
        return (self.kind, self.major, self.minor, self.access) == ("a", ANY, ANY, ALL)


def device_rules(linux: dict[str, Any], base: str) -> list[DeviceRule]:
    """The rules of `resources.devices` under the JSON pointer `base`, then the default ones.

    Raises CgroupError for a rule without valid access or type.
    """
    rules = []
    resources = linux.get("resources") or {}
    for index, entry in enumerate(resources.get("devices") or ()):
        pointer = f"{base}/devices/{index}"
        kind = entry.get("type") or "a"
        if kind not in ("a", "b", "c"):
            raise refuse(f"device type {kind!r} is none of a, b, c", f"{pointer}/type")
        access = parse_access(entry.get("access") or "")
        if not access:
            raise refuse("device access must be made of r, w and m", f"{pointer}/access")
        numbers = []
        for name in ("major", "minor"):
            number = entry.get(name)
            number = ANY if number is None else int(number)
            if not ANY <= number < 2**32:
                raise refuse(f"{number} is not a device number", f"{pointer}/{name}")
            numbers.append(number)
        rule = DeviceRule(bool(entry["allow"]), kind, *numbers, access=access, pointer=pointer)
        rules.append(rule)
    configured = {device.get("path") for device in linux.get("devices") or ()}
    for path, kind, major, minor, access in _DEFAULTS:
        if not path or path not in configured:
            rules.append(DeviceRule(True, kind, major, minor, access=access, pointer=None))
    return rules


def parse_access(text: str) -> int:
    """The bits of a string of r, w and m; 0 if it has anything else."""
    access = 0
    for letter in text:
        for known, bit in _LETTERS:
            if letter == known:
                access |= bit
                break
        else:
            return 0
    return access


def access_text(access: int) -> str:
    """The string of r, w and m for access bits."""
    return _TEXTS[access]


class DevicePolicy:
    """A default, and exceptions from it: {(kind, major, minor): access bits}."""

    __slots__ = ("allow_by_default", "exceptions")

    def __init__(self) -> None:
        self.allow_by_default = False
        self.exceptions: dict[tuple[str, int, int], int] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DevicePolicy):
            return NotImplemented
        return (self.allow_by_default, self.exceptions) == (
            other.allow_by_default,
            other.exceptions,
        )

    __hash__ = None  # type: ignore[assignment]

    def apply(self, rule: DeviceRule) -> None:
        """Let a rule take effect after those before it.

        Raises CgroupError for a rule that would take a part out of an exception: the v1 files
        ignore such a one without a word, and a user would think the device denied.
        """
        if rule.everything:
            self.allow_by_default = rule.allow
            self.exceptions.clear()
            return
        for kind in ("b", "c") if rule.kind == "a" else (rule.kind,):
            key = (kind, rule.major, rule.minor)
            if rule.allow != self.allow_by_default:
                self.exceptions[key] = self.exceptions.get(key, 0) | rule.access
            else:
                self._withdraw(key, rule)

    def _withdraw(self, key: tuple[str, int, int], rule: DeviceRule) -> None:
        for other in list(self.exceptions):
            if not self.exceptions[other] & rule.access or not _overlap(key, other):
                continue
            if any(a not in (b, ANY) for a, b in zip(key, other, strict=True)):
                verb = "allow" if rule.allow else "deny"
                raise refuse(
                    f"cannot {verb} device {entry(key, rule.access)}: an earlier rule is for "
                    f"{entry(other, self.exceptions[other])}, and the devices controller of "
                    "cgroup v1 takes no part out of a rule",
                    rule.pointer,
                )
            left = self.exceptions[other] & ~rule.access
            if left:
                self.exceptions[other] = left
            else:
                del self.exceptions[other]

    @classmethod
    def of(cls, rules: list[DeviceRule]) -> DevicePolicy:
        """The policy that a list of rules comes to, from a start that denies everything."""
        policy = cls()
        for rule in rules:
            policy.apply(rule)
        return policy

    @classmethod
    def from_list(cls, text: str) -> DevicePolicy:
        """The policy behind a `devices.list`. A policy that allows by default does not show its
        exceptions there, so they are unknown. Raises ValueError."""
        policy = cls()
        for line in text.splitlines():
            kind, numbers, access = line.split()
            if kind == "a":
                policy.allow_by_default = True
                policy.exceptions.clear()
                break
            major, minor = (ANY if n == "*" else int(n) for n in numbers.split(":"))
            policy.exceptions[(kind, major, minor)] = parse_access(access)
        return policy

    def transition(self, target: DevicePolicy) -> list[tuple[bool, str]]:
        """What to tell the v1 files to get from here to `target`: (allow, entry) in order."""
        steps: list[tuple[bool, str]] = []
        old = self.exceptions
        if self.allow_by_default or self.allow_by_default != target.allow_by_default:
            steps.append((target.allow_by_default, "a *:* rwm"))
            old = {}
        # First what is new: it may cover what is dropped after it. In the order of the rules, which
        # is the order that devices.list then shows.
        for key, access in target.exceptions.items():
            gained = access & ~old.get(key, 0)
            if gained:
                steps.append((not target.allow_by_default, entry(key, gained)))
        for key, access in old.items():
            dropped = access & ~target.exceptions.get(key, 0)
            if dropped:
                steps.append((target.allow_by_default, entry(key, dropped)))
        return steps


def _overlap(one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
    return all(ANY in (a, b) or a == b for a, b in zip(one, other, strict=True))


def entry(key: tuple[str, int, int], access: int) -> str:
    """One entry as the files devices.allow and devices.deny take it."""
    kind, major, minor = key
    numbers = f"{'*' if major == ANY else major}:{'*' if minor == ANY else minor}"
    return f"{kind} {numbers} {_TEXTS[access]}"
