"""Our schema, the specification's schema and the hot check give the same verdicts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
from helpers.config_corpus import EVERYTHING, FEATURES, STATE, corpus
from helpers.official_schema import load

from pyrunc.spec import codegen, schema
from pyrunc.spec.validate import schema_violations

#: How many variants of each document.
COUNT = {"config": 6000, "process": 1000, "state": 300, "features": 600}
DOCUMENTS = {
    "config": EVERYTHING,
    "process": EVERYTHING["process"],
    "state": STATE,
    "features": FEATURES,
}

#: What we accept and the specification's schema does not (see pyrunc/spec/schema/__init__.py):
#: (keyword, pattern of the pointer, whether the value is one that we mean to accept).
ACCEPTED_BY_US = (
    (
        "enum",
        r"/linux/rootfsPropagation",
        lambda value: value in ("rprivate", "rshared", "rslave", "runbindable"),
    ),
    ("maximum", r"/linux/devices/\d+/fileMode", lambda value: value <= 0xFFFF),
    ("required", r"/linux/resources/pids", lambda value: "limit" not in value),
)


def _validator(node: Any) -> Any:
    def pattern(_: Any, wanted: str, text: Any, __: Any) -> Iterator[Any]:
        if isinstance(text, str) and not re.search(wanted.replace("$", r"\Z"), text):
            yield jsonschema.ValidationError("does not match")

    # `$` of JSON Schema is the very end of a text, as it is in Go.
    kind: Any = jsonschema.validators.extend(jsonschema.Draft4Validator, {"pattern": pattern})
    return kind(node)


@pytest.fixture(scope="session")
def official_validators(specification: Path) -> dict[str, Any]:
    config = load(specification / "schema", "config-schema.json")
    return {
        "config": _validator(config),
        "process": _validator(config["properties"]["process"]),
        "state": _validator(load(specification / "schema", "state-schema.json")),
        "features": _validator(load(specification / "schema", "features-schema.json")),
    }


def _meant(error: Any, document: str) -> bool:
    pointer = "".join(f"/{part}" for part in error.absolute_path)
    return document == "config" and any(
        error.validator == keyword and re.fullmatch(place, pointer) and accepts(error.instance)
        for keyword, place, accepts in ACCEPTED_BY_US
    )


def _examples(specification: Path) -> list[Path]:
    return sorted((specification / "schema" / "test").glob("*/*/*.json"))


def test_the_examples_of_the_specification_get_their_verdict(specification: Path) -> None:
    verdicts = {"good": 0, "bad": 0}
    for path in _examples(specification):
        document, expected = path.parts[-3], path.parts[-2]
        try:
            found = schema_violations(json.loads(path.read_text("utf-8")), document)
        except ValueError:
            found = ["not JSON"]  # type: ignore[list-item]
        assert bool(found) == (expected == "bad"), path
        verdicts[expected] += 1
    assert verdicts["good"] > 5
    assert verdicts["bad"] > 5


@pytest.mark.parametrize("document", schema.DOCUMENTS)
def test_generated_documents_get_the_verdict_of_the_specification(
    document: str, official_validators: dict[str, Any]
) -> None:
    verdicts = {True: 0, False: 0}
    for value in corpus(DOCUMENTS[document], COUNT[document], seed=13):
        errors = list(official_validators[document].iter_errors(value))
        unmeant = [error for error in errors if not _meant(error, document)]
        found = schema_violations(value, document)
        assert bool(found) == bool(unmeant), (value, found, errors)
        verdicts[not unmeant] += 1
    assert min(verdicts.values()) > COUNT[document] // 10, "a corpus of one verdict shows nothing"


@pytest.mark.parametrize(
    "linux",
    [
        {"rootfsPropagation": "rshared"},
        {"devices": [{"type": "c", "path": "/dev/null", "fileMode": 0o20666}]},
        {"resources": {"pids": {}}},
    ],
)
def test_what_engines_write_is_accepted_though_the_specification_refuses_it(
    linux: dict[str, Any], official_validators: dict[str, Any]
) -> None:
    config = {"ociVersion": "1.3.0", "linux": linux}
    errors = list(official_validators["config"].iter_errors(config))
    assert errors, "no difference any more"
    assert all(_meant(error, "config") for error in errors)
    assert schema_violations(config) == []


@pytest.fixture(scope="session")
def hot_check() -> ModuleType:
    """The hot check as generated from the schema now, whatever was built before."""
    module = ModuleType("_check")
    exec(compile(codegen.generate(), "_check.py", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(
    ("document", "function"), [("config", "valid"), ("process", "valid_process")]
)
def test_the_hot_check_gives_the_verdict_of_the_schema(
    document: str, function: str, hot_check: ModuleType
) -> None:
    validator = _validator(schema.load(document))
    check = getattr(hot_check, function)
    verdicts = {True: 0, False: 0}
    for value in corpus(DOCUMENTS[document], COUNT[document], seed=17):
        expected = validator.is_valid(value)
        assert check(value) is expected, value
        verdicts[expected] += 1
    assert min(verdicts.values()) > COUNT[document] // 10, "a corpus of one verdict shows nothing"


@pytest.mark.parametrize("value", [None, [], "a", 1, True, {}])
def test_the_hot_check_refuses_what_is_no_configuration(
    value: object, hot_check: ModuleType
) -> None:
    assert not hot_check.valid(value)
    assert not hot_check.valid_process(value)


def test_the_corpus_has_every_property_of_the_schema() -> None:
    def missing(node: Any, value: Any, path: str) -> Iterator[str]:
        if node["type"] == "object":
            for name, child in node.get("properties", {}).items():
                if name not in value:
                    yield f"{path}/{name}"
                else:
                    yield from missing(child, value[name], f"{path}/{name}")
        elif node["type"] == "array" and isinstance(node["items"], dict):
            entries = [set(missing(node["items"], entry, f"{path}/*")) for entry in value]
            yield from set.intersection(*entries)

    for document, value in DOCUMENTS.items():
        assert list(missing(schema.load(document), value, "")) == []


def test_the_generated_check_imports_nothing(hot_check: ModuleType) -> None:
    text = codegen.generate()
    assert re.findall(r"^ *(?:import|from) .*", text, re.MULTILINE) == [
        "from __future__ import annotations"
    ]


def test_the_built_check_is_the_one_that_the_schema_gives() -> None:
    built = Path(codegen.__file__).with_name("_check.py")
    if not built.exists():
        pytest.skip("pyrunc/spec/_check.py is missing: the package was not built in place")
    assert built.read_text("utf-8") == codegen.generate()


@pytest.mark.parametrize(
    "node",
    [
        {"type": "string", "format": "uri"},
        {"type": "object", "properties": {}, "required": ["a"]},
        {"type": "string", "pattern": "^unknown$"},
        {"type": "number"},
    ],
)
def test_the_generator_refuses_what_it_does_not_know(
    node: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        codegen.schema, "load", lambda _: {"type": "object", "properties": {"a": node}}
    )
    with pytest.raises((ValueError, KeyError)):
        codegen.generate()
