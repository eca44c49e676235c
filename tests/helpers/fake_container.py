"""A stand-in of `pyrunc.container` that records what the command line asks of it."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

from pyrunc.errors import NotFoundError

PROCESS = {
    "args": ["sh"],
    "cwd": "/",
    "env": ["PATH=/bin"],
    "user": {"uid": 0, "gid": 0, "additionalGids": [5]},
    "capabilities": {
        "bounding": ["CAP_KILL"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_CHOWN"],
        "permitted": ["CAP_KILL"],
        "ambient": [],
    },
    "terminal": True,
    "noNewPrivileges": True,
}


class Options(SimpleNamespace):
    """CreateOptions and ExecOptions: whatever is given."""


class FakeContainer:
    """A container that is there when its id is in `ids`."""

    ids: tuple[str, ...] = ()
    calls: list[tuple[Any, ...]] = []  # noqa: RUF012
    root = ""

    def __init__(self, name: str) -> None:
        self.id = name
        self.status = "running"
        self.store = SimpleNamespace(read_config=lambda: {"process": PROCESS})

    @classmethod
    def load(cls, root: str, name: str) -> FakeContainer:
        cls.root = root
        if name not in cls.ids:
            raise NotFoundError(f"container {name} does not exist")
        return cls(name)

    def document(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "id": self.id,
            "ociVersion": "1.3.0",
            "status": "running",
            "pid": 42,
            "bundle": f"/b/{self.id}",
            "rootfs": f"/b/{self.id}/rootfs",
            "created": "2026-01-02T03:04:05.123456789Z",
            "owner": "",
        }
        if self.id == "noted":
            state["annotations"] = {"a": "b"}
        return state

    def pids(self) -> list[int]:
        return [42, 7]

    def _record(self, *call: Any) -> None:
        self.calls.append((call[0], self.id, *call[1:]))

    def start(self) -> None:
        self._record("start")

    def kill(self, signal: int, all: bool = False) -> None:
        self._record("kill", signal, all)

    def delete(self, force: bool = False) -> None:
        self._record("delete", force)

    def pause(self) -> None:
        self._record("pause")

    def resume(self) -> None:
        self._record("resume")

    def update(self, resources: dict[str, Any], rdt: dict[str, Any]) -> None:
        self._record("update", resources, rdt)

    def exec(self, process: dict[str, Any], options: Options) -> int:
        self._record("exec", process, options)
        return 7


def modules(ids: tuple[str, ...]) -> dict[str, ModuleType]:
    """The modules to put into sys.modules; the container's class is new each time."""
    container = type("Container", (FakeContainer,), {"ids": ids, "calls": []})
    calls: list[Any] = container.calls  # type: ignore[attr-defined]
    package = "pyrunc.container"
    found: dict[str, Any] = {
        name: ModuleType(name)
        for name in (
            package,
            *(f"{package}.{m}" for m in ("container", "creation", "execute", "running", "store")),
        )
    }

    def create(root: str, name: str, bundle: Any, options: Options) -> None:
        calls.append(("create", name, bundle, options))

    def run(root: str, name: str, bundle: Any, options: Options) -> int:
        calls.append(("run", name, bundle, options))
        return 9

    def delete_remains(root: str, name: str) -> None:
        calls.append(("delete", name, True))

    found[package].__path__ = []
    found[f"{package}.container"].Container = container
    found[f"{package}.container"].delete_remains = delete_remains
    found[f"{package}.creation"].create = create
    found[f"{package}.creation"].CreateOptions = Options
    found[f"{package}.execute"].ExecOptions = Options
    found[f"{package}.running"].run = run
    found[f"{package}.store"].default_root = lambda: "/default"
    found[f"{package}.store"].list_ids = lambda root: sorted(ids)
    found[f"{package}.store"].check_id = lambda name: None
    return found
