"""The RPC protocol of CRIU: `criu swrk`, one process a request (https://criu.org/RPC).

Messages are Protocol Buffers (proto2). Only the fields that are used are declared here.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from functools import cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from pyrunc import log
from pyrunc.errors import HostError, OperationError, PyruncError
from pyrunc.host.waiting import FOREVER, finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyrunc.host.waiting import Steps

    #: Called with the name of a notification, a pid, and descriptors that came with it.
    Notified = Callable[[str, int, list[int]], None]

#: Types of requests and responses.
DUMP = 1
RESTORE = 2
CHECK = 3
PRE_DUMP = 4
NOTIFY = 6
FEATURE_CHECK = 9
VERSION = 10

_NAMES = {
    DUMP: "dump",
    RESTORE: "restore",
    CHECK: "check",
    PRE_DUMP: "pre-dump",
    FEATURE_CHECK: "feature check",
}

#: --manage-cgroups-mode, by the numbers that CRIU has.
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5}
DEFAULT_CGROUP_MODE = 6

#: --network-lock, likewise.
NETWORK_LOCKS = {"iptables": 1, "nftables": 2, "skip": 3}

#: The oldest CRIU whose protocol has a version request; notifications of lazy pages came with another.
MINIMUM = 30000
STATUS_NOTIFICATION = 31500
LSM_PROFILE = 31600

_SIZE = 1 << 16
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

_FIELD = descriptor_pb2.FieldDescriptorProto
_BOOL, _INT32, _UINT32, _STRING = (
    _FIELD.TYPE_BOOL,
    _FIELD.TYPE_INT32,
    _FIELD.TYPE_UINT32,
    _FIELD.TYPE_STRING,
)

#: Message: {field: (number, type or message, repeated)}. Enumerations are int32, which is the same on the wire.
_MESSAGES: dict[str, dict[str, tuple[int, int | str, bool]]] = {
    "PageServer": {"address": (1, _STRING, False), "port": (2, _INT32, False)},
    "ExtMount": {"key": (1, _STRING, False), "val": (2, _STRING, False)},
    "JoinNamespace": {"ns": (1, _STRING, False), "ns_file": (2, _STRING, False)},
    "InheritFd": {"key": (1, _STRING, False), "fd": (2, _INT32, False)},
    "CgroupRoot": {"ctrl": (1, _STRING, False), "path": (2, _STRING, False)},
    "Options": {
        "images_dir_fd": (1, _INT32, False),
        "pid": (2, _INT32, False),
        "leave_running": (3, _BOOL, False),
        "ext_unix_sk": (4, _BOOL, False),
        "tcp_established": (5, _BOOL, False),
        "evasive_devices": (6, _BOOL, False),
        "shell_job": (7, _BOOL, False),
        "file_locks": (8, _BOOL, False),
        "log_level": (9, _INT32, False),
        "log_file": (10, _STRING, False),
        "ps": (11, "PageServer", False),
        "notify_scripts": (12, _BOOL, False),
        "root": (13, _STRING, False),
        "parent_img": (14, _STRING, False),
        "track_mem": (15, _BOOL, False),
        "auto_dedup": (16, _BOOL, False),
        "work_dir_fd": (17, _INT32, False),
        "link_remap": (18, _BOOL, False),
        "ext_mnt": (23, "ExtMount", True),
        "manage_cgroups": (24, _BOOL, False),
        "cg_root": (25, "CgroupRoot", True),
        "rst_sibling": (26, _BOOL, False),
        "inherit_fd": (27, "InheritFd", True),
        "manage_cgroups_mode": (34, _INT32, False),
        "external": (37, _STRING, True),
        "empty_ns": (38, _UINT32, False),
        "join_ns": (39, "JoinNamespace", True),
        "freeze_cgroup": (44, _STRING, False),
        "tcp_skip_in_flight": (46, _BOOL, False),
        "lazy_pages": (48, _BOOL, False),
        "status_fd": (49, _INT32, False),
        "orphan_pts_master": (50, _BOOL, False),
        "config_file": (51, _STRING, False),
        "tcp_close": (52, _BOOL, False),
        "lsm_profile": (53, _STRING, False),
        "lsm_mount_context": (63, _STRING, False),
        "network_lock": (64, _INT32, False),
    },
    "Features": {"mem_track": (1, _BOOL, False), "lazy_pages": (2, _BOOL, False)},
    "Request": {
        "type": (1, _INT32, False),
        "opts": (2, "Options", False),
        "notify_success": (3, _BOOL, False),
        "features": (5, "Features", False),
    },
    "Restored": {"pid": (1, _INT32, False)},
    "Notification": {"script": (1, _STRING, False), "pid": (2, _INT32, False)},
    "Version": {
        "major_number": (1, _INT32, False),
        "minor_number": (2, _INT32, False),
        "sublevel": (4, _INT32, False),
    },
    "Response": {
        "type": (1, _INT32, False),
        "success": (2, _BOOL, False),
        "restore": (4, "Restored", False),
        "notify": (5, "Notification", False),
        "cr_errno": (7, _INT32, False),
        "features": (8, "Features", False),
        "cr_errmsg": (9, _STRING, False),
        "version": (10, "Version", False),
    },
}


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="pyrunc/criu.proto", package="pyrunc", syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = _FIELD.TYPE_MESSAGE, f".pyrunc.{kind}"
            else:
                added.type = kind  # type: ignore[assignment]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"pyrunc.{name}"))
        for name in _MESSAGES
    }


def message(name: str, **fields: Any) -> Any:
    """A message of `_MESSAGES`, with these fields."""
    return _classes()[name](**fields)


class Criu:
    """The CRIU program of this host.

    Raises:
        HostError: there is none.
    """

    def __init__(self, program: str) -> None:
        self.environment = dict(os.environ)
        self.environment["PATH"] = ":".join(filter(None, (os.environ.get("PATH"), _SBIN)))
        found = shutil.which(program, path=self.environment["PATH"])
        if found is None:
            raise HostError(
                f"--criu {program}: no such program: install CRIU, or give its path (pyrunc --criu FILE)"
            )
        self.path = found
        self._version = 0

    @property
    def version(self) -> int:
        """Major, minor and sublevel number as one: 31700 is 3.17.

        Raises:
            HostError: the program does not answer as CRIU does.
        """
        if not self._version:
            version = self.call(message("Request", type=VERSION)).version
            number = version.major_number * 10000 + version.minor_number * 100
            self._version = number + version.sublevel
        return self._version

    def require(self, version: int, what: str) -> None:
        """Raise HostError unless it is at least of this version, which `what` needs."""
        if self.version < version:
            has, needs = (f"{v // 10000}.{v // 100 % 100}" for v in (self.version, version))
            raise HostError(f"{what} needs CRIU {needs}, and {self.path} is {has}")

    def require_feature(self, name: str, what: str) -> None:
        """Raise HostError unless CRIU has `mem_track` or `lazy_pages` on this kernel."""
        asked = message("Features", **{name: True})
        response = self.call(message("Request", type=FEATURE_CHECK, features=asked))
        if not getattr(response.features, name):
            lacks = {
                "mem_track": "tracking of changed memory (CONFIG_MEM_SOFT_DIRTY)",
                "lazy_pages": "userfaultfd for more than one's own memory (CONFIG_USERFAULTFD)",
            }[name]
            raise HostError(f"{what}: this kernel, or CRIU, has no {lacks}")

    def call(self, request: Any, **more: Any) -> Any:
        """`calling`, in this thread."""
        return finish(self.calling(request, **more))

    def calling(
        self,
        request: Any,
        *,
        stdio: Sequence[int] | None = None,
        inherited: Sequence[int] = (),
        started: Callable[[int], None] | None = None,
        notified: Notified | None = None,
    ) -> Steps[Any]:
        """Have CRIU do something. Returns the response.

        Args:
            request: a message "Request".
            stdio: what becomes its stdin, stdout and stderr; the default is /dev/null.
            inherited: descriptors that it keeps, under the same number.
            started: called with its pid before it is sent the request.
            notified: called for each of its notifications. When it raises, CRIU undoes what it did.

        Raises:
            HostError: CRIU cannot be executed.
            OperationError: it failed.
            Exception: what a callback raised.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                process = self._spawn(theirs.fileno(), stdio or [subprocess.DEVNULL] * 3, inherited)
            try:
                if started is not None:
                    started(process.pid)
                return (yield from _converse(ours, request, notified))
            finally:
                ours.close()
                process.wait()

    def _spawn(
        self, server: int, stdio: Sequence[int], inherited: Sequence[int]
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [self.path, "swrk", str(server)],
                stdin=stdio[0],
                stdout=stdio[1],
                stderr=stdio[2],
                pass_fds=[server, *inherited],
                env=self.environment,
            )
        except OSError as error:
            raise HostError(
                f"CRIU cannot be executed: {error.filename}: {error.strerror}",
                errno=error.errno or 0,
            ) from None


