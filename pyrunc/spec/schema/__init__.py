"""The JSON Schema of runtime-spec 1.3, in our own files, and the code that reads them.

It is draft 4, whose "integer" is what Go's decoder takes for one: a number without fraction or
exponent, so 1.0 is none. The files are split by subject; `load` joins them.

Where engines write, and runc takes, what the specification's own schema refuses, so do we:
`rootfsPropagation` may be recursive (containerd writes `rshared`), `devices[].fileMode` may have
its file type bits, and `pids` need not have a limit (config-linux.md has it optional).
"""

from __future__ import annotations

import json
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The documents that have a schema.
DOCUMENTS = ("config", "state", "features", "process")


def load(document: str) -> dict[str, Any]:
    """Return the schema of a document, one of DOCUMENTS, with every reference replaced by its
    target."""
    files: dict[str, Any] = {}
    name = f"{document}.json"
    schema: dict[str, Any] = _joined(_file(files, name), name, files)
    schema.pop("definitions", None)
    return schema


def _file(files: dict[str, Any], name: str) -> Any:
    if name not in files:
        files[name] = json.loads(Path(__file__).with_name(name).read_text("utf-8"))
    return files[name]


def _joined(node: Any, current: str, files: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_joined(item, current, files) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" not in node:
        return {key: _joined(value, current, files) for key, value in node.items()}
    file, _, fragment = node["$ref"].partition("#")
    file = file or current
    target = _file(files, file)
    for part in fragment.split("/")[1:]:
        target = target[part]
    joined = _joined(target, file, files)
    if not fragment:
        joined.pop("definitions", None)
        joined.pop("$schema", None)
    return joined
