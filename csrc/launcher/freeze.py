"""Writes the modules that the launcher carries: `python csrc/launcher/freeze.py PACKAGES DIRECTORY`.

A module that is part of the executable needs no look-up, no reading and no check of its file; that is
most of what an import costs. The launcher offers them to the interpreter as frozen modules
(https://docs.python.org/3/c-api/import.html#c.PyImport_FrozenModules).

PACKAGES is the directory that holds the package, DIRECTORY where `frozen_modules.h` and
`frozen_modules.bin` go.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
from pathlib import Path

PACKAGE = "pyrunc"

#: What the interpreter itself imports from files before it gets to the package.
STDLIB = ("__future__", "encodings", "encodings.aliases", "encodings.utf_8")

#: Stands for `os` in the modules of the package.
LEAN_OS = "pyrunc.host.lean_os"


class UseLeanOs(ast.NodeTransformer):
    """`import os` becomes `import pyrunc.host.lean_os as os`; so does `import os.path`."""

    def visit_Import(self, node: ast.Import) -> ast.Import:
        for alias in node.names:
            if alias.name in ("os", "os.path") and alias.asname is None:
                alias.name, alias.asname = LEAN_OS, "os"
        return node


def modules(packages: Path) -> list[tuple[str, Path]]:
    """Name and file of each module to freeze, the standard library's first.

    A module of the package that asks for its own file is left where that file is.
    """
    found = []
    for name in STDLIB:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        found.append((name, Path(spec.origin)))
    for path in sorted((packages / PACKAGE).rglob("*.py")):
        if "__file__" in path.read_text(encoding="utf-8"):
            continue
        parts = path.relative_to(packages).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append((name, path))
    return found


def frozen(name: str, path: Path) -> bytes:
    """The code of a module, without docstrings. A package learns where its other files are."""
    tree = ast.parse(path.read_bytes(), str(path))
    if name.partition(".")[0] == PACKAGE and name != LEAN_OS:
        tree = UseLeanOs().visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            strip_docstring(node)
    filename = f"{name.replace('.', '/')}.py"
    if path.name == "__init__.py":
        filename = f"{name.replace('.', '/')}/__init__.py"
        if name == "encodings":
            # the many that are not frozen are beside the rest of the standard library
            source = "__path__ = [place + '/encodings' for place in __import__('sys').path]"
            tree.body[after_futures(tree) : 0] = ast.parse(source).body
        if name.partition(".")[0] == PACKAGE:
            place = "/" + name.replace(".", "/")
            tree.body[after_futures(tree) : 0] = ast.parse(
                f"__path__ = [__import__('sys')._xoptions['{PACKAGE}'] + '{place}']"
            ).body
    return marshal.dumps(compile(tree, filename, "exec", dont_inherit=True))


def strip_docstring(
    node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
) -> None:
    if ast.get_docstring(node, clean=False) is None:
        return
    if len(node.body) == 1 and not isinstance(node, ast.Module):
        node.body = [ast.copy_location(ast.Pass(), node.body[0])]
    else:
        del node.body[0]


def after_futures(tree: ast.Module) -> int:
    """Index of the first statement that may be something else than an import from __future__."""
    count = 0
    while count < len(tree.body):
        node = tree.body[count]
        if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        count += 1
    return count


def main(packages: Path, directory: Path) -> None:
    blob = bytearray()
    index = []
    for name, path in modules(packages):
        code = frozen(name, path)
        package = int(path.name == "__init__.py")
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
