"""Inside the virtual machine: runs the sessions and writes their results to a disk."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vm.sessions import Session

RESULTS = Path("/run/results")
CHECKOUT = Path.cwd().parent
PLAN = CHECKOUT / "sessions.json"


def command(session: Session) -> list[str]:
    """The command line that runs one session in a service of its own, with a cgroup delegated to it.

    A user's service is one of the user manager, which has been started at boot (`loginctl enable-linger`).
    """
    manager: list[str] = []
    scope = []
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYRUNC_FAILURES_AT_ONCE": "1",  # the end may not come in time
    }
    if session.user:
        entry = pwd.getpwnam(session.user)
        runtime = f"/run/user/{entry.pw_uid}"
        session_environment = [
            f"XDG_RUNTIME_DIR={runtime}",
            f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus",
        ]
        manager = ["runuser", "--user", session.user, "--", "env", *session_environment]
        scope = ["--user"]
        environment["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={runtime}/bus"
    environment |= session.environment
    return [
        *manager,
        "systemd-run",
        *scope,
        "--quiet",
        "--wait",
        "--collect",
        "--pipe",
        f"--unit=tests-{session.name}",
        f"--working-directory={CHECKOUT}",
        "--property=Delegate=yes",
        "--property=LimitMEMLOCK=8M:8M",
        f"--property=RuntimeMaxSec={session.limit}",
        *(["--property=PrivateMounts=yes"] if session.own_mounts else []),
        *(f"--setenv={name}={value}" for name, value in environment.items()),
        str(CHECKOUT / "tests/vm/in-leaf"),
        str(CHECKOUT / ".venv/bin/pytest"),
        "--verbose",  # what is being run when the time is over is of interest
        "--color=no",
        "-p",
        "no:cacheprovider",
        f"--junitxml={RESULTS / session.name}.xml",
        *session.tests,
    ]


def run(session: Session) -> int:
    """Run a session, with its name before each line of its output; its exit status."""
    print(f"=== {session.name}", flush=True)
    begin = time.monotonic()
    with subprocess.Popen(
        command(session),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"{session.name}: {line}", end="", flush=True)
    status = process.returncode
    print(f"=== {session.name}: exit {status} after {time.monotonic() - begin:.0f} s", flush=True)
    return status


def main(disk: str) -> None:
    """Run everything of the plan, and write a tar archive of the results to `disk`."""
    RESULTS.mkdir(mode=0o1777)
    RESULTS.chmod(0o1777)
    print(f"=== Linux {os.uname().release}", flush=True)
    # the only scheduler with weights for single disks
    subprocess.run(["modprobe", "bfq"], check=True)
    for scheduler in Path("/sys/block").glob("vd*/queue/scheduler"):
        scheduler.write_text("bfq")
    plan = json.loads(PLAN.read_text())
    sessions = [Session(*values) for values in plan]
    # one for each processor, as most tests wait for one process at a time
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(run, sessions)
        statuses = {s.name: status for s, status in zip(sessions, results, strict=True)}
    (RESULTS / "status.json").write_text(json.dumps(statuses))
    journal = subprocess.run(
        ["journalctl", "--no-pager", "--boot"], capture_output=True, check=False
    ).stdout
    (RESULTS / "journal.txt").write_bytes(journal)
    with open(disk, "wb") as file, tarfile.open(fileobj=file, mode="w|") as archive:
        archive.add(RESULTS, arcname=".")


if __name__ == "__main__":
    main(sys.argv[1])
