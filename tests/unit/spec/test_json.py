"""Reading and writing JSON."""

from __future__ import annotations

import json as stdlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.errors import BundleError
from pyrunc.spec import json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=30,
)


def refusal(data: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        json.loads(data, "config.json")
    message = str(caught.value)
    assert message.startswith("config.json: ")
    return message.removeprefix("config.json: ")


@given(VALUES, st.sampled_from([None, 1, 4]), st.booleans())
def test_what_the_standard_library_writes_is_read(
    value: Any, indent: int | None, ascii_only: bool
) -> None:
    text = stdlib.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert json.loads(text.encode(), "a") == value


@given(VALUES, st.sampled_from([0, 1, 2]))
def test_what_is_written_is_read_by_the_standard_library(value: Any, indent: int) -> None:
    text = json.dumps(value, indent)
    assert text.isascii()
    assert stdlib.loads(text) == value
    separators = (",", ":") if not indent else None
    assert text == stdlib.dumps(value, indent=indent or None, separators=separators)


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [-math.inf]}])
def test_numbers_that_json_has_no_form_for_are_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        json.dumps(value)


@pytest.mark.parametrize("value", [{1}, b"a", [object()]])
def test_values_that_json_has_no_form_for_are_not_written(value: object) -> None:
    for indent in (0, 2):
        with pytest.raises(TypeError, match="cannot be written as JSON"):
            json.dumps(value, indent)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b" \n\t", "it is empty"),
        (b"{]", "line 1, column 2"),
        (b'{\n  "a": 1\n "b"}', "line 3, column 2"),
        (b'{"a": tru}', "line 1, column 7: expected a value"),
        (b"{'a': 1}", "line 1, column 2"),
        (b'{"a": 1} {}', "line 1, column 10: text after the document's end"),
        (b'{"a": 1}\n\n  x', "line 3, column 3: text after the document's end"),
        (b"[1, 01]", "line 1, column 6"),
        (b"[NaN]", "line 1, column 2: NaN"),
        (b'["NaN",\n -Infinity]', "line 2, column 2: -Infinity"),
        (b'["a\nb"]', "line 1, column 4"),
        (b'["\\x41"]', "line 1, column 3"),
        (b'["\\ud8zz"]', "line 1"),
        (b"[" + b"1" * 5000 + b"]", "too many digits"),
        (b"// comment\n{}", "line 1, column 1"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(data: bytes, words: str) -> None:
    assert words in refusal(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("\ufeff{}".encode(), "byte order mark"),
        ("{}".encode("utf-16"), "UTF-16"),
        ("{}".encode("utf-16-le"), "UTF-16"),
        ("{}".encode("utf-16-be"), "UTF-16"),
        ("{}".encode("utf-32"), "UTF-16"),
        ("{}".encode("utf-32-be"), "UTF-32"),
        ('{"a": "é"}'.encode("latin-1"), "line 1, byte 8: byte 0xe9 is not valid UTF-8"),
        (b'{\n "a": "\xff"}', "line 2, byte 8: byte 0xff is not valid UTF-8"),
        (b'"\xc0\x80"', "byte 0xc0 is not valid UTF-8"),
        (b'"\xed\xa0\x80"', "byte 0xed is not valid UTF-8"),
    ],
)
def test_what_is_not_utf_8_is_refused(data: bytes, words: str) -> None:
    assert words in refusal(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": 1, "a": 2}', 'line 1, column 10: the name "a" is twice in one object (at /)'),
        (
            b'{"mounts": [{"a": {"a": 1}},\n {"type": "x",\n "type": "x"}]}',
            'line 3, column 2: the name "type" is twice in one object (at /mounts/1)',
        ),
        (
            b'{"a/b": {"c": "{\\"c\\":", "\\u0063": 1}}',
            'the name "c" is twice in one object (at /a~1b)',
        ),
    ],
)
def test_a_name_twice_in_one_object_is_refused_with_its_place(data: bytes, words: str) -> None:
    assert words in refusal(data)


def test_a_name_in_two_objects_is_no_duplicate() -> None:
    assert json.loads(b'[{"a": 1}, {"a": {"a": 1}}]', "a") == [{"a": 1}, {"a": {"a": 1}}]


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"a":[{"b":'])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    assert refusal(opening * 1_000_000) == "nested too deeply"


def test_members_that_are_null_are_left_out_on_request() -> None:
    data = b'{"a": null, "b": [null, {"c": null}], "d": {"e": null, "f": 0}}'
    assert json.loads(data, "a", nulls=False) == {"b": [None, {}], "d": {"f": 0}}
    assert json.loads(data, "a")["a"] is None  # type: ignore[index]


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0123a \n', max_size=40).map(str.encode))
def test_whatever_the_bytes_there_is_a_value_or_the_error(data: bytes) -> None:
    try:
        value = json.loads(data, "a")
    except BundleError:
        return
    assert stdlib.loads(data) == value
