"""Bundles, for programs."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any, TypeAlias

from pyrunc.errors import BundleError, Violation
from pyrunc.spec import loader, template
from pyrunc.spec.json import dumps, loads
from pyrunc.spec.validate import violations

#: A path in the file system.
Path: TypeAlias = str | os.PathLike[str]


class Bundle(loader.Bundle):
    """A directory with a root filesystem, and the configuration for a container of it (runtime-spec, bundle.md).

    `Bundle.load` reads one, `Bundle.of` takes the configuration from the program.

    Attributes:
        path: absolute path of the directory, without symbolic links.
        config: the configuration, checked, without members that are null. To change it, change a copy (`copy_config`)
            and pass that to `Bundle.of`.
        rootfs: absolute path of the root filesystem, without symbolic links.
    """

    __slots__ = ()

    @classmethod
    def load(cls, path: Path, config_file: Path | None = None) -> Bundle:
        """Read the bundle in a directory, and check all of its configuration.

        Args:
            path: the directory.
            config_file: read this file instead of its config.json.

        Raises:
            BundleError: it cannot be read, or has no root filesystem.
            ConfigError: the configuration is wrong; `violations` has everything that is.
        """
        file = None if config_file is None else os.path.abspath(os.fspath(config_file))
        return cls._of(loader.load_bundle(os.path.abspath(os.fspath(path)), file))

    @classmethod
    def of(cls, path: Path, config: Mapping[str, Any]) -> Bundle:
        """A bundle with a configuration that is in no file.

        Args:
            path: the bundle's directory; `root.path` is relative to it.
            config: the configuration, of which a copy is made.

        Raises: as `load` does.
        """
        place = os.path.realpath(os.fspath(path))
        return cls._of(loader.check_bundle(place, _encoded(config), "config"))

    @classmethod
    def _of(cls, bundle: loader.Bundle) -> Bundle:
        return cls(bundle.path, bundle.config, bundle.rootfs)

    @staticmethod
    def default_config(*, rootless: bool = False) -> dict[str, Any]:
        """A new configuration to start from: what `pyrunc spec` writes. It runs `sh` with a terminal in `rootfs`.

        Args:
            rootless: for a caller without privileges.
        """
        return template.default_config(rootless)

    @staticmethod
    def validate(bundle: Path | Mapping[str, Any]) -> list[Violation]:
        """All that is wrong with a configuration, by the specification's schema and its rules.

        Args:
            bundle: the directory of a bundle, a file, or the configuration itself.

        Returns an empty list for one that is right. That the host can do what it asks for is another question.

        Raises:
            BundleError: the file cannot be read, or is no JSON.
        """
        if isinstance(bundle, Mapping):
            return violations(loads(_encoded(bundle), "config"))
        path = os.path.abspath(os.fspath(bundle))
        if os.path.isdir(path):
            path = os.path.join(path, "config.json")
        return violations(loads(loader.read_file(path), path))

    def copy_config(self) -> dict[str, Any]:
        """A copy of the configuration, to be changed."""
        return copy.deepcopy(self.config)

    def __repr__(self) -> str:
        return f"Bundle({self.path!r})"


def _encoded(config: Mapping[str, Any]) -> bytes:
    try:
        return dumps(dict(config)).encode()
    except (TypeError, ValueError) as error:
        raise BundleError(f"config: no JSON can be made of it: {error}") from None
