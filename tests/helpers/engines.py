"""Container engines of Debian, started apart from any other on this machine, with a given runtime.

Each has its own data, state and socket below one directory, and its cgroups below one parent.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from helpers.command import LIMIT, Completed, run_command, wait_until
from helpers.images import Image, layer_of, write_images

IMAGE = "localhost/busybox:test"
#: The image of the process that holds the namespaces of a pod.
PAUSE = "localhost/pause:test"

CONTAINERD = "/usr/bin/containerd"
CTR = "/usr/bin/ctr"
DOCKERD = "/usr/sbin/dockerd"
# Debian's client, whatever other stands earlier on PATH.
DOCKER = "/usr/bin/docker"
COMPOSE = "/usr/bin/docker-compose"
BUILDAH = "/usr/bin/buildah"
PODMAN = "/usr/bin/podman"
RUNC = "/usr/sbin/runc"


def make_image(rootfs: Path, archive: Path) -> Path:
    """Write the image that all engines run."""
    return write_images(archive, [Image(IMAGE)], [layer_of(rootfs)])


def install(
    binary: Path, engine: str, config: Path, runtime: Path, name: str = "installed", *flags: str
) -> None:
    """Have `pyrunc install` make `runtime` known to an engine."""
    words = ["install", engine, f"--file={config}", f"--path={runtime}", f"--name={name}"]
    run_command([str(binary), *words, "--write", *flags])


def environment() -> dict[str, str]:
    """That of daemons: runtimes find in it the CRIU that works on this kernel."""
    criu = Path(__file__).resolve().parents[2] / "build" / "criu"
    return {**os.environ, "PATH": f"{criu}:{os.environ['PATH']}"}


class Daemon:
    """A daemon that is started once and ended by its pid.

    Attributes:
        socket: where its clients connect.
        log: what it wrote.
    """

    def __init__(
        self,
        command: Sequence[str],
        socket: Path,
        log: Path,
        answers: Callable[[], bool] | None = None,
    ) -> None:
        """Start it and wait for its socket, or until it answers.

        Raises:
            AssertionError: it ended, or was not ready in time; with its log.
        """
        self.socket = socket
        self.log = log
        self.read = 0
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment()
            )

        def ready() -> bool:
            assert self.process.poll() is None, f"{command[0]} ended:\n{log.read_text()}"
            return answers() if answers else socket.exists()

        wait_until(ready, f"{socket}")

    def news(self) -> str:
        """What it has written to its log since the last call."""
        if not self.log.exists():  # at the end of the session
            return ""
        text = self.log.read_text(errors="replace")
        new, self.read = text[self.read :], len(text)
        return new

    def stop(self) -> None:
        """End it as its service manager would."""
        self.process.terminate()
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Containerd:
    """containerd with nothing but what `ctr` and dockerd need.

    Attributes:
        namespace: of what the tests do with `ctr`; also the parent of their cgroups.
    """

    def __init__(
        self, directory: Path, runtime: Path, namespace: str, inside: Sequence[str] = ()
    ) -> None:
        """`inside` is what its command line begins with, to run it in other namespaces."""
        self.directory = directory
        self.runtime = runtime
        self.namespace = namespace
        config = directory / "config.toml"
        socket = directory / "containerd.sock"
        config.write_text(
            "version = 2\n"
            f'root = "{directory}/root"\n'
            f'state = "{directory}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{socket}"\n'
        )
        self.daemon = Daemon(
            [*inside, CONTAINERD, "--config", str(config)], socket, directory / "containerd.log"
        )

    @property
    def runtime_root(self) -> Path:
        """The `--root` that the shim gives the runtime, without the namespace that it adds."""
        return self.directory / "runtime"

    def command(self, *arguments: str) -> list[str]:
        """The command line of one `ctr` command."""
        return [
            CTR,
            "--address",
            str(self.daemon.socket),
            "--namespace",
            self.namespace,
            *arguments,
        ]

    def __call__(self, *arguments: str, check: bool = True, **options: Any) -> Completed:
        """Run one `ctr` command."""
        return run_command(self.command(*arguments), check=check, **options)

    def run_arguments(self, *flags: str, runtime: Path | None = None) -> list[str]:
        """`run` with the runtime under test, and the image."""
        binary = ["--runc-binary", str(runtime or self.runtime)]
        return ["run", *binary, "--runc-root", str(self.runtime_root), *flags, IMAGE]

    def tasks(self) -> dict[str, str]:
        """Status by id."""
        rows = [line.split() for line in self("task", "ls").stdout.splitlines()[1:]]
        return {row[0]: row[2] for row in rows}

    def wait(self, container: str, status: str) -> None:
        """Wait for the status of a task."""
        wait_until(lambda: self.tasks().get(container) == status, f"{container}: {status}")

    def clean(self) -> None:
        """Remove all containers."""
        for container in self.tasks():
            self("task", "kill", "--signal", "SIGKILL", container, check=False)
            self("task", "delete", "--force", container, check=False)
        for container in self("container", "ls", "--quiet").stdout.split():
            self("container", "rm", container, check=False)


#: For a dockerd that is to leave the network of the machine alone.
NO_NETWORK = (
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
    "--ip-masq=false",
)


class Docker:
    """dockerd with the runtime under test as `tested`.

    Attributes:
        directory: its data, state, socket and log.
        flags: those of the daemon beside the ones that keep it apart from others.
        inside: what its command line begins with, to run it in other namespaces.
    """

    def __init__(
        self,
        directory: Path,
        runtime: Path,
        cgroups: str,
        *flags: str,
        inside: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.inside = inside
        self.socket = directory / "docker.sock"
        config = directory / "daemon.json"
        if not config.exists():
            config.write_text("{}")
        self.flags = [
            f"--config-file={config}",
            f"--data-root={directory}/data",
            f"--exec-root={directory}/exec",
            f"--pidfile={directory}/pid",
            f"--host=unix://{self.socket}",
            f"--add-runtime=tested={runtime}",
            f"--cgroup-parent=/{cgroups}",
            *flags,
        ]
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start dockerd, again if it was stopped."""
        self.daemon = Daemon(
            [*self.inside, DOCKERD, *self.flags],
            self.socket,
            self.directory / "dockerd.log",
            lambda: self("version", check=False).returncode == 0,
        )

    def command(self, *arguments: str) -> list[str]:
        """The command line of one `docker` command."""
        return [DOCKER, f"--host=unix://{self.socket}", *arguments]

    def __call__(self, *arguments: str, check: bool = True, **options: Any) -> Completed:
        """Run one `docker` command."""
        return run_command(self.command(*arguments), check=check, **options)

    def run(self, flags: str, *command: str, check: bool = True, **options: Any) -> Completed:
        """`docker run --rm` of the image, with flags separated by blanks."""
        return self(*self.run_arguments("--rm", *flags.split()), *command, check=check, **options)

    def run_arguments(self, *flags: str) -> list[str]:
        """`run` with the runtime under test, and the image."""
        return ["run", "--runtime", "tested", *flags, IMAGE]

    def inspect(self, container: str, template: str) -> str:
        """One value of what `docker inspect` knows."""
        return self("inspect", "--format", template, container).stdout.strip()

    def start(self, *flags: str, command: tuple[str, ...] = ("sleep", "1000")) -> str:
        """A detached container; returns its id."""
        return self(*self.run_arguments("--detach", *flags), *command).stdout.strip()

    def clean(self) -> None:
        """Remove all containers."""
        containers = self("ps", "--all", "--quiet").stdout.split()
        if containers:
            self("rm", "--force", "--volumes", *containers, check=False)


