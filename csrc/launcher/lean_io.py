"""Stands for the module `io` in the launcher: what sys.stdin, sys.stdout and sys.stderr are made with.

When anything else of it is asked for it becomes the real one, which makes abstract base classes.
"""

import sys
from _io import TextIOWrapper, open  # noqa: F401

_FILE = f"{sys.path[0]}/io.py"


def __getattr__(name):
    if name.startswith("__") and name != "__all__":
        raise AttributeError(name)
    del globals()["__getattr__"]
    with open(_FILE, "rb") as file:
        exec(compile(file.read(), _FILE, "exec"), globals())
    return globals()[name]
