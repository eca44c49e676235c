"""Death, and failing system calls, at any point of any operation: `delete --force` leaves nothing."""

from __future__ import annotations

import pytest
from helpers.attacker import rounds
from helpers.faults import Call
from helpers.victim import Victim

pytestmark = pytest.mark.root

OPERATIONS = list(Victim.OPERATIONS)


def sample(faults: list[str], number: int) -> list[str]:
    """As many of them, evenly spread; all under `make torture`."""
    assert faults
    return faults[:: rounds(-(-len(faults) // number), 1)]


def calls(victim: Victim, operation: str, *, follow: bool = False) -> list[Call]:
    """The system calls of an operation that goes well."""
    victim.bring(operation)
    found = victim.faults.calls(*victim.arguments(operation), follow=follow)
    assert victim.remove("nothing") == []
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_runtime_is_killed(operation: str, victim: Victim) -> None:
    faults = [call.death() for call in calls(victim, operation)]
    wrong = [line for f in sample(faults, 4) for line in victim.suffer(f, operation)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_system_calls_of_the_runtime_fail(operation: str, victim: Victim) -> None:
    faults = [fault for call in calls(victim, operation) for fault in call.failures()]
    wrong = [line for f in sample(faults, 4) for line in victim.suffer(f, operation)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operation", ["create", "exec"])
def test_the_init_is_killed(operation: str, victim: Victim) -> None:
    faults = [c.death() for c in calls(victim, operation, follow=True)]
    wrong = [line for f in sample(faults, 4) for line in victim.suffer(f, operation, follow=True)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operation", ["create", "exec"])
def test_system_calls_of_the_init_fail(operation: str, victim: Victim) -> None:
    found = calls(victim, operation, follow=True)
    faults = [fault for call in found for fault in call.failures()]
    wrong = [line for f in sample(faults, 6) for line in victim.suffer(f, operation, follow=True)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operation", ["create", "exec"])
def test_the_runtime_is_killed_at_every_operation_of_the_plan(
    operation: str, victim: Victim
) -> None:
    """An operation is some system calls of the init, which is stopped at each while the runtime dies."""
    faults = [c.stop() for c in calls(victim, operation, follow=True)]
    wrong = []
    for fault in sample(faults, 6):
        victim.bring(operation)
        done = victim.faults.abandon(fault, *victim.arguments(operation))
        wrong += victim.judge(fault, done)
    assert not wrong, "\n".join(wrong)