class Podman:
    """podman with the runtime under test; it has no daemon."""

    def __init__(self, directory: Path, runtime: Path, cgroups: str) -> None:
        self.directory = directory
        self.runtime = runtime
        self.cgroups = cgroups
        config = self.config = directory / "containers.conf"
        # Podman's own limits are above what a process without CAP_SYS_RESOURCE may set.
        config.write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
            f'[engine]\nlock_type = "file"\ninfra_image = "{PAUSE}"\ninfra_command = "/pause"\n'
        )
        self.environment = {**os.environ, "CONTAINERS_CONF": str(config)}

    def command(self, *arguments: str) -> list[str]:
        """The command line of one `podman` command."""
        return [
            PODMAN,
            f"--root={self.directory}/root",
            f"--runroot={self.directory}/run",
            f"--tmpdir={self.directory}/tmp",
            f"--runtime={self.runtime}",
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
            "--storage-driver=overlay",
            *arguments,
        ]

    def __call__(self, *arguments: str, check: bool = True, **options: Any) -> Completed:
        """Run one `podman` command."""
        return run_command(self.command(*arguments), check=check, env=self.environment, **options)

    def run_arguments(self, *flags: str) -> list[str]:
        """`run` without a network, and the image."""
        return ["run", "--network=none", f"--cgroup-parent=/{self.cgroups}", *flags, IMAGE]

    def inspect(self, container: str, template: str) -> str:
        """One value of what `podman inspect` knows."""
        return self("inspect", "--format", template, container).stdout.strip()

    def clean(self) -> None:
        """Remove all containers."""
        self("rm", "--all", "--force", "--time=0", check=False)

    @property
    def store_mount(self) -> str:
        """The mount that podman itself keeps now and then."""
        return f"{self.directory}/root/overlay"
