#!/usr/bin/env python3
"""Runs the jobs of a pipeline, each in a container of its own, with limits and a time to end in.

    ci_runner.py pipeline.toml

pipeline.toml says where the root filesystem is, and has a table for each job:

    rootfs = "/srv/images/builder"   # all jobs share it, read-only; they write to /work and /tmp
    parallel = 2                     # jobs at a time

    [jobs.test]
    script = "make test"
    memory = 268435456               # bytes
    cpus = 1.5
    pids = 100
    timeout = 600                    # seconds
    env = { CI = "1" }

The exit status is 0 if all jobs succeed. The output of each job is printed when it has ended.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyrunc

CPU_PERIOD = 100_000  # µs


class Outcome(NamedTuple):
    """How a job ended."""

    name: str
    verdict: str
    seconds: float
    output: bytes

    @property
    def succeeded(self) -> bool:
        return self.verdict == "passed"


def configure(job: dict[str, Any], rootfs: str, work: str) -> dict[str, Any]:
    """The config.json of a job."""
    config = pyrunc.Bundle.default_config()
    config["root"] = {"path": rootfs, "readonly": True}
    config["hostname"] = "ci"
    process = config["process"]
    process["args"] = ["/bin/sh", "-ec", job["script"]]
    process["cwd"] = "/work"
    process["terminal"] = False
    process["env"] += [f"{name}={value}" for name, value in job.get("env", {}).items()]
    process["env"].append("HOME=/work")
    config["mounts"] += [
        {"destination": "/work", "type": "bind", "source": work, "options": ["bind", "nosuid"]},
        {
            "destination": "/tmp",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777"],
        },
    ]
    resources = config["linux"]["resources"]
    resources["pids"] = {"limit": job.get("pids", 1000)}
    if "memory" in job:
        resources["memory"] = {"limit": job["memory"], "swap": job["memory"]}
    if "cpus" in job:
        resources["cpu"] = {"period": CPU_PERIOD, "quota": int(job["cpus"] * CPU_PERIOD)}
    return config


def run_job(runtime: pyrunc.Runtime, name: str, job: dict[str, Any], rootfs: str) -> Outcome:
    """Run one job, in a fresh working directory."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"ci-{name}-") as work:
        try:
            bundle = pyrunc.Bundle.of(work, configure(job, rootfs, work))
            result = runtime.run(
                f"ci-{os.getpid()}-{name}",
                bundle,
                stdin=pyrunc.DEVNULL,
                stdout=pyrunc.PIPE,
                stderr=pyrunc.STDOUT,
                timeout=job.get("timeout"),
            )
        except pyrunc.TimeoutExpired as error:
            verdict, output = f"timed out after {error.timeout} s", error.stdout or b""
        except pyrunc.PyruncError as error:
            verdict, output = f"could not run: {error}", b""
        else:
            output = result.stdout or b""
            verdict = "passed" if result.exit_code == 0 else f"exit code {result.exit_code}"
            if result.exit_code == 128 + 9:
                verdict += " (killed; out of memory?)"
    return Outcome(name, verdict, time.monotonic() - began, output)


def run_pipeline(pipeline: dict[str, Any], root: str | None) -> bool:
    """Run all jobs. True when all succeeded."""
    runtime = pyrunc.Runtime(root)
    succeeded = True
    with ThreadPoolExecutor(pipeline.get("parallel", 1)) as pool:
        running = [
            pool.submit(run_job, runtime, name, job, pipeline["rootfs"])
            for name, job in pipeline["jobs"].items()
        ]
        for future in running:
            outcome = future.result()
            print(f"== {outcome.name}: {outcome.verdict} ({outcome.seconds:.1f} s)", flush=True)
            sys.stdout.buffer.write(outcome.output)
            sys.stdout.buffer.flush()
            succeeded = succeeded and outcome.succeeded
    return succeeded


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: ci_runner.py pipeline.toml [state-directory]")
    wanted = tomllib.loads(Path(sys.argv[1]).read_text())
    sys.exit(0 if run_pipeline(wanted, sys.argv[2] if len(sys.argv) > 2 else None) else 1)
