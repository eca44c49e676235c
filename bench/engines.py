"""`python -m bench.engines`: one container by Docker, containerd and the CRI, with pyrunc, runc and crun.

Whole command lines of the engines' clients, in turn, in one run. What is measured is mostly the engine;
what differs is the runtime.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from helpers.bundle import make_rootfs
from helpers.cri import Cri, pause_image
from helpers.engines import IMAGE, NO_NETWORK, Containerd, Docker, make_image
from helpers.island import new_island
from helpers.leaks import remove_cgroups, remove_tree

from bench.__main__ import host, in_own_mounts
from bench.report import table
from bench.results import OURS, Results

PREFIX = "bench-engines"


class Engines:
    """The daemons, each with every runtime."""

    def __init__(self, stack: ExitStack, runtimes: dict[str, Path], crictl: Path) -> None:
        directory = Path(tempfile.mkdtemp(prefix="pyrunc-bench-", dir="/var/tmp"))
        stack.callback(remove_cgroups, PREFIX)
        stack.callback(remove_tree, directory)
        directory.chmod(0o755)
        self.runtimes = runtimes
        image = make_image(make_rootfs(directory / "rootfs"), directory / "image.tar")
        for name in ("containerd", "docker"):
            (directory / name).mkdir()
        ours = runtimes[OURS]

        self.containerd = Containerd(directory / "containerd", ours, f"{PREFIX}-ctr")
        stack.callback(self.containerd.daemon.stop)
        self.containerd("image", "import", str(image))

        socket = self.containerd.daemon.socket
        flags = [
            f"--add-runtime={name}={path}" for name, path in runtimes.items() if name != "runc"
        ]
        self.docker = Docker(
            directory / "docker",
            ours,
            f"{PREFIX}-docker",
            f"--containerd={socket}",
            *flags,
            *NO_NETWORK,
        )
        stack.callback(self.docker.daemon.stop)
        self.docker("load", "--input", str(image))

        handlers = {name: path for name, path in runtimes.items() if name != "runc"}
        island = stack.enter_context(new_island("ipc"))
        self.cri = Cri(directory / "cri", island, ours, handlers, crictl, f"{PREFIX}-cri")
        stack.callback(self.cri.stop)
        self.cri.load(image)
        self.cri.load(pause_image(directory))

    def docker_run(self, runtime: str) -> None:
        self.docker("run", "--rm", f"--runtime={runtime}", "--network=none", IMAGE, "true")

    def ctr_run(self, runtime: str) -> None:
        words = self.containerd.run_arguments("--rm", runtime=self.runtimes[runtime])
        self.containerd(*words, f"{PREFIX}-{time.monotonic_ns()}", "true")

    def pod(self, runtime: str) -> None:
        """A pod with a network and a container, from nothing to nothing."""
        pod = self.cri.pod(runtime)
        self.cri.container(pod, IMAGE, "sleep", "1000")
        self.cri("rmp", "--force", pod)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="bench.engines", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="samples of each row (default: 15)")
    parser.add_argument("--pyrunc", type=Path, default=Path(sys.prefix, "bin", OURS))
    parser.add_argument("--crictl", type=Path, default=Path("build/cri-tools/crictl"))
    arguments = parser.parse_args()
    in_own_mounts("bench.engines")
    found = {name: shutil.which(name) for name in ("runc", "crun")}
    runtimes = {OURS: arguments.pyrunc.absolute()}
    runtimes |= {name: Path(path) for name, path in found.items() if path}
    results = Results()
    with ExitStack() as stack:
        engines = Engines(stack, runtimes, arguments.crictl.absolute())
        courses: dict[str, Callable[[str], None]] = {
            "docker run --rm": engines.docker_run,
            "ctr run --rm": engines.ctr_run,
            "CRI: a pod and its container, made and removed": engines.pod,
        }
        for name, course in courses.items():
            for number in range(-1, arguments.rounds):  # the first warms up
                names = list(runtimes)
                for runtime in names[number % len(names) :] + names[: number % len(names)]:
                    start = time.monotonic()
                    course(runtime)
                    if number >= 0:
                        results.add(name, "ms", runtime, 1000 * (time.monotonic() - start))
    about = host()
    print(
        f"{about['date']}, Linux {about['kernel']}, {about['processor']}, cgroup {about['cgroups']}"
    )
    print(table(results))


if __name__ == "__main__":
    main()
