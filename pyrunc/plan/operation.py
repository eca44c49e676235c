"""What every operation of a plan is: fields in an order, with an encoding (see `operations`)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, dataclass_transform
else:

    def dataclass_transform(**_: object) -> object:
        return lambda cls: cls


#: All operations; the index of each is its opcode.
REGISTRY: list[type[Operation]] = []


@dataclass_transform(kw_only_default=False)
class Operation:
    """One step of a plan.

    Attributes:
        pointer: the JSON pointer in config.json that asked for it; "" when the runtime itself does.
        opcode: its number in the encoding.
        fields: ((name, type), ...) in encoding order.
    """

    opcode = -1
    fields: tuple[tuple[str, str], ...] = ()
    pointer = ""

    if not TYPE_CHECKING:

        def __init_subclass__(cls) -> None:
            cls.fields = tuple(cls.__dict__.get("__annotations__", {}).items())  # noqa: RUF063
            cls.opcode = len(REGISTRY)
            REGISTRY.append(cls)

        def __init__(self, *values: Any, pointer: str = "", **named: Any) -> None:
            fields = self.fields
            if len(values) > len(fields):
                raise TypeError(f"{type(self).__name__} takes {len(fields)} fields")
            for (name, _), value in zip(fields, values, strict=False):
                setattr(self, name, value)
            for name, value in named.items():
                setattr(self, name, value)
            if len(values) + len(named) != len(fields):
                raise TypeError(f"{type(self).__name__}: fields missing or unknown")
            if pointer:
                self.pointer = pointer

    def at(self, pointer: str) -> Any:
        """Set the JSON pointer that asked for this operation; returns the operation."""
        self.pointer = pointer
        return self

    def encode(self) -> bytes:
        """The operation as the init reads it."""
        body = b""
        for name, kind in self.fields:
            body += _ENCODERS[kind](getattr(self, name))
        return self.opcode.to_bytes(4, "little") + len(body).to_bytes(4, "little") + body

    def describe(self) -> str:
        """What it does, in one line, for a person."""
        return " ".join(f"{name}={getattr(self, name)}" for name, _ in self.fields)

    def to_json(self) -> dict[str, Any]:
        """The operation as a JSON object."""
        value: dict[str, Any] = {"operation": type(self).__name__}
        if self.pointer:
            value["pointer"] = self.pointer
        for name, _ in self.fields:
            field = getattr(self, name)
            value[name] = field.hex() if isinstance(field, bytes) else field
        return value

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)!r}" for name, _ in self.fields)
        return f"{type(self).__name__}({inner})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = object.__hash__


def _encode_u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _encode_blob(value: bytes) -> bytes:
    return len(value).to_bytes(4, "little") + value


def _encode_text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise ValueError(f"{value!r} contains a NUL character")
    return len(data).to_bytes(4, "little") + data + b"\0"


def _encode_texts(values: list[str]) -> bytes:
    return len(values).to_bytes(4, "little") + b"".join(map(_encode_text, values))


def _encode_u32s(values: list[int]) -> bytes:
    return len(values).to_bytes(4, "little") + b"".join(map(_encode_u32, values))


_ENCODERS: dict[str, Any] = {
    "u32": _encode_u32,
    "i32": lambda value: value.to_bytes(4, "little", signed=True),
    "u64": lambda value: value.to_bytes(8, "little"),
    "Text": _encode_text,
    "Blob": _encode_blob,
    "Texts": _encode_texts,
    "U32s": _encode_u32s,
}
