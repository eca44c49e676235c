"""`python -m bench`: pyrunc, runc, crun and the bare kernel side by side, in one run."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers.bundle import make_rootfs
from helpers.leaks import remove_tree

from bench.report import picture, table
from bench.results import OURS, Results
from bench.rows import Course
from bench.subjects import Bench, Subject

_HERE = Path(__file__).resolve().parent
_UNIFIED = "/sys/fs/cgroup/unified"


def in_own_mounts(module: str = "bench") -> None:
    """Go on with `module` in a mount namespace of our own, the same for all that is measured.

    crun 1.8 gives up where an empty cgroup2 is mounted beside the v1 hierarchies: there it is taken away.
    """
    if os.environ.get("BENCH_MOUNTS"):
        return
    command = shlex.join([sys.executable, "-m", module, *sys.argv[1:]])
    if os.path.ismount(_UNIFIED):
        command = f"umount {_UNIFIED} && {command}"
    os.environ["BENCH_MOUNTS"] = "own"
    os.execvp("unshare", ["unshare", "--mount", "sh", "-c", command])


def host() -> dict[str, str]:
    """What the figures were taken on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "date": datetime.date.today().isoformat(),
        "kernel": platform.release(),
        "processor": f"{os.cpu_count()} x {cpu}",
        "cgroups": "v2" if Path("/sys/fs/cgroup/cgroup.procs").exists() else "v1",
    }


def build(directory: Path) -> Bench:
    """The measuring programs and the root filesystem."""
    bench = Bench(directory)
    gcc = ["gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror"]
    for program in ("probe", "floor"):
        source = _HERE / f"{program}.c"
        subprocess.run([*gcc, "-o", directory / program, source], check=True)
    make_rootfs(bench.rootfs)
    # as on /run, where runtimes keep it; it goes with our mount namespace
    bench.states.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "bench", bench.states], check=True)
    directory.chmod(0o755)
    return bench


def main() -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("courses", nargs="*", help=f"of {', '.join(Course.COURSES)}; default: all")
    parser.add_argument("--rounds", type=int, default=30, help="samples of each row (default: 30)")
    parser.add_argument("--pyrunc", type=Path, default=Path(sys.prefix, "bin", OURS))
    parser.add_argument("--output", type=Path, help="directory for results.json, .txt and .svg")
    arguments = parser.parse_args()
    unknown = set(arguments.courses) - set(Course.COURSES)
    if unknown:
        parser.error(f"no such course: {', '.join(sorted(unknown))}")
    in_own_mounts()

    directory = Path(tempfile.mkdtemp(prefix="pyrunc-bench-", dir="/var/tmp"))
    results = Results()
    try:
        bench = build(directory)
        subjects = [Subject(bench, OURS, arguments.pyrunc.absolute())]
        for name in ("runc", "crun"):
            found = shutil.which(name)
            if found is None:
                results.notes.append(f"{name} is not installed")
            else:
                subjects.append(Subject(bench, name, Path(found)))
        results.notes += [subject.version for subject in subjects]
        course = Course(bench, subjects, results, arguments.rounds)
        for name, measure in Course.COURSES.items():
            if not arguments.courses or name in arguments.courses:
                print(f"measuring: {name}", file=sys.stderr, flush=True)
                measure(course)
    finally:
        subprocess.run(["umount", directory / "states"], check=False)
        remove_tree(directory)
    about = host()
    text = "\n".join(
        [
            f"{about['date']}, Linux {about['kernel']}, {about['processor']}, cgroup {about['cgroups']}",
            *results.notes,
            "Medians; each row's subjects were measured in turn, in one run.",
            "",
            table(results),
        ]
    )
    print(text)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        document = json.dumps(results.document(about), indent=1)
        caption = f"Medians, {about['date']}; shorter is better"
        (arguments.output / "results.json").write_text(document + "\n")
        (arguments.output / "results.txt").write_text(text + "\n")
        (arguments.output / "results.svg").write_text(picture(results, caption))


if __name__ == "__main__":
    main()
