"""Device rules against a reference model: the rules one after the other, for each single device."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pyrunc.cgroups.devices import (
    ALL,
    ANY,
    DevicePolicy,
    DeviceRule,
    device_rules,
    entry,
    parse_access,
)
from pyrunc.errors import CgroupError

NUMBERS = (ANY, 1, 2, 3)


def random_rules(rng: random.Random, count: int) -> list[DeviceRule]:
    return [
        DeviceRule(
            rng.random() < 0.5,
            rng.choice("abc"),
            rng.choice(NUMBERS),
            rng.choice(NUMBERS),
            access=rng.randint(1, ALL),
            pointer="/x",
        )
        for _ in range(count)
    ]


def model(rules: list[DeviceRule], kind: str, major: int, minor: int) -> int:
    """What access a list of rules leaves to one device: each rule sets or clears its bits."""
    access = 0
    for rule in rules:
        matches = (
            rule.kind in ("a", kind) and rule.major in (ANY, major) and rule.minor in (ANY, minor)
        )
        if matches:
            access = access | rule.access if rule.allow else access & ~rule.access
    return access


def granted(policy: DevicePolicy, kind: str, major: int, minor: int) -> int:
    """What the kernel makes of a policy: an access is as any exception has it, else the default."""
    excepted = 0
    for (one, first, second), access in policy.exceptions.items():
        if one == kind and first in (ANY, major) and second in (ANY, minor):
            excepted |= access
    return ALL & ~excepted if policy.allow_by_default else excepted


DEVICES = [(kind, major, minor) for kind in "bc" for major in (1, 2, 9) for minor in (1, 3, 9)]


def test_policies_are_what_the_rules_say() -> None:
    rng = random.Random(1)
    representable = 0
    for _ in range(3000):
        rules = random_rules(rng, rng.randint(0, 6))
        try:
            policy = DevicePolicy.of(rules)
        except CgroupError:
            continue
        representable += 1
        for device in DEVICES:
            assert granted(policy, *device) == model(rules, *device), rules
    assert representable > 1000


class Kernel:
    """The files devices.allow, devices.deny and devices.list, as devices.rst describes them."""

    def __init__(self, policy: DevicePolicy) -> None:
        self.default = policy.allow_by_default
        self.exceptions = dict(policy.exceptions)

    def write(self, allow: bool, line: str) -> None:
        kind, numbers, letters = line.split()
        if kind == "a":
            self.default, self.exceptions = allow, {}
            return
        major, minor = (ANY if n == "*" else int(n) for n in numbers.split(":"))
        key, access = (kind, major, minor), parse_access(letters)
        old = self.exceptions.get(key, 0)
        # Only the exception with the very same numbers is touched.
        new = old | access if allow != self.default else old & ~access
        self.exceptions.pop(key, None)
        if new:
            self.exceptions[key] = new

    def list(self) -> str:
        if self.default:
            return "a *:* rwm\n"
        return "".join(entry(k, a) + "\n" for k, a in self.exceptions.items())

    def grants(self, device: tuple[str, int, int]) -> int:
        policy = DevicePolicy()
        policy.allow_by_default, policy.exceptions = self.default, self.exceptions
        return granted(policy, *device)


def test_transitions_arrive_by_way_of_neither_less_nor_more() -> None:
    rng = random.Random(2)
    done = 0
    while done < 1000:
        try:
            source = DevicePolicy.of(random_rules(rng, rng.randint(0, 4)))
            target = DevicePolicy.of(random_rules(rng, rng.randint(0, 4)))
        except CgroupError:
            continue
        done += 1
        kernel = Kernel(source)
        seen = DevicePolicy.from_list(kernel.list())
        for allow, line in seen.transition(target):
            kernel.write(allow, line)
            if not source.allow_by_default and not target.allow_by_default:
                for device in DEVICES:
                    both = granted(source, *device) & granted(target, *device)
                    either = granted(source, *device) | granted(target, *device)
                    assert both & ~kernel.grants(device) == 0
                    assert kernel.grants(device) & ~either == 0
        assert (kernel.default, kernel.exceptions) == (
            target.allow_by_default,
            target.exceptions,
        )


def test_nothing_to_do() -> None:
    policy = DevicePolicy.of(device_rules({}, ""))
    assert policy.transition(policy) == []


def rules(*entries: dict[str, Any]) -> list[DeviceRule]:
    return device_rules({"resources": {"devices": list(entries)}}, "/linux/resources")


def test_part_of_a_wider_rule() -> None:
    with pytest.raises(CgroupError, match=r"cannot deny device c 1:3 w: .* c 1:\* rw") as caught:
        DevicePolicy.of(
            rules(
                {"allow": True, "type": "c", "major": 1, "access": "rw"},
                {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
            )
        )
    assert caught.value.pointer == "/linux/resources/devices/1"


def test_wide_denial_takes_narrow_permissions_with_it() -> None:
    policy = DevicePolicy.of(
        rules(
            {"allow": True, "type": "c", "major": 7, "minor": 1, "access": "rw"},
            {"allow": False, "type": "c", "major": 7, "access": "w"},
        )
    )
    assert policy.exceptions[("c", 7, 1)] == parse_access("r")


def test_all_types_with_a_number_is_not_everything() -> None:
    policy = DevicePolicy.of(rules({"allow": True, "type": "a", "major": 7, "access": "rwm"}))
    assert not policy.allow_by_default
    assert policy.exceptions[("b", 7, ANY)] == policy.exceptions[("c", 7, ANY)] == ALL


@pytest.mark.parametrize(("text", "access"), [("r", 1), ("wm", 6), ("mrw", 7), ("rr", 1), ("x", 0)])
def test_access(text: str, access: int) -> None:
    assert parse_access(text) == access
