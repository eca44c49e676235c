"""The bundles that are measured: like `runc spec`'s, and like what Docker makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from helpers.bundle import Bundle, default_config
from helpers.seccomp_profiles import X86_64, numbers

#: What Docker masks and makes read-only unless told otherwise.
MASKED = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
    "/sys/devices/system/cpu/cpu1/thermal_throttle",
]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
CAPABILITIES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
]
#: Calls that containers are kept from: of the administrator, and of the kernel's less tried parts.
_REFUSED = re.compile(
    "acct|add_key|bpf|clock_(adj|set)time|create_module|delete_module|finit_module|fs(config|mount|open|pick)|"
    "get_kernel_syms|init_module|io_uring.*|ioperm|iopl|kcmp|kexec.*|keyctl|lookup_dcookie|mbind|migrate_pages|"
    "mount|mount_setattr|move_(mount|pages)|nfsservctl|open_(by_handle_at|tree)|perf_event_open|personality|pivot_root|"
    "process_vm_.*|quotactl.*|query_module|reboot|request_key|set(domain|host)name|setns|settimeofday|swapo.*|"
    "sysfs|syslog|umount2|unshare|uselib|userfaultfd|ustat|vhangup|vserver|clone|clone3|socket"
)


def seccomp_profile() -> dict[str, Any]:
    """An allow-list of the size and the shape of Docker's: most system calls, a few by arguments."""
    allowed = [name for name in numbers(X86_64) if not _REFUSED.fullmatch(name)]
    personalities = [0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": allowed, "action": "SCMP_ACT_ALLOW"},
            *(
                {
                    "names": ["personality"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}],
                }
                for value in personalities
            ),
            {
                "names": ["socket"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}],
            },
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ALLOW",
                "args": [
                    {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
                ],
            },
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        ],
    }


def plain(directory: Path, rootfs: Path, *args: str) -> Bundle:
    """A bundle like that of `runc spec` with another program, and with /dev/mqueue."""
    config = default_config()
    config["process"]["args"] = list(args)
    config["mounts"].append(_mount("mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev"))
    return Bundle(directory, rootfs, config)


def docker(directory: Path, rootfs: Path, *args: str) -> Bundle:
    """A bundle as Docker makes it for `docker run`, but for the network."""
    bundle = plain(directory, rootfs, *args)
    process, linux = bundle.config["process"], bundle.config["linux"]
    process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    process["oomScoreAdj"] = 0
    process.pop("noNewPrivileges")
    bundle.config["mounts"].append(
        _mount("cgroup", "/sys/fs/cgroup", "ro", "nosuid", "noexec", "nodev")
    )
    for name in ("hosts", "hostname", "resolv.conf"):
        file = directory / name
        file.write_text("")
        bundle.config["mounts"].append(
            {
                "destination": f"/etc/{name}",
                "type": "bind",
                "source": str(file),
                "options": ["rbind", "rprivate"],
            }
        )
        (bundle.rootfs / "etc" / name).touch()
    linux["maskedPaths"], linux["readonlyPaths"] = MASKED, READONLY
    linux["sysctl"] = {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    linux["seccomp"] = seccomp_profile()
    linux["namespaces"].append({"type": "cgroup"})
    return bundle.save()


def limited(directory: Path, rootfs: Path, memory: int, *args: str) -> Bundle:
    """A bundle with a limit of memory, in bytes."""
    bundle = plain(directory, rootfs, *args)
    bundle.config["linux"]["resources"]["memory"] = {"limit": memory}
    return bundle.save()


def _mount(kind: str, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}
