"""The flags that `checkpoint` and `restore` share."""

from __future__ import annotations

import os

from pyrunc import log
from pyrunc.cli.parser import TEXT, TEXTS, Flag
from pyrunc.cli.settings import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

IMAGE_PATH = Flag(
    "image-path",
    "directory of the images (default: checkpoint in the current directory)",
    kind=TEXT,
    metavar="DIR",
)
CRIU_FLAGS = (
    IMAGE_PATH,
    Flag(
        "work-path",
        "directory of CRIU's log and its other files (default: that of the images)",
        kind=TEXT,
        metavar="DIR",
    ),
    Flag("tcp-established", "keep established TCP connections"),
    Flag("ext-unix-sk ext-unix", "go along with AF_UNIX sockets whose other end is outside"),
    Flag("shell-job", "go along with a process that has a terminal of the host"),
    Flag("file-locks", "keep file locks"),
    Flag(
        "manage-cgroups-mode",
        "what CRIU does to cgroups: soft, full, strict or ignore (default: soft)",
        kind=TEXT,
        metavar="MODE",
    ),
    Flag(
        "empty-ns",
        "leave out the contents of a namespace; only network can be, and always is",
        kind=TEXTS,
        metavar="TYPE",
    ),
    Flag(
        "network-lock",
        "how CRIU stops the network meanwhile: iptables, nftables or skip (default: CRIU's own)",
        kind=TEXT,
        metavar="METHOD",
    ),
    Flag("auto-dedup", "drop memory from the images of parents that is in later ones"),
)


def common_options(settings: Settings, arguments: Arguments, command: str) -> dict[str, Any]:
    """The arguments of `images.CriuOptions`."""
    if os.geteuid() != 0:
        log.warning(f"{command}: CRIU needs root; without it, little works")
    return {
        "image_path": absolute(arguments.text("image-path") or "checkpoint"),
        "work_path": absolute(arguments.text("work-path")),
        "tcp_established": arguments.switch("tcp-established"),
        "ext_unix_sk": arguments.switch("ext-unix-sk"),
        "shell_job": arguments.switch("shell-job"),
        "file_locks": arguments.switch("file-locks"),
        "auto_dedup": arguments.switch("auto-dedup"),
        "lazy_pages": arguments.switch("lazy-pages"),
        "manage_cgroups_mode": arguments.text("manage-cgroups-mode"),
        "network_lock": arguments.text("network-lock"),
        "empty_ns": arguments.texts("empty-ns"),
        "criu": settings.criu,
    }
