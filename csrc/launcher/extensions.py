"""Finds the compiled modules that most commands load, without listing the directories of the search path.

`PLACES` is written in front of this by freeze.py: by name, a path or one relative to the package's directory.
"""

import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        place = PLACES.get(name)  # noqa: F821
        if place is None:
            return None
        if place[0] != "/":
            place = f"{sys._xoptions['pyrunc']}/{place}"
        try:
            posix.stat(place)
        except OSError:
            return None  # it is elsewhere: the search path tells
        return ModuleSpec(name, ExtensionFileLoader(name, place), origin=place)


sys.meta_path.insert(-1, Finder)
