"""Boots a virtual machine in qemu, waits until it powers off, and reads what it wrote to its disk of results."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

from vm.images import Image

RESULTS_SIZE = 64 << 20


class TimeLimitError(Exception):
    """The machine was still running when its time was over."""


def command(
    image: Image,
    checkout: Path,
    results: Path,
    mountpoint: Path,
    *,
    accelerator: str,
    memory: int,
    append: str = "",
) -> list[str]:
    """The command line of qemu.

    Args:
        image: root disk, never changed: writes to it are forgotten.
        checkout: image of the disk that is mounted at `mountpoint`.
        results: raw disk that the machine writes a tar archive to.
        accelerator: emulation works anywhere; "kvm" is fast where it works, and may hang inside a virtual machine.
        memory: MiB.
        append: more of the kernel's command line.
    """
    words = f"root=/dev/vda rw console=ttyS0 quiet systemd.show_status=no vm.checkout={mountpoint}"
    disks = {
        "root": f"file={image.disk},snapshot=on",
        "checkout": f"file={checkout},cache=unsafe",
        "results": f"file={results},cache=unsafe",
    }
    return [
        "qemu-system-x86_64",
        *("-accel", accelerator),
        *("-cpu", "max"),
        *("-smp", "2"),
        *("-m", str(memory)),
        "-nodefaults",
        "-nographic",
        "-no-reboot",
        *("-serial", "stdio"),
        *("-kernel", str(image.kernel)),
        *("-initrd", str(image.initrd)),
        *("-append", f"{words} {append}".strip()),
        *(word for name, disk in disks.items() for word in _disk(name, disk)),
    ]


def _disk(name: str, disk: str) -> tuple[str, ...]:
    """A disk that the machine finds at /dev/disk/by-id/virtio-NAME; they are vda, vdb, … in their order."""
    return (
        *("-drive", f"if=none,format=raw,id={name},{disk}"),
        *("-device", f"virtio-blk-pci,drive={name},serial={name}"),
    )


def boot(arguments: list[str], console: Path, limit: float) -> None:
    """Run qemu until the machine powers off; its console goes to our output and to a file.

    Raises:
        TimeLimitError: it took more than `limit` seconds; it is gone now.
        RuntimeError: qemu failed.
    """
    with console.open("wb") as log:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        copier = threading.Thread(target=_copy, args=(process, log))
        copier.start()
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            raise TimeLimitError(f"the machine was still running after {limit:g} s") from None
        finally:
            process.kill()
            process.wait()
            copier.join()
    if status != 0:
        raise RuntimeError(f"qemu: exit status {status}")


def _copy(process: subprocess.Popen[bytes], log: object) -> None:
    assert process.stdout is not None
    while data := os.read(process.stdout.fileno(), 65536):
        log.write(data)  # type: ignore[attr-defined]
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


def read_results(disk: Path, directory: Path) -> None:
    """Unpack what the machine wrote to its disk of results.

    Raises:
        RuntimeError: it wrote nothing, or not all.
    """
    try:
        with tarfile.open(disk, mode="r:") as archive:
            members = archive.getmembers()
            archive.extractall(directory, members)
    except tarfile.TarError as error:
        raise RuntimeError(f"the results came back damaged: {error}") from None
    if not members:
        raise RuntimeError("no results came back: the machine did not run to its end")
