"""Death, and failing system calls, at any point of any operation: `delete --force` leaves nothing."""

from __future__ import annotations

import pytest
from helpers.attacker import rounds
from helpers.faults import Call
from helpers.victim import Victim

pytestmark = pytest.mark.root

OPERATIONS = list(Victim.OPERATIONS)


def sample(faults: list[str], number: int, torture: int = 1) -> list[str]:
    """As many of them, evenly spread; every one, or every `torture`th, under `make torture`."""
    assert faults
    return faults[:: rounds(-(-len(faults) // number), torture)]


def calls(victim: Victim, operation: str, *, follow: bool = False) -> list[Call]:
    """The system calls of an operation that goes well."""
    victim.bring(operation)
    found = victim.faults.calls(*victim.arguments(operation), follow=follow)
    assert victim.remove("nothing") == []
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_runtime_is_killed(operation: str, victim: Victim) -> None:
    faults = [call.death() for call in calls(victim, operation) if call.has_effect]
    wrong = [line for f in sample(faults, 4) for line in victim.suffer(f, operation)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_system_calls_of_the_runtime_fail(operation: str, victim: Victim) -> None:
    faults = [fault for call in calls(victim, operation) for fault in call.failures()]
    wrong = [line for f in sample(faults, 4, 3) for line in victim.suffer(f, operation)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operation", ["create", "exec"])
def test_the_init_is_killed(operation: str, victim: Victim) -> None:
    faults = [c.death() for c in calls(victim, operation, follow=True) if c.has_effect]
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
    faults = [c.stop() for c in calls(victim, operation, follow=True) if c.has_effect]
    wrong = []
    for fault in sample(faults, 6):
        victim.bring(operation)
        done = victim.faults.abandon(fault, *victim.arguments(operation))
        wrong += victim.judge(fault, done)
    assert not wrong, "\n".join(wrong)


def test_an_init_that_is_killed_while_it_clones_is_not_waited_for(victim: Victim) -> None:
    """Neither by the runtime nor by the process that it made; and an `exec` that came to nothing says so."""
    found = calls(victim, "exec", follow=True)
    names = [call.name for call in found]
    told = found[names.index("sendmsg")], found[names.index("write", names.index("sendmsg"))]
    for call in told:  # the runtime, and then that process
        victim.bring("exec")
        code, said = victim.faults.run(call.death(), *victim.arguments("exec"), follow=True)
        assert code == 255, call
        assert "killed" in said, call
        assert victim.remove(call.name) == []


@pytest.mark.parametrize("operation", ["create", "exec"])
def test_an_init_that_cannot_be_told_is_not_waited_for(operation: str, victim: Victim) -> None:
    for call in (c for c in calls(victim, operation) if c.name in ("sendmsg", "sendto")):
        victim.bring(operation)
        fault = f"inject={call.name}:error=ENOBUFS:when={call.nth}"
        code, said = victim.faults.run(fault, *victim.arguments(operation))
        assert code in (1, 255), call
        assert "No buffer space available" in said
        assert victim.remove(fault) == []
