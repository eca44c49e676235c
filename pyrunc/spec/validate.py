"""Says what is wrong with a document: every violation, with its JSON pointer, in plain sentences.

This is the slow and talkative check. It is used when the hot check (`pyrunc.spec._check`) has
refused a document, and by `pyrunc validate`.
"""

from __future__ import annotations

import functools
import json
import re

from pyrunc.errors import Violation
from pyrunc.spec import rules, schema
from pyrunc.spec.annotations import moved
from pyrunc.spec.texts import text_violations
from pyrunc.spec.words import escape, quoted, without_nulls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jsonschema.exceptions import ValidationError


def violations(document: object, schema: str = "config") -> list[Violation]:
    """Return all that is wrong with a document; an empty list when nothing is.

    Args:
        document: the JSON value. A member whose value is null counts as absent, as in Go.
        schema: which document it is: "config", "state", "features" or "process".
    """
    document = without_nulls(document)
    if schema == "config" and isinstance(document, dict):
        document = moved(document)
    found, damaged = _check(document, schema)
    if schema not in ("config", "process") or not isinstance(document, dict):
        return found
    found += text_violations(document)
    lost = []
    while damaged:
        for path in damaged:
            _take_out(document, path)
            lost.append(_pointer(path))
        damaged = [path for path in _check(document, schema)[1] if _at(document, path) is not None]
    broken = rules.broken(document, lost) if schema == "config" else rules.broken_process(document)
    # What a rule misses may be there, and be what was taken out.
    return found + [v for v in broken if not any(_within(pointer, v.pointer) for pointer in lost)]


def schema_violations(document: object, schema: str = "config") -> list[Violation]:
    """Return what the schema alone finds wrong with a document."""
    return _check(without_nulls(document), schema)[0]


Path = tuple["str | int", ...]


def _check(document: object, name: str) -> tuple[list[Violation], list[Path]]:
    """Return what the schema finds, and the paths of what to take out for it to find nothing."""
    found: dict[Violation, None] = {}
    damaged: dict[Path, None] = {}
    for error in _validator(name).iter_errors(document):
        path: Path = tuple(error.absolute_path)
        for violation in _worded(error, _pointer(path)):
            found[violation] = None
        if path:
            damaged[path] = None
    return list(found), list(damaged)


@functools.cache
def _validator(name: str) -> Any:
    import jsonschema

    extend: Any = jsonschema.validators.extend
    return extend(jsonschema.Draft4Validator, {"pattern": _match_pattern})(schema.load(name))


def _match_pattern(validator: Any, pattern: str, text: object, _: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    # `$` of JSON Schema is the very end; that of Python also stands before a final newline.
    if isinstance(text, str) and not re.search(pattern.replace("$", r"\Z"), text):
        yield ValidationError("does not match")


def _pointer(path: Path) -> str:
    return "".join(f"/{escape(str(part))}" for part in path)


def _within(pointer: str, outer: str) -> bool:
    return pointer == outer or pointer.startswith(outer + "/")


def _worded(error: ValidationError, pointer: str) -> Iterator[Violation]:
    instance: Any = error.instance
    if error.validator == "required":
        required: Any = error.validator_value
        for name in required:
            if name not in instance:
                yield Violation(f"{pointer}/{escape(name)}", "required, and missing")
    elif error.validator == "minItems":
        yield Violation(pointer, f"expected at least {error.validator_value} in the array")
    else:
        yield Violation(pointer, f"expected {_expected(error.schema)}, not {_shown(instance)}")


_NOUNS = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "boolean": "true or false",
    "integer": "an integer",
}


def _expected(node: Any) -> str:
    if "enum" in node:
        return "one of " + ", ".join(json.dumps(value) for value in node["enum"])
    if "pattern" in node or ("maximum" in node and "description" in node):
        return str(node["description"])
    noun = _NOUNS[node["type"]]
    if "maximum" in node:
        return f"{noun} from {node['minimum']} to {node['maximum']}"
    if "minimum" in node:
        return f"{noun} from {node['minimum']}"
    return noun


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return _NOUNS["object"]
    if isinstance(value, list):
        return _NOUNS["array"]
    if isinstance(value, str):
        return quoted(value)
    text = json.dumps(value)
    return text if len(text) < 40 else f"a number of {len(text)} digits"


def _take_out(document: object, path: Path) -> None:
    """Remove the member at `path`; in place of an entry of an array leave None."""
    parent = _at(document, path[:-1])
    if isinstance(parent, list):
        parent[int(path[-1])] = None
    elif isinstance(parent, dict):
        parent.pop(path[-1], None)


def _at(document: Any, path: Path) -> Any:
    """Return the value at `path`, or None when it was taken out."""
    for part in path:
        if document is None or (isinstance(document, dict) and part not in document):
            return None
        document = document[part]
    return document
