"""The differences that are right, each with its reason. They are with runc 1.1 and crun 1.8; where
a later version behaves otherwise the reason says so, and the row can go when the tests meet that
version.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from helpers.differential.compare import Accepted
from helpers.differential.dimensions import UNPRIVILEGED

_HYBRID = os.path.ismount("/sys/fs/cgroup/unified")
_V1 = os.path.ismount("/sys/fs/cgroup/devices")
_SYSTEMD = "--systemd-cgroup" in os.environ.get("PYRUNC_OPTIONS", "")
_KCORE = os.path.exists("/proc/kcore")

#: Soft and hard limit that containers inherit.
_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
_MOUNTS = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
#: Options of /sys.
_SYS = next((fields[5].split(",") for fields in _MOUNTS if fields[4] == "/sys"), [])
#: Where the bundles are, mounts are shared or slaves.
_PROPAGATING = any(
    fields[4] == "/" and fields[6].startswith(("shared:", "master:")) for fields in _MOUNTS
)

_DEV_FUSE = r"(/bin/sh: )?/probe: line \d+: can't open /dev/fuse"
_DENIED = r"(Operation not permitted|Permission denied)"
_TMPFS = r"tmpfs \w+ root=/ \[[a-z,]+\]"


def _shown_and_not(point: str, shown: str, not_shown: str) -> str:
    """A mount that pyrunc has as `shown` and the reference as `not_shown`."""
    return rf"mountinfo: (\+{point} {shown}|-{point} {not_shown})"


RUNC = [
    Accepted(
        "runc",
        _shown_and_not(
            r"/sys on /:",
            r"sysfs sysfs root=/ \[nodev,noexec,nosuid,relatime,ro\] .*",
            r"sysfs sysfs root=/ \[relatime,ro\] .*",
        ),
        "an option of a bind mount takes no other back; runc 1.1 does not carry over what the source has",
        {"namespaces": ["host network"]},
        on="nodev" in _SYS,
    ),
    Accepted(
        "runc",
        r"mountinfo: [-+]/sys/\S+ on /sys: .* (master|master shared|shared)",
        "runc makes only / a slave where slave is asked for: it shares the rest of what is mounted with"
        " the host, and masks it there",
        {"namespaces": ["host network"], "propagation": ["slave"]},
        on="nodev" in _SYS,
    ),
    Accepted(
        "runc",
        r"limits: [-+]Max open files +\d+ +\d+ +files *",
        "the runtime library of Go raises the soft limit of runc to the hard one",
        on=_FILES[0] != _FILES[1],
    ),
    Accepted(
        "runc",
        r"run: (-failed: .*rootfs, flags: 0x5000: invalid argument\"|\+ran)",
        "runc 1.1 binds the rootfs after it has made it unbindable",
        {"propagation": ["unbindable"]},
    ),
    Accepted(
        "runc",
        r"run: (-failed: .*open /dev/null: operation not permitted\"|\+ran)",
        "a device that is listed is not in the default device rules any more, with which runc then"
        " fails to open /dev/null itself",
        {"devices": ["default again"]},
    ),
    Accepted(
        "runc",
        r"run: (-failed: .*mount /dev/pipe.*: no such file or directory\"|\+ran)",
        "in a user namespace runc binds devices from the host, even FIFOs, which need no privilege",
        {"devices": ["fifo"], "namespaces": ["user"]},
    ),
    Accepted(
        "runc",
        r"files: [-+]/mnt\|directory\|(711|755)\|7\|8\|40",
        "runc 1.1 overrides the option mode of a tmpfs with the mode of the mount point",
        {"mounts": ["tmpfs with options"]},
    ),
    Accepted(
        "runc",
        r"tree: [-+]new/deep/file 100(644|755) \d+:\d+",
        "the file that a file is bound over need not be executable",
        {"mounts": ["new destinations"]},
    ),
    Accepted(
        "runc",
        r"names: [-+]/proc/sys/kernel/domainname .*",
        "runc 1.1 does not know domainname",
        {"kernel": ["names"]},
    ),
    Accepted(
        "runc",
        r"values: [-+]/proc/self/personality 0000000[08]",
        "runc 1.1 does not know personality",
        {"kernel": ["personality"]},
    ),
    Accepted(
        "runc",
        r"hooks: [-+](prestart|createRuntime|createContainer) \w+: (created|creating), .*",
        "the status is created after step 2 of the lifecycle, and these hooks are steps 3 to 5"
        " (runtime.md); runc says creating until create is done",
        {"hooks": ["create", "old", "all"]},
    ),
    Accepted(
        "runc",
        r"hooks: [-+]poststart (first|second): (created|running), .*",
        "runc tells poststart hooks the status before the start; the program has been started",
    ),
    Accepted(
        "runc",
        _shown_and_not(r"/ on \(none\):", r".* shared", r".*"),
        "runc 1.1 does not apply rootfsPropagation to the root that the container gets; 1.2 does",
        {"propagation": ["shared"]},
    ),
    Accepted(
        "runc",
        _shown_and_not(
            r"(/sys/fs)?/cgroup on \S+",
            r"tmpfs tmpfs root=/ \[nodev,noexec,nosuid,relatime,ro\] .*",
            r"tmpfs tmpfs root=/ \[nodev,noexec,nosuid,relatime,rw\] .*",
        ),
        "runc leaves the tmpfs of a cgroup v1 mount writable although it is to be read-only",
        on=_V1,
    ),
    Accepted(
        "runc",
        _shown_and_not(
            r"(/sys/fs)?/cgroup/systemd on \S+",
            r"cgroup cgroup root=/ .*",
            r"cgroup systemd root=/ .*",
        ),
        "the source of a cgroup mount has no meaning",
        on=_V1,
    ),
    Accepted(
        "runc",
        r"writable: (\+.*/sys/fs/cgroup/.try: Read-only file system"
        r"|-.*/sys/fs/cgroup/.try: Permission denied|-/sys/fs/cgroup is writable)",
        "runc leaves the tmpfs of a cgroup v1 mount writable although it is to be read-only",
        {"mounts": ["mqueue and cgroup"]},
        on=_V1,
    ),
    Accepted(
        "runc",
        r"mountinfo: \+(/sys/fs)?/cgroup/unified on \S+: cgroup2 .*",
        "runc leaves out the cgroup2 hierarchy of a hybrid host, which the container is in as well",
        on=_HYBRID,
    ),
    Accepted(
        "runc",
        r"(status: [-+]Groups:|id: [-+]uid=\d+ gid=\d+).*",
        "runc leaves an unprivileged user the groups that it has, though none are asked for; with subordinate ids"
        " they can be given up",
        {"user": ["root", "root with umask", "other"]},
        on=UNPRIVILEGED,
    ),
    Accepted(
        "runc",
        r"run: (-failed: .*cannot set any additional groups in a rootless container\"|\+ran)",
        "with subordinate ids groups can be set",
        {"user": ["groups", "umask"]},
        on=UNPRIVILEGED,
    ),
]

CRUN = [
    Accepted(
        "crun",
        r"run: (-failed: unshare `CLONE_NEWNS`: Operation not permitted|\+ran)",
        "crun 1.8 fails with any device that is listed if it is run without privileges",
        {"devices": ["character", "block", "fifo", "no mode", "default again"]},
        on=UNPRIVILEGED,
    ),
    Accepted(
        "crun",
        r"cgroup: [-+]0::/\S+\.scope(/container)?",
        "as in runc, the container is in the scope itself, not in a cgroup below it",
        on=_SYSTEMD and not _V1,
    ),
    Accepted(
        "crun",
        r"resources: [-+]pids.max (max|\d+)",
        "as in runc, systemd's own limit of processes remains where the config has none",
        {"resources": ["none", "devices", "all devices"]},
        on=_SYSTEMD and not _V1,
    ),
    Accepted(
        "crun",
        _shown_and_not(r"/\S* on \S+:", r".* master( shared)?", r"(?!.* master( shared)?$).*"),
        "as in runc, a rootfs on a shared mount is its slave; crun makes it private",
        {"propagation": ["unset", "slave", "shared"]},
        on=_PROPAGATING,
    ),
    Accepted(
        "crun",
        r"mountinfo: -/mnt on /: .* shared",
        "crun leaves a bind mount in a user namespace a peer of the host's, which then gets what is"
        " mounted in it",
        {"mounts": ["bind"], "namespaces": ["user"]},
        on=_PROPAGATING,
    ),
    Accepted(
        "crun",
        r"mountinfo: [-+](/sys/fs)?/cgroup on \S+ cgroup2 cgroup2? .*",
        "the source of a cgroup mount has no meaning",
        on=not _V1,
    ),
    Accepted(
        "crun",
        r"run: (-failed: mount `tmpfs` to `mnt`: Invalid argument|\+ran)",
        "crun 1.8 does not know nosymfollow",
        {"mounts": ["times and symlinks"]},
    ),
    Accepted(
        "crun",
        r"run: (-failed: (error executing hook `/hook` .*)?|\+ran)",
        "crun runs startContainer hooks without the container's root privileges, so that they"
        " cannot open a /dev/null which is somebody else's; at times it fails without a word",
        {"devices": ["default again"], "hooks": ["start", "all"]},
    ),
    Accepted(
        "crun",
        r"run: (-ran|\+failed: .*open_tree /dev/(sub/loop|plain): No such file or directory .*)",
        "as in runc, devices of a user namespace are bound from the host, which lacks these",
        {"devices": ["block", "no mode"], "namespaces": ["user"]},
    ),
    Accepted(
        "crun",
        r"(dev|mountinfo): [-+]/dev/(fuse|pipe|null|zero|full|random|urandom|tty)( on .*|\|.*)",
        "as in runc, devices of a user namespace are bound from the host, with their owner and mode"
        " there; crun makes those of the config on a tmpfs, and binds the others with more options",
        {"namespaces": ["user"]},
    ),
    Accepted(
        "crun",
        rf"devices: (-/dev/fuse opens|\+{_DEV_FUSE}: {_DENIED})",
        "as in runc, a device that is listed may be used only if a rule for devices says so",
        {"devices": ["character"]},
    ),
    Accepted(
        "crun",
        rf"devices: (-/dev/sub/loop opens|\+.*can't open /dev/sub/loop: {_DENIED})",
        "as in runc, a device that is listed may be used only if a rule for devices says so",
        {"devices": ["block"]},
    ),
    Accepted(
        "crun",
        rf"devices: (-/dev/null opens|\+.*can't open /dev/null: {_DENIED})",
        "as in runc, a device that is listed is not in the default device rules any more",
        {"devices": ["default again"]},
    ),
    Accepted(
        "crun",
        rf"(hidden|contents): (-.* is empty|\+.*can't open '?(/data/secret|/proc/\w+)'?: {_DENIED})",
        "as in runc, files are masked by the container's /dev/null, which has another owner here",
        {"devices": ["default again"]},
    ),
    Accepted(
        "crun",
        r"files: [-+]/data/secret\|character special file\|.*",
        "as in runc, files are masked by the container's /dev/null, which has another owner here",
        {"devices": ["default again"], "paths": ["own"]},
    ),
    Accepted(
        "crun",
        r"hidden: [-+]/proc/keys (has data|is empty)",
        "as in runc, the container has a session keyring of its own, which it can see",
        {"namespaces": ["user"], "paths": ["none", "own"]},
    ),
    Accepted(
        "crun",
        r"cgroup: [-+]0::/.*",
        "crun has no cgroup in the cgroup2 hierarchy, which is hidden from it here",
        on=_HYBRID,
    ),
    Accepted(
        "crun", r"dev: -'/dev/core' -> .*", "crun links it to a /proc/kcore that is not there"
    ),
    Accepted(
        "crun",
        r"hooks: [-+]startContainer \w+: (created|none), .*",
        "the status is created until the program runs (config.md, Hooks); crun gives an empty state",
        {"hooks": ["start", "all"]},
    ),
    Accepted(
        "crun",
        r"files: [-+](/data|/data/sub|/mnt|/mnt/second)\|directory\|(751|755|1777)\|0\|0\|\d+",
        "as in runc, a tmpfs without the option mode has the mode of its mount point",
        {"mounts": ["copied up", "one over another", "private and unbindable"]},
    ),
    Accepted(
        "crun",
        r"files: (\+stat: can't stat '/data/\*.*|-/data/\w+(/file)?\|.*)"
        r"|writable: (\+.* /(data|mnt)(/sub)?/.try: Permission denied|-/(data|mnt)(/sub)? is writable)",
        "so that other users may not use it",
        {"mounts": ["copied up", "one over another", "private and unbindable"]},
    ),
    Accepted(
        "crun",
        r"writable: (\+.* /data/sub/.try: Read-only file system|-/data/sub is writable)",
        "crun lets the container write into the empty directory over a hidden one",
        {"paths": ["own"]},
    ),
    Accepted(
        "crun",
        r"(files|tree): [-+]/?new(/\w+)*[ |].*",
        "crun makes missing mount points with mode 01755, files with 0700",
        {"mounts": ["new destinations"]},
    ),
    Accepted(
        "crun",
        r"tree: [-+]opt/real/inside .*",
        "crun makes missing mount points with mode 01755, files with 0700",
        {"mounts": ["through symlinks"]},
    ),
    Accepted(
        "crun",
        _shown_and_not(
            r"/proc/(bus|fs|irq|sys|sysrq-trigger) on /proc:",
            r"proc proc root=/[\w-]+ \[nodev,noexec,nosuid,relatime,ro\] .*",
            r"proc proc root=/[\w-]+ \[relatime,ro\] .*",
        ),
        "as in runc, what becomes read-only keeps its other options",
        {"paths": ["usual", "read-only root"]},
    ),
    Accepted(
        "crun",
        r"mountinfo: [-+](/proc/(kcore|keys|timer_list)|/data/secret) on \S+"
        r" (dev)?tmpfs (udev|(dev)?tmpfs) root=/null .*",
        "as in runc, files are masked by the container's /dev/null, not the host's",
    ),
    Accepted(
        "crun",
        r"mountinfo: -/data/(sub|secret) on .*",
        "crun mounts what hides a path before what makes its parent read-only, and once more",
        {"paths": ["own"]},
    ),
    Accepted(
        "crun",
        r"mountinfo: \+/data/sub on \S+ tmpfs u root=/ .* unbindable",
        "crun loses a mount below a path that it makes read-only",
        {"paths": ["own"], "mounts": ["private and unbindable"]},
    ),
    Accepted(
        "crun",
        _shown_and_not(
            r"/sys on /:", r"sysfs sysfs root=/ .* \[ro\]", r"sysfs sysfs root=/ .* \[rw\]"
        ),
        "as in runc, the filesystem is opened read-only as well",
    ),
    Accepted(
        "crun",
        r"mountinfo: [-+](/sys/fs)?/cgroup(/\w+)? on \S+ (tmpfs|cgroup2?) .*",
        "crun leaves the tmpfs of a cgroup v1 mount writable, names other sources, and is not shown"
        " the cgroup2 hierarchy",
        on=_V1,
    ),
    Accepted(
        "crun",
        r"mountinfo: \+/sys/fs/cgroup/unified on \S+ cgroup2 .*",
        "the cgroup2 hierarchy is hidden from crun here",
        {"namespaces": ["host network"]},
        on=_HYBRID,
    ),
    Accepted(
        "crun",
        r"writable: (\+.*/sys/fs/cgroup/.try: Read-only file system|-/sys/fs/cgroup is writable)",
        "crun leaves the tmpfs of a cgroup v1 mount writable",
        {"mounts": ["mqueue and cgroup"]},
        on=_V1,
    ),
    Accepted(
        "crun",
        r"tree: [-+]cgroup 4[01]755 .*",
        "crun makes missing mount points with mode 01755",
    ),
    Accepted(
        "crun",
        r"resources: ([-+][abc] .* r?w?m|-a \*:\* rwm)",
        "crun has no default device rules where the config has none at all",
        {"resources": ["none", "limits", "more limits"]},
        on=_V1,
    ),
    Accepted(
        "crun",
        r"resources: (-c 5:1|\+c 10:200) rwm",
        "the default device rules of runc have tun, those of crun the console",
        {"resources": ["devices"]},
        on=_V1,
    ),
    Accepted(
        "crun",
        r"mountinfo: [-+]/mnt on /: .*",
        "crun binds a whole tree without noexec in a user namespace",
        {"mounts": ["bind of a tree"], "namespaces": ["user"]},
    ),
    Accepted(
        "crun",
        r"(mountinfo|files|writable): [-+].*/mnt\b.*",
        "crun leaves out the mounts below the one that it binds in a user namespace",
        {"mounts": ["recursive attributes"], "namespaces": ["user"]},
    ),
    Accepted(
        "crun",
        r"mountinfo: [-+]/mnt on /: .*",
        "without rootfsPropagation crun makes all mounts private at the end, even a shared one",
        {"mounts": ["shared bind"], "propagation": ["unset"]},
    ),
]

BOTH = (
    [
        Accepted(
            name,
            _shown_and_not(
                r"/(data|mnt)(/sub|/second)? on \S+:",
                rf"{_TMPFS} \[(gid=\d+,)?(inode64,)?mode=75[15],.*",
                rf"{_TMPFS} \[(?!.*mode=).*",
            ),
            "a tmpfs gets the mode of its mount point when it is made, not afterwards, so that it shows"
            " among the options",
            {
                "mounts": [
                    "copied up",
                    "one over another",
                    "private and unbindable",
                    "times and symlinks",
                ]
            },
        )
        for name in ("runc", "crun")
    ]
    + [
        Accepted(
            name,
            _shown_and_not(
                r"(/proc/acpi|/sys/firmware|/data/sub) on \S+:",
                r"tmpfs tmpfs root=/ \[nodev,noexec,nosuid,relatime,ro\] \[.*nr_inodes=1,.*",
                r"tmpfs tmpfs root=/ \[relatime,ro\] .*",
            ),
            "the empty directory over a hidden one is as bare as can be",
            {"paths": ["usual", "own", "read-only root"]},
        )
        for name in ("runc", "crun")
    ]
    + [
        Accepted(
            name,
            r"resources: [-+]cpu.weight \d+",
            "from shares to a weight goes the curve that runc and crun have since 2025",
            {"resources": ["limits", "more limits"]},
            on=not _V1,
        )
        for name in ("runc", "crun")
    ]
)

EXEC = [
    Accepted(
        "runc",
        r"limits: [-+]Max open files +(256|512) +512 +files *",
        "the runtime library of Go raises the soft limit of runc's exec to the hard one",
        {"rlimits": ["one"]},
        always=False,
    ),
    Accepted(
        "runc",
        r"status: [-+]Umask: \d+",
        "runc 1.1 does not apply the umask of an executed process",
        {"user": ["umask", "root with umask"]},
    ),
    *(
        Accepted(
            name,
            r"values: [-+]/proc/self/oom_score_adj \d+",
            "the oomScoreAdj of an executed process is ignored by the others",
            {"process": ["oom score"]},
        )
        for name in ("runc", "crun")
    ),
]

ACCEPTED = [row for row in (*RUNC, *CRUN, *BOTH) if row.on]
