"""What is measured. Samples of all subjects are taken in turn, so that what else the machine does hits all."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from bench import bundles
from bench.results import OURS, Results
from bench.subjects import Bench, Failed, Subject

#: Limits that are tried, in KiB, the largest first.
LIMITS = [16384, 8192, 4096, 2048, 1024, 512, 256]
_HERE = Path(__file__).parent


class Course:
    """One measuring run.

    Attributes:
        rounds: samples of each subject for each row.
    """

    def __init__(
        self, bench: Bench, subjects: list[Subject], results: Results, rounds: int
    ) -> None:
        self.bench = bench
        self.subjects = subjects
        self.results = results
        self.rounds = rounds
        self._count = 0
        self.plain = bundles.plain(bench.directory / "plain", bench.rootfs, "/bin/true").path
        self.sleeping = bundles.plain(
            bench.directory / "sleep", bench.rootfs, "/bin/sleep", "9999"
        ).path
        self.docker = bundles.docker(bench.directory / "docker", bench.rootfs, "/bin/true").path

    def id(self) -> str:
        """A new one."""
        self._count += 1
        return f"bench-{os.getpid()}-{self._count}"

    def turns(self, rounds: int | None = None) -> Iterator[Subject]:
        """Every subject once a round, in an order that changes, after one round that does not count."""
        for _ in range(rounds or self.rounds):
            yield from random.sample(self.subjects, len(self.subjects))

    def run(self, subject: Subject, bundle: Path) -> float:
        """Milliseconds for `run` to the end."""
        return subject("run", "--bundle", bundle, self.id()).wall

    # --- rows ---------------------------------------------------------------------------------------------------

    def floors(self) -> None:
        """The bare interpreter, and the bare kernel."""
        python = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
        for _ in range(self.rounds):
            self.results.add("interpreter", "ms", "python3", self.bench.measure(*python).wall)

    def cold_run(self) -> None:
        """`run` of a program that ends at once."""
        for subject in self.subjects:
            self.run(subject, self.plain)
        for index, subject in enumerate(self.turns()):
            if index % len(self.subjects) == 0:
                floor = self.bench.measure(
                    self.bench.floor, self.bench.rootfs, self.id(), "/bin/true"
                )
                self.results.add("run", "ms", "bare kernel", floor.wall)
            sample = subject("run", "--bundle", self.plain, self.id())
            self.results.add("run", "ms", subject.name, sample.wall)
            self.results.add("processor time of run", "ms", subject.name, sample.cpu)
            self.results.add("peak memory of run", "KiB", subject.name, sample.peak)
            self.results.add("page faults of run", "", subject.name, sample.faults)

    def lifecycle(self) -> None:
        """Each command, and the sequence that engines call."""
        for subject in self.turns():
            name = self.id()
            samples = {"create": subject("create", "--bundle", self.sleeping, name)}
            pid = int(json.loads(subject.output("state", name))["pid"])
            for kind, kib in _memory(pid).items():
                self.results.add(f"waiting container, {kind}", "KiB", subject.name, kib)
            samples["state"] = subject("state", name)
            samples["start"] = subject("start", name)
            samples["exec"] = subject("exec", name, "/bin/true")
            samples["kill"] = subject("kill", name, "KILL")
            _until_gone(pid)
            samples["delete"] = subject("delete", name)
            for command, sample in samples.items():
                self.results.add(command, "ms", subject.name, sample.wall)
                self.results.add(f"peak memory of {command}", "KiB", subject.name, sample.peak)
            together = sum(samples[c].wall for c in ("create", "start", "state", "delete"))
            self.results.add("create + start + state + delete", "ms", subject.name, together)
        rows = self.results.rows
        waiting = rows["waiting container, resident"]
        crun = waiting.median("crun")
        if crun is not None:
            for value in waiting.samples[OURS]:
                self.results.add("waiting container beyond crun's", "KiB", OURS, value - crun)

    def with_systemd(self) -> None:
        """Containers in scopes that systemd makes, as engines have them on most hosts."""
        if not Path("/run/systemd/system").is_dir():
            self.results.notes.append("systemd does not run here: no containers in its scopes")
            return
        for subject in self.turns():
            name = self.id()
            driver = subject.with_options("--systemd-cgroup")
            samples = {"create": driver("create", "--bundle", self.plain, name)}
            pid = int(json.loads(subject.output("state", name))["pid"])
            driver("start", name)
            _until_gone(pid)
            samples["delete"] = driver("delete", name)
            samples["run"] = driver("run", "--bundle", self.plain, self.id())
            for command, sample in samples.items():
                self.results.add(f"{command} in a scope", "ms", subject.name, sample.wall)

    def like_docker(self) -> None:
        """Docker's default configuration: a large filter, 14 masked paths."""
        for subject in self.subjects:
            self.run(subject, self.docker)
        for subject in self.turns():
            self.results.add(
                "run like Docker, filter cached", "ms", subject.name, self.run(subject, self.docker)
            )
        for subject in self.turns(max(3, self.rounds // 3)):
            took = self.run(subject, self._with_another_filter())
            self.results.add("run like Docker, filter not cached", "ms", subject.name, took)

    def _with_another_filter(self) -> Path:
        """The bundle like Docker's with a filter that nobody has seen before."""
        path = self.docker / "config.json"
        config = json.loads(path.read_text())
        config["linux"]["seccomp"]["syscalls"][1]["args"][0]["value"] = time.time_ns() & 0x7FFFFFFF
        path.write_text(json.dumps(config))
        return self.docker

    def many(self) -> None:
        """200 containers, one after another and 8 at a time."""
        for at_a_time in (1, 8):
            for subject in self.turns(1):
                with ThreadPoolExecutor(at_a_time) as pool:
                    begin = time.perf_counter()
                    for done in [pool.submit(self._plain_run, subject) for _ in range(200)]:
                        done.result()
                    took = (time.perf_counter() - begin) * 1e3
                name = "200 runs" if at_a_time == 1 else f"200 runs, {at_a_time} at a time"
                self.results.add(name, "ms", subject.name, took)

    def _plain_run(self, subject: Subject) -> None:
        with (self.bench.directory / f"streams-{self.id()}").open("w+b") as streams:
            subprocess.run(
                subject.command("run", "--bundle", self.plain, self.id()),
                stdin=streams,
                stdout=streams,
                stderr=streams,
                check=True,
            )
        os.unlink(streams.name)

    def growth(self, containers: int = 1000, mounts: int = 2000) -> None:
        """What a full host costs: `list` with many containers, `run` among many mounts."""
        for subject in self.subjects:
            names = [self.id() for _ in range(containers)]
            try:
                for name in names:
                    subject("create", "--bundle", self.sleeping, name)
                for _ in range(5):
                    row = f"list with {containers:,} containers"
                    self.results.add(row, "ms", subject.name, subject("list").wall)
            finally:
                for name in names:
                    subject("delete", "--force", name, expect=None)
        with _many_mounts(self.bench.directory / "mounts", mounts):
            for subject in self.turns(max(3, self.rounds // 3)):
                row = f"run among {mounts:,} mounts"
                self.results.add(row, "ms", subject.name, self.run(subject, self.plain))

    def running_memory(self) -> None:
        """What a foreground `run` keeps beside the container's own processes."""
        for subject in self.subjects:
            name = self.id()
            with self.bench.output.open("w+b") as streams:
                process = subprocess.Popen(
                    subject.command("run", "--bundle", self.sleeping, name),
                    stdin=streams,
                    stdout=streams,
                    stderr=streams,
                )
            try:
                _until(lambda: '"running"' in subject.output("state", name))  # noqa: B023
                for kind, kib in _memory(process.pid).items():
                    self.results.add(f"waiting `run`, {kind}", "KiB", subject.name, kib)
            finally:
                subject("kill", name, "KILL")
                process.wait()

    def memory_limit(self) -> None:
        """The smallest limit of memory under which a container starts and runs."""
        paths = {
            kib: bundles.limited(
                self.bench.directory / f"limit-{kib}", self.bench.rootfs, kib * 1024, "/bin/true"
            ).path
            for kib in LIMITS
        }
        for subject in self.subjects:
            smallest = None
            for kib, path in paths.items():
                try:
                    self.run(subject, path)
                except Failed:
                    break
                smallest = kib
            if smallest is not None:
                self.results.add("smallest memory limit", "KiB", subject.name, smallest)

    def library(self) -> None:
        """200 containers by the library in one program, and from the same program by the command lines of crun and
        of the floor program."""
        crun = next((s for s in self.subjects if s.name == "crun"), None)
        if crun is None:
            return
        root = self.bench.states / "library"
        program = [sys.executable, "-I", str(_HERE / "library.py")]
        command = [*program, str(root), str(crun.root), str(self.plain), str(self.bench.floor)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"bench/library.py: exit status {done.returncode}\n{done.stderr}")
        for at_a_time, subject, took in json.loads(done.stdout):
            name = "200 runs by the library"
            if at_a_time > 1:
                name += f", {at_a_time} at a time"
            self.results.add(name, "ms", subject, took)

    def budgets(self) -> None:
        """System calls by command, of all the processes that it makes; and what ours imports beyond the interpreter."""
        for subject in self.subjects:
            for command in self._lives(subject):
                counted = _system_calls(self.bench, subject.command(*command))
                self.results.add(f"system calls of {command[0]}", "", subject.name, counted)
        ours = self.subjects[0]
        for command in self._lives(ours):
            counted = _modules(self.bench, ours, command)
            self.results.add(f"modules imported by {command[0]}", "", ours.name, counted)

    def _lives(self, subject: Subject) -> Iterator[tuple[str, ...]]:
        """The commands of a life, but for `create`: strace would wait for the end of the container."""
        name = self.id()
        subject("create", "--bundle", self.sleeping, name)
        yield "run", "--bundle", str(self.plain), self.id()
        yield "state", name
        yield "start", name
        yield "exec", name, "/bin/true"
        yield "kill", name, "KILL"
        yield "delete", "--force", name

    COURSES: ClassVar[dict[str, Callable[[Course], None]]] = {
        "floors": floors,
        "run": cold_run,
        "lifecycle": lifecycle,
        "systemd": with_systemd,
        "docker": like_docker,
        "many": many,
        "memory": running_memory,
        "limit": memory_limit,
        "library": library,
        "budgets": budgets,
        "growth": growth,
    }


def _system_calls(bench: Bench, command: list[str | Path]) -> int:
    report = bench.directory / "strace"
    with bench.output.open("w+b") as streams:
        subprocess.run(
            ["strace", "-f", "-qq", "-o", report, *command],
            stdin=streams,
            stdout=streams,
            stderr=streams,
            timeout=60,
            check=True,
        )
    lines = report.read_text(errors="replace").splitlines()
    return sum("(" in line and "resumed>" not in line for line in lines)


_COUNT = """
import sys
report, package, *words = sys.argv[1:]
before = set(sys.modules)
sys.path.append(package)
from pyrunc.cli.main import main
code = main(words)
with open(report, "w") as file:
    print(len(set(sys.modules) - before), file=file)
sys.exit(code)
"""


def _modules(bench: Bench, subject: Subject, command: tuple[str, ...]) -> int:
    report = bench.directory / "modules"
    package = sysconfig.get_path("purelib")
    words = [str(word) for word in subject.command(*command)[1:]]
    python = ["/usr/bin/python3", "-I", "-S", "-X", "utf8", "-c", _COUNT]
    bench.measure(*python, report, package, *words)
    return int(report.read_text())


def _memory(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return {"resident": sizes["Rss"], "proportional": sizes["Pss"]}


def _until(condition: Callable[[], bool], limit: float = 10) -> None:
    deadline = time.monotonic() + limit
    while True:
        try:
            if condition():
                return
        except (OSError, subprocess.CalledProcessError):
            pass
        if time.monotonic() > deadline:
            raise Failed("what was waited for has not come")
        time.sleep(0.002)


def _until_gone(pid: int) -> None:
    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    _until(gone)


@contextmanager
def _many_mounts(directory: Path, count: int) -> Iterator[None]:
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "bench", directory], check=True)
    made = 0
    try:
        for index in range(count):
            place = directory / str(index)
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "bench", place], check=True)
            made += 1
        yield
    finally:
        for index in range(made):
            subprocess.run(["umount", directory / str(index)], check=True)
        subprocess.run(["umount", directory], check=True)
