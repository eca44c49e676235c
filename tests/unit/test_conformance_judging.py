"""How the output of a validation program is judged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from conformance import tap
from conformance.known import Known
from conformance.run import Result, compare_with_known, regressions

TWO = """TAP version 13
ok 1 - first
not ok 2 - second
  ---
  {
    "error": "exit status 1",
    "stderr": "too bad\\n"
  }
  ...
ok 3 # SKIP not here
1..3
"""
LOOSE = """TAP version 13
  ---
  {
    "error": "hooks came in the wrong order"
  }
  ...
1..0
"""


def outcomes(text: str, status: int = 0, stderr: str = "") -> list[str]:
    return [point.outcome for point in tap.judge(text, status, stderr)]


def test_points() -> None:
    points = tap.judge(TWO, 0, "")
    assert [(p.outcome, p.description) for p in points] == [
        ("passed", "first"),
        ("failed", "second"),
        ("skipped", ""),
    ]
    assert points[1].reason == "error: exit status 1; stderr: too bad"


def test_several_documents_and_noise() -> None:
    assert outcomes(TWO + "noise\n" + TWO) == ["passed", "failed", "skipped"] * 2


def test_an_error_without_a_test_point_is_a_failure() -> None:
    (point,) = tap.judge(LOOSE, 0, "")
    assert (point.outcome, point.reason) == ("failed", "error: hooks came in the wrong order")


def test_a_block_before_the_point_that_it_belongs_to_is_none() -> None:
    text = 'TAP version 13\n  ---\n  {"stdout": "not ok 1"}\n  ...\nok 1 - inside\n1..1\n'
    assert outcomes(text) == ["passed"]


def test_the_exit_status_counts() -> None:
    assert outcomes("") == ["passed"]
    assert outcomes("TAP version 13\n1..0\n") == ["passed"]
    (point,) = tap.judge("", 1, "level=error msg=bad\nexit status 1\n")
    assert (point.outcome, point.reason) == ("failed", "level=error msg=bad")
    assert outcomes(TWO, 2) == ["passed", "failed", "skipped", "failed"]


def test_a_broken_plan_is_a_failure() -> None:
    assert outcomes("TAP version 13\nok 1 - a\n1..2\n") == ["passed", "failed"]


def test_todo_is_no_failure() -> None:
    assert outcomes("TAP version 13\nnot ok 1 # TODO some day\n1..1\n") == ["skipped"]


def result(*failed: str) -> Result:
    return Result([tap.Point("failed", description) for description in failed], 0.0, {})


@pytest.fixture
def known() -> list[Known]:
    return [Known("prog", "limit .*", "why"), Known("prog", "race", "why", always=False)]


def test_explained_failures(known: list[Known]) -> None:
    assert compare_with_known({"prog": result("limit 1", "limit 2", "race")}, known) == ([], [])
    assert compare_with_known({"prog": result("limit 1")}, known) == ([], [])


def test_unexplained_failures_and_missing_ones(known: list[Known]) -> None:
    unexplained, unseen = compare_with_known({"prog": result("other")}, known)
    assert [(name, point.description) for name, point in unexplained] == [("prog", "other")]
    assert unseen == [known[0]]


def test_an_entry_for_another_host_or_program_is_not_missed() -> None:
    other = Known("prog", "x", "why", when=lambda: False)
    assert compare_with_known({"prog": result()}, [other, Known("else", "x", "why")]) == ([], [])
    unexplained, _ = compare_with_known({"prog": result("x")}, [other])
    assert len(unexplained) == 1


def test_regressions_are_what_runc_does_not_fail() -> None:
    theirs = {"prog": result("both 17")}
    failures = [("prog", tap.Point("failed", "both 4")), ("prog", tap.Point("failed", "ours"))]
    assert regressions(failures, theirs) == [failures[1]]