def _converse(sock: socket.socket, request: Any, notified: Notified | None) -> Steps[Any]:
    _send(sock, request)
    failure: BaseException | None = None
    while True:
        yield sock.fileno(), FOREVER
        try:
            data, fds, _, _ = socket.recv_fds(sock, _SIZE, 16)
        except ConnectionResetError:
            data, fds = b"", []
        if not data:
            raise failure or HostError("CRIU ended without an answer")
        try:
            response = message("Response")
            response.ParseFromString(data)
        except DecodeError as error:
            raise HostError(f"CRIU gave an answer that is none: {error}") from None
        if response.type != NOTIFY:
            break
        try:
            log.debug(f"CRIU: {response.notify.script}")
            if notified is not None:
                notified(response.notify.script, response.notify.pid, fds)
        except BaseException as error:
            failure = error
        finally:
            for fd in fds:
                os.close(fd)
        _send(sock, message("Request", type=NOTIFY, notify_success=failure is None))
    if failure is not None:
        raise failure
    if not response.success:
        name = _NAMES.get(response.type or request.type, "request")
        number = response.cr_errno
        text = f"CRIU: {name} failed" + (f": {os.strerror(number)}" if number else "")
        raise OperationError(text, errno=number, operation=f"criu {name}")
    return response


def _send(sock: socket.socket, request: Any) -> None:
    try:
        sock.send(request.SerializeToString(), socket.MSG_NOSIGNAL)
    except OSError as error:
        raise HostError(f"CRIU does not listen: {error.strerror}") from None


def with_log(error: PyruncError, path: str) -> PyruncError:
    """The error with what CRIU wrote into its log. The lines around are logged as well."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return error
    wrong = [
        index
        for index, line in enumerate(lines)
        if "Error" in line and "RLIMIT_NOFILE" not in line  # which is not the reason of anything
    ]
    shown = sorted({i for index in wrong for i in range(max(0, index - 3), index + 1)})
    for index in shown[-40:]:
        log.warning(f"{path}:{index + 1}: {lines[index]}")
    reasons = [lines[index].partition("Error ")[2].partition("): ")[2] for index in wrong[:2]]
    said = "".join(f": {reason.strip()}" for reason in reasons[:1])
    said += "".join(f"; {reason.strip()}" for reason in reasons[1:])
    return OperationError(
        f"{error}{said} (see {path})", errno=error.errno, operation=error.operation
    )
