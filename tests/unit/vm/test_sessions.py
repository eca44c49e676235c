from __future__ import annotations

from pathlib import Path

import pytest
from vm import guest
from vm.results import Failure, Summary, again, read_statuses, report, summarize
from vm.sessions import SESSIONS, Session, select

ROOT = Session("root", "", ("tests/integration",), {"A": "b c"}, 60)


def test_sessions_have_names_of_their_own() -> None:
    assert len({session.name for session in SESSIONS}) == len(SESSIONS)


def test_all_sessions_unless_some_are_named() -> None:
    usual = select([], [])
    assert usual == [s for s in SESSIONS if not s.by_name]
    assert {"root", "systemd", "rootless"} <= {s.name for s in usual}
    assert "integration" not in {s.name for s in usual}
    first, last = SESSIONS[0], SESSIONS[-1]
    assert select([last.name, first.name], []) == [last, first]


def test_tests_replace_those_of_a_session() -> None:
    (session,) = select([SESSIONS[0].name], ["tests/unit", "-x"])
    assert session.tests == ("tests/unit", "-x")
    assert session.user == SESSIONS[0].user


def test_a_session_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="no session 'nosuch'"):
        select(["nosuch"], [])


def test_command_of_root() -> None:
    line = guest.command(ROOT)
    assert line[0] == "systemd-run"
    assert "--user" not in line
    assert "--setenv=A=b c" in line
    assert "--property=RuntimeMaxSec=60" in line
    assert line[-1] == "tests/integration"
    assert "--property=PrivateMounts=yes" not in line
    assert "--property=PrivateMounts=yes" in guest.command(ROOT._replace(own_mounts=True))


def test_command_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    line = guest.command(ROOT._replace(user="root"))
    assert line[:4] == ["runuser", "--user", "root", "--"]
    assert line.index("--user", 4) > line.index("systemd-run")
    assert "XDG_RUNTIME_DIR=/run/user/0" in line


def test_output_has_the_name_of_the_session(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sh", "-c", "echo one; echo two >&2; exit 3"]
    monkeypatch.setattr(guest, "command", lambda session: words)
    assert guest.run(ROOT) == 3
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == ["=== root", "root: one", "root: two"]
    assert said[3].startswith("=== root: exit 3 after ")


def write_junit(directory: Path, **counts: int) -> None:
    attributes = " ".join(f'{name}="{value}"' for name, value in counts.items())
    (directory / "root.xml").write_text(f"<testsuites><testsuite {attributes}/></testsuites>")


def test_a_session_that_passed(tmp_path: Path) -> None:
    write_junit(tmp_path, tests=5, failures=0, errors=0, skipped=2)
    assert summarize(ROOT, tmp_path, {"root": 0}) == Summary("root", 3, 0, 2, "")


@pytest.mark.parametrize(
    ("counts", "status", "problem"),
    [
        ({"tests": 5, "failures": 1, "errors": 0, "skipped": 0}, 1, "exit status 1"),
        ({"tests": 5, "failures": 0, "errors": 1, "skipped": 0}, 1, "exit status 1"),
        ({"tests": 5, "failures": 0, "errors": 0, "skipped": 0}, 2, "exit status 2"),
        ({"tests": 2, "failures": 0, "errors": 0, "skipped": 2}, 0, "no test passed"),
        ({"tests": 0, "failures": 0, "errors": 0, "skipped": 0}, 0, "no test passed"),
    ],
)
def test_a_session_with_a_problem(
    tmp_path: Path, counts: dict[str, int], status: int, problem: str
) -> None:
    write_junit(tmp_path, **counts)
    assert summarize(ROOT, tmp_path, {"root": status}).problem == problem


def test_what_failed_is_reported_with_the_end_of_its_traceback(tmp_path: Path) -> None:
    traceback = "\n".join(f"line {number}" for number in range(100))
    (tmp_path / "root.xml").write_text(
        '<testsuites><testsuite tests="2" failures="1" errors="0" skipped="0">'
        '<testcase classname="tests.a.test_a" file="tests/a/test_a.py" name="test_good"/>'
        '<testcase classname="tests.a.test_a.TestB" file="tests/a/test_a.py" name="test_bad[1]">'
        f"<failure>{traceback}</failure></testcase></testsuite></testsuites>"
    )
    summary = summarize(ROOT, tmp_path, {"root": 1})
    lines = report([summary]).splitlines()
    assert lines[0] == "root: FAILED tests/a/test_a.py::TestB::test_bad[1]"
    assert lines[1:-2] == [f"    line {number}" for number in range(70, 100)]
    assert again([ROOT], [summary]) == [
        ROOT._replace(tests=("tests/a/test_a.py::TestB::test_bad[1]",))
    ]


def test_nothing_is_run_again_but_tests_that_failed() -> None:
    good = Summary("root", 3, 0, 1, "")
    cut = Summary("other", 0, 0, 0, "did not run to its end")
    bad = Summary("root", 1, 1, 0, "exit status 1", (Failure("a::b", ""),))
    assert again([ROOT], [good]) == []
    assert again([ROOT, ROOT], [bad, cut]) == []
    assert len(again([ROOT, ROOT], [good, bad])) == 1


def test_a_session_that_was_cut_short(tmp_path: Path) -> None:
    assert summarize(ROOT, tmp_path, {"root": 0}).problem == "did not run to its end"
    write_junit(tmp_path, tests=5, failures=0, errors=0, skipped=0)
    assert summarize(ROOT, tmp_path, {}).problem == "did not run to its end"


def test_statuses(tmp_path: Path) -> None:
    assert read_statuses(tmp_path) == {}
    (tmp_path / "status.json").write_text('{"root": 3}')
    assert read_statuses(tmp_path) == {"root": 3}


def test_report() -> None:
    text = report([Summary("a", 3, 0, 1, ""), Summary("b", 1, 2, 0, "exit status 1")])
    assert text.splitlines() == [
        "a: 3 passed, 0 failed, 1 skipped",
        "b: 1 passed, 2 failed, 0 skipped (exit status 1)",
        "4 passed, 2 failed, 1 skipped",
    ]
