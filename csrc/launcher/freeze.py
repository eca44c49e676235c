"""Writes the modules that the launcher carries: `python csrc/launcher/freeze.py PACKAGES DIRECTORY`.

A module that is part of the executable needs no look-up, no reading and no check of its file; that is
most of what an import costs. The launcher offers them to the interpreter as frozen modules
(https://docs.python.org/3/c-api/import.html#c.PyImport_FrozenModules).

PACKAGES is the directory that holds the package, DIRECTORY where `frozen_modules.h` and
`frozen_modules.bin` go.
"""

from __future__ import annotations
import __future__

import ast
import marshal
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "pyrunc"

#: Modules that the interpreter imports before it gets to the package, and what stands for them.
STDLIB = {name: Path(__file__).with_name(f"lean_{name}.py") for name in ("encodings", "io")}

#: Imported by the frozen package first of all.
EXTENSIONS = "pyrunc_extensions"

#: The launcher's own: what its image imports, and what is done when it starts.
OWN = {f"pyrunc_{name}": Path(__file__).with_name(f"{name}.py") for name in ("preload", "resume")}

#: What is used of another package, in whose place stands one that does not import all of it.
JEEPNEY = "jeepney"
JEEPNEY_MODULES = ("low_level", "wrappers")

#: Stands for `os` in the modules of the package.
LEAN_OS = "pyrunc.host.lean_os"


class UseLeanOs(ast.NodeTransformer):
    """`import os` becomes `import pyrunc.host.lean_os as os`; so does `import os.path`."""

    def visit_Import(self, node: ast.Import) -> ast.Import:
        for alias in node.names:
            if alias.name in ("os", "os.path") and alias.asname is None:
                alias.name, alias.asname = LEAN_OS, "os"
        return node


class StripTypes(ast.NodeTransformer):
    """Takes away what only type checkers read, and `from __future__ import annotations` with it.

    The annotations of classes stay, as they may be what the class is made of.

    Attributes:
        modules: imports from these are left out.
    """

    def __init__(self, modules: set[str]) -> None:
        self.modules = modules

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return None if node.module in self.modules else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        match node.test:
            case ast.Name("TYPE_CHECKING"):
                kept = node.orelse
            case ast.UnaryOp(ast.Not(), ast.Name("TYPE_CHECKING")):
                kept = node.body
            case _:
                return self.generic_visit(node)
        nothing = ast.copy_location(ast.Pass(), node)
        return [self.visit(statement) for statement in kept] or nothing


def extensions() -> ast.stmt:
    """`PLACES` for extensions.py: the compiled modules of the hot commands."""
    suffix = EXTENSION_SUFFIXES[0]
    places = {
        "_cffi_backend": f"_cffi_backend{suffix}",
        "pyrunc.host._shim": "pyrunc/host/_shim.abi3.so",
        "pyrunc.host._seccomp": "pyrunc/host/_seccomp.abi3.so",
    }
    json = find_spec("_json")
    if json is not None and json.origin is not None and json.origin.endswith(suffix):
        places["_json"] = json.origin
    return ast.parse(f"PLACES = {places!r}").body[0]


def modules(packages: Path) -> list[tuple[str, Path]]:
    """Name and file of each module to freeze, the standard library's first.

    A module of the package that asks for its own file is left where that file is.
    """
    found = [*STDLIB.items(), *OWN.items(), (EXTENSIONS, Path(__file__).with_name("extensions.py"))]
    for path in sorted((packages / PACKAGE).rglob("*.py")):
        if "__file__" in path.read_text(encoding="utf-8"):
            continue
        parts = path.relative_to(packages).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append((name, path))
    return [*found, *jeepney_modules()]


def jeepney_modules() -> list[tuple[str, Path]]:
    """Those of jeepney; none where it is not installed."""
    spec = find_spec(JEEPNEY)
    if spec is None or not spec.submodule_search_locations:
        return []
    place = Path(spec.submodule_search_locations[0])
    package = (JEEPNEY, Path(__file__).with_name("lean_jeepney.py"))
    return [package, *((f"{JEEPNEY}.{name}", place / f"{name}.py") for name in JEEPNEY_MODULES)]


def is_package(name: str, path: Path) -> bool:
    return path.name == "__init__.py" or name in ("encodings", JEEPNEY)


def frozen(name: str, path: Path) -> bytes:
    """The code of a module, without docstrings. A package learns where its other files are."""
    tree = ast.parse(path.read_bytes(), str(path))
    ours = name.partition(".")[0] == PACKAGE
    if ours and name != LEAN_OS:
        tree = UseLeanOs().visit(tree)
    # what jeepney has of typing it has in annotations
    types = {"__future__", "typing"} if name.startswith(JEEPNEY) else {"__future__"}
    tree = StripTypes(types).visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            strip_docstring(node)
    filename = f"{name.replace('.', '/')}.py" if ours else path.name
    if is_package(name, path):
        place = "/" + name.replace(".", "/")
        if ours:
            filename = f"{place[1:]}/__init__.py"
            source = f"__path__ = [__import__('sys')._xoptions['{PACKAGE}'] + '{place}']"
        else:  # what is not frozen is beside the rest of the standard library
            source = f"__path__ = [place + '{place}' for place in __import__('sys').path]"
        if name == PACKAGE:
            source += f"\nimport {EXTENSIONS}"
        tree.body[:0] = ast.parse(source).body
    elif name == EXTENSIONS:
        tree.body[:0] = [extensions()]
    flags = __future__.annotations.compiler_flag
    return marshal.dumps(compile(tree, filename, "exec", flags, dont_inherit=True))


def strip_docstring(
    node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
) -> None:
    if ast.get_docstring(node, clean=False) is None:
        return
    if len(node.body) == 1 and not isinstance(node, ast.Module):
        node.body = [ast.copy_location(ast.Pass(), node.body[0])]
    else:
        del node.body[0]


def main(packages: Path, directory: Path) -> None:
    blob = bytearray()
    index = []
    for name, path in modules(packages):
        code = frozen(name, path)
        package = int(is_package(name, path))
        index.append(f'\t{{"{name}", {len(blob)}, {len(code)}, {package}}},\n')
        blob += code
    binary = directory / "frozen_modules.bin"
    header = (
        f'#define FROZEN_BINARY "{binary.resolve()}"\n'
        f"static const struct frozen_module frozen_modules[] = {{\n{''.join(index)}}};\n"
    )
    for file, data in ((binary, bytes(blob)), (directory / "frozen_modules.h", header.encode())):
        if not file.exists() or file.read_bytes() != data:
            file.write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
