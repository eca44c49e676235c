"""Disk images of Debian, built from Debian's packages once and kept by a digest of all that goes into them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

#: Changes whenever the way in which an image is made does, but not what describes it here.
RECIPE = 2
SUITE = "bookworm"
USER = "tester"
USER_ID = 1000

PACKAGES = (
    # the system
    "systemd systemd-sysv dbus dbus-user-session libpam-systemd initramfs-tools zstd apparmor kmod",
    # what pyrunc and its tests need
    "python3 libseccomp2 linux-libc-dev uidmap busybox-static iproute2 iptables procps strace jq git tini",
    # what the programs that attack containers are built with
    "gcc libc6-dev",
    # engines and other runtimes
    "podman netavark conmon containerd containernetworking-plugins runc crun criu ca-certificates",
)

#: Modules of the kernel that the disks and the root filesystem need; nothing else goes into the initrd.
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")


class Kernel(NamedTuple):
    """A kernel that Debian has.

    Attributes:
        suite: where it comes from; the rest of the system is always of `SUITE`.
        package: the package that depends on the newest build.
        note: why it is of interest.
    """

    suite: str
    package: str
    note: str


@cache
def mirror(codename: str) -> str:
    """From where this system has a suite, without the final slash; others are beside it."""
    found = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Identifier: Packages",
            f"Codename: {codename}",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if not found:
        raise SystemExit(f"apt has no source of {codename}")
    return found[0].rstrip("/")


KERNELS = {
    "6.1": Kernel("bookworm-security", "linux-image-cloud-amd64", "Debian 12"),
    "6.12": Kernel("bookworm-backports", "linux-image-cloud-amd64", "Debian 13, backported"),
    "newest": Kernel(
        "trixie-backports", "linux-image-cloud-amd64", "the newest that is backported"
    ),
    "5.10": Kernel("bullseye-security", "linux-image-cloud-amd64", "below the floor: refused"),
}
DEFAULT_KERNEL = "6.1"

FILES = {
    "etc/hostname": "laboratory\n",
    "etc/fstab": "/dev/vda / ext4 noatime 0 1\n",
    "etc/subuid": f"{USER}:100000:65536\n",
    "etc/subgid": f"{USER}:100000:65536\n",
    "etc/systemd/system/vm-tests.service": """\
[Unit]
Description=What the second disk says is to be done
After=multi-user.target apparmor.service
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/vm-tests
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0

[Install]
WantedBy=graphical.target
""",
    "usr/local/sbin/vm-tests": """\
#!/bin/sh
# The checkout lies where it lies outside, so that its virtual environment finds itself.
set -eu
for word in $(cat /proc/cmdline); do
	case $word in vm.checkout=*) checkout=${word#vm.checkout=} ;; esac
done
mkdir -p "$checkout"
mount /dev/disk/by-id/virtio-checkout "$checkout"
cd "$checkout/tests"
exec /usr/bin/python3 -m vm.guest /dev/disk/by-id/virtio-results
""",
    "usr/local/bin/run-parts": """\
#!/bin/sh
# For the packages of kernels: those of Debian 13 give several directories, that of Debian 12 takes one.
set -eu
directories=
for word; do
	shift
	case $word in
	-*) set -- "$@" "$word" ;;
	*) directories="$directories $word" ;;
	esac
done
for directory in $directories; do
	[ ! -d "$directory" ] || /usr/bin/run-parts "$@" "$directory"
done
""",
    "etc/kernel/postinst.d/0-boot": """\
#!/bin/sh
# Kernels of Debian 13 have their files elsewhere than the tools of Debian 12 look for them.
for name in config vmlinuz; do
	[ -e "/boot/$name-$1" ] || cp "/usr/lib/modules/$1/$name" "/boot/$name-$1"
done
""",
    "etc/systemd/journald.conf.d/laboratory.conf": "[Journal]\nStorage=volatile\n",
    # what a user gets to limit containers: all that systemd can give, which is more than it gives by itself
    "etc/systemd/system/user@.service.d/laboratory.conf": "[Service]\nDelegate=yes\n",
    "etc/initramfs-tools/conf.d/laboratory": "MODULES=list\nRESUME=none\n",
    "etc/initramfs-tools/modules": "".join(f"{name}\n" for name in BOOT_MODULES),
}
_EXECUTABLE = (
    "usr/local/sbin/vm-tests",
    "usr/local/bin/run-parts",
    "etc/kernel/postinst.d/0-boot",
)

#: Run in the new root once everything is unpacked.
SETUP = f"""\
set -eu
rm /usr/local/bin/run-parts
useradd --create-home --uid {USER_ID} --shell /bin/bash {USER}
mkdir -p /var/lib/systemd/linger
touch /var/lib/systemd/linger/{USER}
systemctl enable vm-tests.service
systemctl set-default graphical.target
systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \\
	e2scrub_reap.service fstrim.timer getty@tty1.service serial-getty@ttyS0.service systemd-timesyncd.service \\
	containerd.service podman.service podman-auto-update.timer podman-restart.service
