"""Why the kernel refuses, where its error number leaves that unsaid. Used when something failed."""

from __future__ import annotations

import os

from pyrunc.cgroups.files import read_or_empty


def missing_file(directory: str, name: str) -> str:
    """Why a cgroup does not have a file.

    With v2 that is mostly a controller that does not reach the cgroup: each cgroup above must have
    it in cgroup.subtree_control, and one that has processes can pass no controller on.
    """
    controller = name.split(".", 1)[0]
    here = f"{directory}/cgroup.controllers"
    if not os.path.exists(here) or controller in (*read_or_empty(here).split(), "cgroup"):
        return "this kernel does not have it"
    above = directory
    while os.path.exists(f"{above}/cgroup.controllers"):
        if controller in read_or_empty(f"{above}/cgroup.controllers").split():
            reason = f"cgroup {above} does not pass controller {controller} on"
            # The root is the one that has no type, and may have processes all the same.
            typed = os.path.exists(f"{above}/cgroup.type")
            if typed and read_or_empty(f"{above}/cgroup.procs").strip():
                return f"{reason}, and cannot as long as it has processes"
            return reason
        above = os.path.dirname(above)
    return f"controller {controller} is not available in cgroup v2"


def refused_process(directory: str, error: OSError) -> str:
    """Why a cgroup of v2 takes no process."""
    kind = read_or_empty(f"{directory}/cgroup.type").strip()
    if error.errno == 16:  # EBUSY
        enabled = ", ".join(read_or_empty(f"{directory}/cgroup.subtree_control").split())
        return (
            f"it passes controllers ({enabled}) on to the cgroups in it, "
            "so processes can only be in those"
        )
    if error.errno == 95:  # EOPNOTSUPP
        return f"its type is {kind!r}: {TYPES.get(kind, 'it takes no process of its own')}"
    return ""


# What cgroup.type means to one who wants to have a container there (cgroup-v2.rst, "Threads").
TYPES = {
    "domain invalid": "a cgroup above it is threaded, or has processes and threaded cgroups",
    "domain threaded": "it is the root of a subtree for threads",
    "threaded": "only threads of one process above it can be in it",
}
