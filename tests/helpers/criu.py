"""A CRIU that works on this kernel, and a stand-in that says what it was asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def working_criu() -> Path:
    """The one that `scripts/install-criu` has put there, or that of the system; skips where none works."""
    for path in (REPOSITORY / "build" / "criu" / "criu", Path("/usr/sbin/criu")):
        if os.access(path, os.X_OK):
            done = subprocess.run([path, "check"], capture_output=True, check=False, timeout=60)
            if done.returncode == 0:
                return path
    pytest.skip("no CRIU that works on this kernel: scripts/install-criu build/criu")


_FAKE = """#!{python}
import json, os, socket, sys
sys.path.insert(0, {packages!r})
from pyrunc.container import criu
from google.protobuf.json_format import MessageToDict
sock = socket.socket(fileno=int(sys.argv[2]))
plan = json.loads({plan!r})

def receive():
    request = criu.message("Request")
    request.ParseFromString(sock.recv(65536))
    return request

def answer(fds=(), **fields):
    data = criu.message("Response", **fields).SerializeToString()
    socket.send_fds(sock, [data], list(fds))

request = receive()
with open({report!r}, "a") as file:
    record = MessageToDict(request, preserving_proto_field_name=True)
    record["links"] = {{fd: os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd")
                        if os.path.exists("/proc/self/fd/" + fd)}}
    print(json.dumps(record), file=file)
if request.type == criu.VERSION:
    major, minor = plan.get("version", [4, 1])
    answer(type=request.type, success=True,
           version=criu.message("Version", major_number=major, minor_number=minor))
    sys.exit()
if request.type == criu.FEATURE_CHECK:
    has = dict.fromkeys(plan.get("features", ["mem_track", "lazy_pages"]), True)
    answer(type=request.type, success=True, features=criu.message("Features", **has))
    sys.exit()
for script in plan.get("notify", []):
    answer(type=criu.NOTIFY, success=True,
           notify=criu.message("Notification", script=script, pid=os.getpid()))
    if not receive().notify_success:
        answer(type=request.type, success=False)
        sys.exit(1)
if plan.get("hang"):
    open({report!r} + ".hangs", "w").close()
    sock.recv(1)
    sys.exit(1)
if "error" in plan:
    with open("/proc/%d/fd/%d/%s" % (os.getppid(), request.opts.images_dir_fd, request.opts.log_file), "w") as file:
        file.write("(00.1) one\\n(00.2) Error (criu/x.c:1): it went wrong\\n")
    answer(type=request.type, success=False, cr_errno=plan["error"])
    sys.exit(1)
answer(type=request.type, success=True)
"""


class FakeCriu:
    """A program that speaks CRIU's protocol.

    Attributes:
        path: of the program.
    """

    def __init__(self, directory: Path, packages: Path, **plan: Any) -> None:
        """`plan` may have: `version`, `features`, `notify` (scripts), `error` (errno), `hang`."""
        self.path = directory / "fake-criu"
        self.report = directory / "fake-criu.report"
        self.path.write_text(
            _FAKE.format(
                python=sys.executable,
                packages=str(packages),
                plan=json.dumps(plan),
                report=str(self.report),
            )
        )
        self.path.chmod(0o755)

    def requests(self) -> list[dict[str, Any]]:
        """What it was asked for, as JSON; `links` says where its descriptors led."""
        return [json.loads(line) for line in self.report.read_text().splitlines()]

    def options(self) -> dict[str, Any]:
        """The options of the last request."""
        options: dict[str, Any] = self.requests()[-1]["opts"]
        return options
