"""Failures that are explained: by a defect of the program, by the kernel, or by the specification.

Each entry holds for the runtime under test, whatever runc does. A failure without an entry, and an
entry without a failure, fail the run: so the table says exactly what does not pass, and why.
Two programs race with the container that they look at; their entries hold now and then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def _always() -> bool:
    return True


def lacks(*places: str) -> Callable[[], bool]:
    """A condition: none of these paths exists on this host."""
    return lambda: not any(Path(place).exists() for place in places)


def lacks_capability(number: int) -> Callable[[], bool]:
    """A condition: the bounding set of this process lacks capability `number`."""

    def condition() -> bool:
        status = Path("/proc/self/status").read_text()
        bounding = re.search(r"^CapBnd:\s*([0-9a-f]+)", status, re.MULTILINE)
        return bounding is not None and not int(bounding[1], 16) >> number & 1

    return condition


@dataclass(frozen=True)
class Known:
    """Test points of one program that cannot pass.

    Attributes:
        program: name of the validation program.
        point: regular expression, matched against the whole description of the test point.
        why: what stands in the way.
        when: whether it stands in the way on this host.
        always: False where the program passes or fails by chance.
    """

    program: str
    point: str
    why: str
    when: Callable[[], bool] = _always
    always: bool = True

    def explains(self, program: str, description: str) -> bool:
        """Whether this entry is about that test point, on this host."""
        return (
            program == self.program
            and re.fullmatch(self.point, description) is not None
            and self.when()
        )


_POINTERS = "program: it compares the addresses of two numbers, not the numbers"
_NO_LEAF_WEIGHT = "kernel: blkio.leaf_weight went with the CFQ scheduler in Linux 5.0"
_NO_HUGETLB = "kernel: no hugetlb controller"
_NO_NETWORK = "kernel: no net_cls and net_prio controllers"
_NO_KMEM = "kernel: memory.kmem.limit_in_bytes takes no limit since Linux 5.16"
_DELETE = (
    "engines: `delete` of a created container kills it, as with runc and crun; "
    "containerd relies on it"
)

KNOWN: tuple[Known, ...] = (
    Known("delete", "attempting to `delete` a container that is not `stopped` .*", _DELETE),
    Known("delete_resources", "pids limit is set correctly", _POINTERS),
    Known("linux_cgroups_pids", "pids limit is set correctly", _POINTERS),
    Known("linux_cgroups_relative_pids", "pids limit is set correctly", _POINTERS),
    Known(
        "hooks",
        "error",
        "program: it expects `post-start1` of hooks that it tells to print `post-start1 called`",
    ),
    *(
        Known(
            f"linux_cgroups_{kind}blkio",
            "exit status 1",
            _NO_LEAF_WEIGHT,
            lacks("/sys/fs/cgroup/blkio/blkio.leaf_weight"),
        )
        for kind in ("", "relative_")
    ),
    *(
        Known(
            f"linux_cgroups_{kind}hugetlb",
            "exit status 1",
            _NO_HUGETLB,
            lacks("/sys/fs/cgroup/hugetlb"),
        )
        for kind in ("", "relative_")
    ),
    *(
        Known(
            f"linux_cgroups_{kind}network",
            "exit status 1",
            _NO_NETWORK,
            lacks("/sys/fs/cgroup/net_cls", "/sys/fs/cgroup/net_cls,net_prio"),
        )
        for kind in ("", "relative_")
    ),
    Known("linux_cgroups_memory", "memory kernel is set correctly", _NO_KMEM),
    Known("linux_cgroups_relative_memory", "memory kernel is set correctly", _NO_KMEM),
    Known(
        "linux_mount_label",
        "exit status 1",
        "kernel: no SELinux",
        lacks("/sys/fs/selinux/enforce"),
    ),
    Known(
        "linux_process_apparmor_profile",
        "exit status 1",
        "kernel: no AppArmor",
        lacks("/sys/module/apparmor/parameters/enabled"),
    ),
    Known(
        "misc_props",
        "implementations .* unknown annotation key",
        "program: it starts /runtimetest without having copied that into the bundle",
    ),
    Known(
        "pidfile",
        "create with '--pid-file' option works",
        "program: it kills a container that runs `true`, which is an error once that has ended",
        always=False,
    ),
    Known(
        "poststart",
        "error",
        "program: the hook runs once the process was executed; it wants the process to be done",
        always=False,
    ),
    Known(
        "poststart_fail",
        "error",
        "specification: a failing poststart hook is an error since 1.3; the program wants a warning",
    ),
    Known(
        "prestart",
        "error",
        "specification: prestart hooks run in `create` since 1.1; the program wants `start`",
    ),
    Known(
        "process_capabilities",
        "expected .* capability CAP_SYS_RESOURCE set",
        "host: this process itself lacks CAP_SYS_RESOURCE; what cannot be granted is a warning",
        lacks_capability(24),
    ),
    Known(
        "process_capabilities_fail",
        "exit status 1",
        "specification: an unknown capability is a warning since 1.1; the program wants an error",
    ),
    Known(
        "process_rlimits",
        "has expected soft RLIMIT_NOFILE",
        "program: the Go runtime of runtimetest raises that limit before it is looked at",
    ),
    Known(
        "start",
        "`start` operation MUST generate an error if `process` was not set",
        "program: it demands an error in words, and that there is none in code",
    ),
)
