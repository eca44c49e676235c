"""What every operation of a plan is: fields in an order, with an encoding (see `operations`)."""

from __future__ import annotations

from _struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, dataclass_transform
else:

    def dataclass_transform(**_: object) -> object:
        return lambda cls: cls


_ONE = Struct("<I")
_TWO = Struct("<II")


def _encode_blob(value: bytes) -> bytes:
    return _ONE.pack(len(value)) + value


def _encode_text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise ValueError(f"{value!r} contains a NUL character")
    return _ONE.pack(len(data)) + data + b"\0"


def _encode_texts(values: list[str]) -> bytes:
    return _ONE.pack(len(values)) + b"".join(map(_encode_text, values))


def _encode_u32s(values: list[int]) -> bytes:
    return _ONE.pack(len(values)) + b"".join(map(_ONE.pack, values))


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "u32": _ONE.pack,
    "i32": Struct("<i").pack,
    "u64": Struct("<Q").pack,
    "Text": _encode_text,
    "Blob": _encode_blob,
    "Texts": _encode_texts,
    "U32s": _encode_u32s,
}

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
    _names: tuple[str, ...] = ()
    _encoders: tuple[tuple[str, Callable[[Any], bytes]], ...] = ()

    if not TYPE_CHECKING:

        def __init_subclass__(cls) -> None:
            cls.fields = tuple(cls.__dict__.get("__annotations__", {}).items())  # noqa: RUF063
            cls.opcode = len(REGISTRY)
            cls._names = tuple(name for name, _ in cls.fields)
            cls._encoders = tuple((name, _ENCODERS[kind]) for name, kind in cls.fields)
            REGISTRY.append(cls)

        def __init__(self, *values: Any, pointer: str = "", **named: Any) -> None:
            own = self.__dict__
            own.update(zip(self._names, values, strict=False), **named)
            count = len(self._names)
            if len(values) + len(named) != count or len(own) != count:
                raise TypeError(f"{type(self).__name__}: fields missing or unknown")
            if pointer:
                self.pointer = pointer

    def at(self, pointer: str) -> Any:
        """Set the JSON pointer that asked for this operation; returns the operation."""
        self.pointer = pointer
        return self

    def encode(self) -> bytes:
        """The operation as the init reads it."""
        own = self.__dict__
        body = b"".join([encode(own[name]) for name, encode in self._encoders])
        return _TWO.pack(self.opcode, len(body)) + body

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
