"""What `import pyrunc` gives, and what it costs those who only run commands."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import pyrunc
import pyrunc.aio


@pytest.mark.parametrize("name", pyrunc.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(pyrunc, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Runtmie'"):
        pyrunc.Runtmie  # noqa: B018


def test_all_errors_are_of_one_tree() -> None:
    errors = [value for name in pyrunc.__all__ if isinstance(value := getattr(pyrunc, name), type)]
    errors = [value for value in errors if issubclass(value, Exception)]
    assert len(errors) > 10
    for error in errors:
        assert issubclass(error, pyrunc.PyruncError)
    shown = pyrunc.OperationError("why", pointer="/mounts/3", errno=13, operation="mount")
    assert (shown.pointer, shown.errno, shown.operation) == ("/mounts/3", 13, "mount")


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import pyrunc; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["pyrunc"]


@pytest.mark.parametrize("kind", ["Runtime", "Container", "Process"])
def test_asyncio_has_the_same_methods_with_the_same_parameters(kind: str) -> None:
    blocking, waiting = getattr(pyrunc, kind), getattr(pyrunc.aio, kind)
    for name, method in inspect.getmembers(blocking, inspect.isfunction):
        if name.startswith("_"):
            continue
        other = getattr(waiting, name)
        assert list(inspect.signature(method).parameters) == list(
            inspect.signature(other).parameters
        )


@pytest.mark.parametrize("module", [pyrunc, pyrunc.aio])
def test_everything_public_is_documented_and_typed(module: object) -> None:
    undocumented = []
    for name in module.__all__:  # type: ignore[attr-defined]
        kind = getattr(module, name)
        if not inspect.isclass(kind):
            continue
        if not inspect.getdoc(kind):
            undocumented.append(name)
        for member, method in inspect.getmembers(kind, inspect.isfunction):
            if member.startswith("_") or not method.__module__.startswith("pyrunc"):
                continue
            if not inspect.getdoc(method):
                undocumented.append(f"{name}.{member}")
            assert "return" in method.__annotations__, f"{name}.{member}"
    assert undocumented == []
