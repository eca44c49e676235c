"""The grammar of the command line: that of runc's flags, and some of crun's."""

from __future__ import annotations

import pytest

from pyrunc.cli.parser import (
    DURATION,
    NUMBER,
    NUMBERS,
    TEXT,
    TEXTS,
    Flag,
    UnknownFlagError,
    parse,
)
from pyrunc.errors import UsageError

FLAGS = (
    Flag("all a", "all"),
    Flag("detach d", "detach"),
    Flag("tty t", "tty"),
    Flag("bundle b", "bundle", kind=TEXT, metavar="DIR"),
    Flag("env e", "env", kind=TEXTS, metavar="VAR"),
    Flag("fds", "fds", kind=NUMBER, metavar="N"),
    Flag("gids g", "gids", kind=NUMBERS, metavar="GID"),
    Flag("interval", "interval", kind=DURATION, metavar="TIME"),
)


@pytest.mark.parametrize(
    "words",
    [
        ["--bundle", "/b", "id"],
        ["--bundle=/b", "id"],
        ["-bundle", "/b", "id"],
        ["-bundle=/b", "id"],
        ["-b", "/b", "id"],
        ["-b=/b", "id"],
        ["--b", "/b", "id"],
        ["id", "--bundle", "/b"],
        ["--bundle", "/a", "-b", "/b", "id"],
        ["--bundle", "/b", "--", "id"],
    ],
)
def test_forms_of_a_value(words: list[str]) -> None:
    arguments = parse(FLAGS, words, in_order=False)
    assert arguments.text("bundle") == "/b"
    assert arguments.positional == ["id"]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], False),
        (["-a"], True),
        (["--all"], True),
        (["-all"], True),
        (["--all=true"], True),
        (["--all=T"], True),
        (["--all=0"], False),
        (["--all", "--all=false"], False),
    ],
)
def test_switches(words: list[str], value: bool) -> None:
    arguments = parse(FLAGS, words, in_order=False)
    assert arguments.switch("all") is value
    assert arguments.given("all") is bool(words)


def test_repeated_flags_are_collected_in_order() -> None:
    words = ["-e", "A=1", "--env", "B=x=y", "--env=", "-g", "7", "--gids=010"]
    arguments = parse(FLAGS, words, in_order=False)
    assert arguments.texts("env") == ["A=1", "B=x=y", ""]
    assert arguments.numbers("gids") == [7, 8]


def test_a_value_may_begin_with_a_dash() -> None:
    assert parse(FLAGS, ["--bundle", "--all"], in_order=False).text("bundle") == "--all"


def test_in_order_the_first_argument_ends_the_flags() -> None:
    words = ["-t", "id", "ls", "-d", "--", "--bundle"]
    arguments = parse(FLAGS, words, in_order=True)
    assert arguments.positional == ["id", "ls", "-d", "--", "--bundle"]
    assert arguments.switch("tty")
    assert not arguments.switch("detach")


def test_double_dash_ends_the_flags() -> None:
    arguments = parse(FLAGS, ["-t", "--", "id", "-d", "--"], in_order=False)
    assert arguments.positional == ["id", "-d", "--"]


def test_a_dash_alone_is_an_argument() -> None:
    assert parse(FLAGS, ["-"], in_order=False).positional == ["-"]


def test_letters_may_be_joined() -> None:
    arguments = parse(FLAGS, ["-td", "-ab", "/b", "id"], in_order=False)
    assert all(arguments.switch(name) for name in ("tty", "detach", "all"))
    assert arguments.text("bundle") == "/b"


@pytest.mark.parametrize(
    ("text", "number"),
    [("3", 3), ("-1", -1), ("0x10", 16), ("010", 8), ("0b11", 3), ("1_000", 1000), ("0", 0)],
)
def test_numbers_as_go_reads_them(text: str, number: int) -> None:
    assert parse(FLAGS, [f"--fds={text}"], in_order=False).number("fds") == number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5.0), ("1m30s", 90.0), ("250ms", 0.25), ("1.5h", 5400.0), ("0", 0.0), ("-2us", -2e-6)],
)
def test_durations_as_go_reads_them(text: str, seconds: float) -> None:
    parsed = parse(FLAGS, [f"--interval={text}"], in_order=False).seconds("interval", 1.0)
    assert parsed == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bundle"], "--bundle needs a value: --bundle DIR"),
        (["-b"], "--bundle needs a value: --bundle DIR"),
        (["--all=yes"], '--all="yes": must be true or false'),
        (["--all="], '--all="": must be true or false'),
        (["--fds", "x"], '--fds "x": must be an integer'),
        (["--fds", "09"], '--fds "09": must be an integer'),
        (["--fds", ""], '--fds "": must be an integer'),
        (["--gids", "1,2"], '--gids "1,2": must be an integer'),
        (["--interval", "5"], '--interval "5": must be a duration'),
        (["--interval", "s"], '--interval "s": must be a duration'),
        (["--interval", ""], '--interval "": must be a duration'),
        (["--interval", "1x"], '--interval "1x": must be a duration'),
    ],
)
def test_wrong_values_name_the_flag(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(FLAGS, words, in_order=False)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("word", "flag"),
    [
        ("--bogus", "--bogus"),
        ("--bogus=1", "--bogus"),
        ("-x", "-x"),
        ("-tx", "-tx"),
        ("-bt", "-bt"),
        ("--td", "--td"),
        ("---all", "---all"),
        ("-=x", "-"),
        ("--=x", "--"),
    ],
)
def test_unknown_flags(word: str, flag: str) -> None:
    with pytest.raises(UnknownFlagError) as caught:
        parse(FLAGS, [word], in_order=False)
    assert caught.value.flag == flag
