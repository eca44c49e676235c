"""Makes an interpreter that was initialised when the package was built that of this process.

What the interpreter takes from the process when it starts, and what depends on where the package is
installed, is set here; launcher.c has the rest.
"""

import posix
import sys
from _io import open
from _signal import SIG_IGN, SIGINT, default_int_handler, signal


def resume(arguments, path, package, environment, ignored):
    """`environment` is environ(7), `ignored` the signals that are (as for a child of nohup)."""
    sys.argv = sys.orig_argv = arguments
    sys.path[:] = path
    sys._xoptions["pyrunc"] = package
    for name, module in sys.modules.items():
        if name.startswith("pyrunc") and "__path__" in module.__dict__:
            module.__path__[0] = f"{package}/{name.replace('.', '/')}"
    posix.environ.clear()
    for entry in environment:
        name, separator, value = entry.partition(b"=")
        if separator and name:
            posix.environ.setdefault(name, value)
    signal(SIGINT, default_int_handler)  # as is done when _signal is first imported
    for number in ignored:
        signal(number, SIG_IGN)
    # as they are made by an interpreter that starts in UTF-8 mode
    sys.stdin = sys.__stdin__ = stream(0, "r", "surrogateescape")
    sys.stdout = sys.__stdout__ = stream(1, "w", "surrogateescape")
    sys.stderr = sys.__stderr__ = stream(2, "w", "backslashreplace")
    sys.stderr.reconfigure(line_buffering=True)


def stream(fd, mode, errors):
    made = open(fd, mode, -1, "utf-8", errors, "\n", False)
    made.mode = mode
    return made
