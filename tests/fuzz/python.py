"""Runs one target of Python under atheris: `python -m fuzz.python TARGET [libFuzzer's arguments]`."""

from __future__ import annotations

import json
import random
import sys

import atheris
from helpers.config_corpus import mutated

with atheris.instrument_imports(include=["pyrunc"]):
    from fuzz.targets import TARGETS


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """Change a value of a JSON document, in place of a byte of it, three times of four."""
    source = random.Random(seed)
    if source.random() < 0.75:
        try:
            changed = json.dumps(mutated(json.loads(data), source)).encode()
        except (ValueError, RecursionError):
            pass
        else:
            if len(changed) <= size:
                return changed
    result: bytes = atheris.Mutate(data, size)
    return result


if __name__ == "__main__":
    name = sys.argv.pop(1)
    structured = {} if name == "command-line" else {"custom_mutator": mutate}
    atheris.Setup(sys.argv, TARGETS[name], **structured)
    atheris.Fuzz()
