"""Where the public names are."""

from __future__ import annotations

from importlib import import_module

_PLACES = {
    "pyrunc.library.bundle": ("Bundle",),
    "pyrunc.library.core": ("Event", "Result"),
    "pyrunc.library.process": ("Process",),
    "pyrunc.library.runtime": ("Container", "Runtime"),
    "pyrunc.library.stdio": ("DEVNULL", "PIPE", "STDOUT"),
    "pyrunc.plan.operation": ("Operation",),
    "pyrunc.plan.plan": ("Plan",),
}


def find(name: str) -> object:
    """The public object of this name: an error, if it is nothing else."""
    for place, names in _PLACES.items():
        if name in names:
            return getattr(import_module(place), name)
    return getattr(import_module("pyrunc.errors"), name)
