"""Reads the JSON schema of runtime-spec itself, with its references replaced by what they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load(directory: Path, reference: str) -> Any:
    """Return the schema that `reference`, FILE or FILE#POINTER, names in a directory."""
    name, _, pointer = reference.partition("#")
    node = json.loads((directory / name).read_text("utf-8"))
    # One reference of v1.3.0 lacks its first slash (ArrayOfUint32 in defs.json).
    for part in pointer.removeprefix("/").split("/") if pointer else ():
        node = node[part]
    return _replace(directory, name, node)


def _replace(directory: Path, name: str, node: Any) -> Any:
    if isinstance(node, list):
        return [_replace(directory, name, item) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("$ref"), str):
        # In draft 4 what is beside a reference does not count.
        file, _, pointer = node["$ref"].partition("#")
        return load(directory, f"{file or name}#{pointer}")
    return {
        key: _replace(directory, name, value) for key, value in node.items() if key != "definitions"
    }