systemctl mask --quiet --global podman.service podman.socket podman-auto-update.timer podman-restart.service
rm -rf /usr/share/doc /usr/share/man /usr/share/locale /var/lib/apt/lists
"""


class Image(NamedTuple):
    """A built image: the root disk, and what boots it."""

    disk: Path
    kernel: Path
    initrd: Path


def sources(kernel: Kernel) -> list[str]:
    """The lines of sources.list."""
    suites = [SUITE, f"{SUITE}-updates", f"{SUITE}-security", kernel.suite]
    return [
        f"deb {mirror(f'{SUITE}-security' if suite.endswith('-security') else SUITE)} {suite} main"
        for suite in dict.fromkeys(suites)
    ]


def preferences(kernel: Kernel) -> str:
    """Pins of apt_preferences(5): from a foreign suite come the kernel, and what only it can give."""
    if kernel.suite.startswith(f"{SUITE}-security"):
        return ""
    return (
        f"Package: *\nPin: release n={kernel.suite}\nPin-Priority: 100\n\n"
        f"Package: src:linux src:linux-signed-amd64 src:linux-base\nPin: release n={kernel.suite}\n"
        "Pin-Priority: 990\n"
    )


def digest(name: str) -> str:
    """A digest of all that goes into the image with the kernel `name`."""
    inputs = [RECIPE, PACKAGES, KERNELS[name], FILES, SETUP]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]


def build(name: str, cache: Path) -> Image:
    """The image with the kernel `name`, from the cache if it is there.

    Raises:
        RuntimeError: it could not be built.
    """
    directory = cache / f"{name}-{digest(name)}"
    image = Image(directory / "disk.img", directory / "vmlinuz", directory / "initrd.img")
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / f".{name}.lock"):
        if not directory.is_dir():
            for old in cache.glob(f"{name}-*"):
                shutil.rmtree(old)
            with TemporaryDirectory(dir=cache, prefix=".new-") as temporary:
                _build(name, Path(temporary))
                (Path(temporary) / "image").rename(directory)
    return image


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(name: str, work: Path) -> None:
    if os.geteuid() != 0:
        raise RuntimeError("building an image of a system needs root")
    kernel = KERNELS[name]
    root, image = work / "root", work / "image"
    pins = work / "preferences"
    pins.write_text(preferences(kernel))
    setup = work / "setup"
    setup.write_text(SETUP)
    overlay = work / "overlay"
    for path, text in FILES.items():
        file = overlay / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if path in _EXECUTABLE else 0o644)
    run(
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={' '.join(PACKAGES)}",
        f"--setup-hook=install -D -m 644 {pins} $1/etc/apt/preferences.d/laboratory",
        # early, as the initrd is made from some of it
        f"--essential-hook=cp -r --preserve=mode {overlay}/. $1/",
        # after the rest: so the tools that its initrd is made with are complete
        "--customize-hook=chroot $1 apt-get -q -y --no-install-recommends"
        f" -o DPkg::Path=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin install {kernel.package}",
        f"--customize-hook=chroot $1 sh -s < {setup}",
        SUITE,
        str(root),
        *sources(kernel),
    )
    image.mkdir()
    boot = root / "boot"
    (vmlinuz,) = boot.glob("vmlinuz-*")
    (initrd,) = boot.glob("initrd.img-*")
    shutil.move(vmlinuz, image / "vmlinuz")
    shutil.move(initrd, image / "initrd.img")
    make_disk(image / "disk.img", root, room=1 << 30)
    shutil.rmtree(root)


def make_disk(disk: Path, tree: Path, *, room: int) -> None:
    """An ext4 image of a directory tree, with `room` bytes more than it takes. Raises RuntimeError."""
    used = int(run("du", "--summarize", "--block-size=1", str(tree)).split()[0])
    size = used + used // 8 + room
    with disk.open("wb") as file:
        file.truncate(size)
    run("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", str(tree), str(disk))


def run(*command: str) -> str:
    """The output of a command.

    Raises:
        RuntimeError: it failed or is not there; with what it said.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise RuntimeError(f"{command[0]} is not there: scripts/install-deps vm") from None
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout
