"""Words for a document that is not JSON; imported only when there is one."""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+|\S')


def place(text: str, position: int) -> str:
    """Return "line L, column C" of a position in a text, both counted from 1."""
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - text.rfind(chr(10), 0, position)}"


def explain(data: bytes, text: str, error: Exception) -> str:
    """Return a sentence for what the scanner of `pyrunc.spec.json` raised about `text`."""
    if data.startswith(b"\xef\xbb\xbf"):
        return "not JSON: it begins with a byte order mark; write it without one"
    if not text.strip():
        return "not JSON: it is empty"
    if b"\x00" in data[:4]:
        return "not JSON: it seems to be UTF-16 or UTF-32; it must be UTF-8"
    if isinstance(error, SystemError):
        # the accelerator could not find this class of error; now that it is loaded, it can
        try:
            json.loads(text)
        except json.JSONDecodeError as found:
            error = found
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {place(text, error.pos)}: {error.msg[:1].lower()}{error.msg[1:]}"
    if isinstance(error, StopIteration):
        position = error.value if isinstance(error.value, int) else 0
        return f"not JSON: {place(text, position)}: expected a value"
    if isinstance(error, ValueError):
        return "a number has too many digits"
    name = str(error.args[0])
    if type(error).__name__ == "_DuplicateName":
        where, pointer = _second(text, name)
        return f"{where}: the name {json.dumps(name)} is twice in one object (at {pointer or '/'})"
    match = re.search(rf'(?<![\w"]){re.escape(name)}(?![\w"])', text)
    where = place(text, match.start() if match else 0)
    return f"not JSON: {where}: {name} is not a number that JSON knows"


def _second(text: str, name: str) -> tuple[str, str]:
    """Where `name` occurs for the second time in one object: (line and column, pointer of the
    object)."""
    frames: list[tuple[set[str] | None, list[str | int]]] = []
    path: list[str | int] = []
    previous = ""
    tokens = list(_TOKEN.finditer(text))
    best: tuple[str, str] | None = None
    for number, match in enumerate(tokens):
        token = match.group()
        if token in "{[":
            frames.append((set() if token == "{" else None, path))
            path = [*path, 0]
        elif token in "}]" and frames:
            path = frames.pop()[1]
        elif token == "," and frames and frames[-1][0] is None:
            path[-1] = int(path[-1]) + 1
        elif (
            token.startswith('"')
            and frames
            and (names := frames[-1][0]) is not None
            and previous in ("{", ",")
            and number + 1 < len(tokens)
            and tokens[number + 1].group() == ":"
        ):
            word = str(json.loads(token))
            if word in names and word == name:
                pointer = "".join(
                    "/" + str(part).replace("~", "~0").replace("/", "~1") for part in path[:-1]
                )
                best = (place(text, match.start()), pointer)
                break
            names.add(word)
            path[-1] = word
        previous = token
    return best or ("line 1, column 1", "")
