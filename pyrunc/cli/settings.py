"""The values of the global flags, as commands need them."""

from __future__ import annotations

import os

from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments

CGROUP_MANAGERS = ("cgroupfs", "systemd", "disabled")

ROOTLESS = ("auto", "true", "false")


def absolute(path: str) -> str:
    """Absolute form of a path; "" stays "", which stands for none.

    Raises:
        UsageError: it is relative, and the current directory has been deleted.
    """
    try:
        return os.path.abspath(path) if path else ""
    except FileNotFoundError:
        raise UsageError(
            f'"{path}": the current directory does not exist any more; give absolute paths'
        ) from None


class Settings:
    """Global settings of one call.

    Attributes:
        cgroup_driver: "cgroupfs", "systemd" or "disabled".
        rootless: "auto", "true" or "false": whether to do without privileges on the host.
        criu: the CRIU program.
    """

    __slots__ = ("_root", "cgroup_driver", "criu", "rootless")

    def __init__(self, arguments: Arguments) -> None:
        self._root = arguments.text("root")
        systemd = arguments.switch("systemd-cgroup")
        self.cgroup_driver = arguments.text(
            "cgroup-manager", "systemd" if systemd else CGROUP_MANAGERS[0]
        )
        if self.cgroup_driver not in CGROUP_MANAGERS:
            raise UsageError(
                f"--cgroup-manager {self.cgroup_driver}: must be one of"
                f" {', '.join(CGROUP_MANAGERS)}"
            )
        self.rootless = arguments.text("rootless", ROOTLESS[0])
        if self.rootless not in ROOTLESS:
            raise UsageError(f"--rootless {self.rootless}: must be one of {', '.join(ROOTLESS)}")
        self.criu = arguments.text("criu", "criu")

    @property
    def root(self) -> str:
        """Absolute path of the directory that holds the state of all containers."""
        if self._root:
            return absolute(self._root)
        from pyrunc.container.store import default_root

        return default_root()
