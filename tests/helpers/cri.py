"""containerd's CRI plugin with its network, as a node of Kubernetes has it, driven by `crictl`.

All that has to do with the network is in a network namespace of its own: the daemon, the bridge of
its pods, the registry that it pulls from, and the clients.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.command import Completed, run_command, wait_until
from helpers.engines import CONTAINERD, CTR, PAUSE, Daemon, install
from helpers.images import Image, layer_of, layer_with, static_program, write_images
from helpers.island import Island
from pyrunc.cgroups.unit import slice_path

REGISTRY = "/usr/bin/docker-registry"
CNI_PLUGINS = "/usr/lib/cni"
REGISTRY_ADDRESS = "127.0.0.1:5000"

PAUSE_SOURCE = """\
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int number) { _exit(number == SIGINT || number == SIGTERM ? 0 : 1); }
static void reap(int number) { while (waitpid(-1, NULL, WNOHANG) > 0) ; (void)number; }

int main(void)
{
	signal(SIGINT, stop);
	signal(SIGTERM, stop);
	signal(SIGCHLD, reap);
	for (;;)
		pause();
}
"""

_CONFIG = """\
version = 2
root = "{directory}/root"
state = "{directory}/state"

[grpc]
  address = "{socket}"

[plugins]
  [plugins."io.containerd.internal.v1.opt"]
    path = "{directory}/opt"
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "{pause}"
    # a process without CAP_SYS_RESOURCE may not lower the score as the kubelet asks for
    restrict_oom_score_adj = true
    netns_mounts_under_state_dir = true
    stream_server_address = "127.0.0.1"
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "{cni}"
      conf_dir = "{directory}/cni"
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "{directory}/registries"
    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
          SystemdCgroup = {systemd}
"""
_NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/16"}]]},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


class Cri:
    """containerd with the CRI plugin, whose handlers are "runc", the default, and others.

    Attributes:
        daemon: containerd.
        island: the network namespace.
        handlers: programs of the handlers other than runc.
        crictl: the client.
        parent: of the cgroups of pods.
        slice: that of systemd for the pods, which then makes the cgroups as kubeadm sets nodes up; or "".
    """

    def __init__(
        self,
        directory: Path,
        island: Island,
        installer: Path,
        handlers: Mapping[str, Path],
        crictl: Path,
        parent: str,
        *,
        systemd: bool = False,
    ) -> None:
        """`installer` is the pyrunc whose `install` makes the handlers known, `parent` a name that none has."""
        self.directory = directory
        self.island = island
        self.handlers = handlers
        self.crictl = crictl
        self.slice = f"{parent}.slice" if systemd else ""
        self.parent = slice_path(self.slice)[1:] if systemd else parent
        self.logs = directory / "logs"
        self.registry: Daemon | None = None
        self._numbers = 0
        for name in ("cni", "registries/_default", "logs"):
            (directory / name).mkdir(parents=True)
        network = json.loads(json.dumps(_NETWORK))
        network["plugins"][0]["ipam"]["dataDir"] = str(directory / "addresses")
        (directory / "cni" / "10-pods.conflist").write_text(json.dumps(network))
        (directory / "registries" / "_default" / "hosts.toml").write_text(
            f'server = "http://{REGISTRY_ADDRESS}"\n'
            f'[host."http://{REGISTRY_ADDRESS}"]\ncapabilities = ["pull", "resolve"]\n'
        )
        socket = directory / "containerd.sock"
        config = directory / "config.toml"
        config.write_text(
            _CONFIG.format(
                directory=directory,
                socket=socket,
                pause=PAUSE,
                cni=CNI_PLUGINS,
                systemd=str(systemd).lower(),
            )
        )
        for name, path in handlers.items():
            install(installer, "containerd", config, path, name)
        island.ip("link", "set", "lo", "up")
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start containerd."""
        self.daemon = Daemon(
            self.island.inside(CONTAINERD, "--config", self.directory / "config.toml"),
            self.directory / "containerd.sock",
            self.directory / "containerd.log",
            lambda: self("version", check=False).returncode == 0,
        )

    def restart(self) -> None:
        """Stop containerd, and start it again."""
        self.daemon.stop()
        self.start_daemon()

    def start_registry(self, place: Path) -> None:
        """Start a registry, which stands for all that images are pulled from, with what is in `place`."""
        config = self.directory / "registry.yml"
        config.write_text(
            f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {place}}}}}\n"
            f"http: {{addr: {REGISTRY_ADDRESS}}}\n"
        )
        probe = self.island.inside("bash", "-c", f"</dev/tcp/{REGISTRY_ADDRESS.replace(':', '/')}")
        self.registry = Daemon(
            self.island.inside(REGISTRY, "serve", config),
            place,
            self.directory / "registry.log",
            lambda: run_command(probe, check=False).returncode == 0,
        )

    def stop(self) -> None:
        """Remove all pods and end the daemons."""
        self.clean()
        self.daemon.stop()
        if self.slice:
            run_command(["systemctl", "stop", self.slice])
        if self.registry is not None:
            self.registry.stop()

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of one `crictl` command."""
        endpoint = f"unix://{self.directory}/containerd.sock"
        return self.island.inside(
            self.crictl,
            f"--runtime-endpoint={endpoint}",
            f"--image-endpoint={endpoint}",
            "--timeout=60s",  # an emulated machine is slow
            *arguments,
        )

    def __call__(self, *arguments: str | Path, check: bool = True, **options: Any) -> Completed:
        """Run one `crictl` command."""
        return run_command(self.command(*arguments), check=check, **options)

    def json(self, *arguments: str) -> Any:
        """What one `crictl` command prints as JSON."""
        return json.loads(self(*arguments).stdout)

    def ctr(self, namespace: str, *arguments: str | Path, check: bool = True) -> Completed:
        """Run one `ctr` command."""
        socket = str(self.daemon.socket)
        command = self.island.inside(CTR, "--address", socket, "--namespace", namespace, *arguments)
        return run_command(command, check=check)

    def load(self, archive: Path) -> None:
        """Import images, as is done on nodes without a way to a registry."""
        self.ctr("k8s.io", "image", "import", archive)

    def push(self, archive: Path, names: list[str]) -> None:
        """Put images of an archive into the registry."""
        self.ctr("push", "image", "import", archive)
        for name in names:
            words = ("push", "image", "push", "--plain-http", _in_registry(name), name)
            # now and then its reader and its writer disagree on where a blob ends
            if self.ctr(*words, check=False).returncode != 0:
                self.ctr(*words)

    def pod(self, handler: str = "", **config: Any) -> str:
        """Run a pod sandbox; `config` is of the CRI's PodSandboxConfig. Returns its id."""
        self._numbers += 1
        name = f"pod{self._numbers}"
        document = {
            "metadata": {"name": name, "namespace": "tests", "uid": name, "attempt": 1},
            "log_directory": str(self.logs / name),
            "linux": {},
            **config,
        }
        parent = self.slice or f"/{self.parent}"
        document["linux"] = {"cgroup_parent": parent, **document["linux"]}
        path = self._document(name, document)
        flags = [f"--runtime={handler}"] if handler else []
        return self("runp", *flags, path).stdout.strip()

    def container(self, pod: str, image: str, *command: str, **config: Any) -> str:
        """Create and start a container in a pod; `config` is of the CRI's ContainerConfig."""
        self._numbers += 1
        name = f"container{self._numbers}"
        document = {
            "metadata": {"name": name, "attempt": 1},
            "image": {"image": image},
            "command": list(command),
            "log_path": f"{name}.log",
            "linux": {},
            **config,
        }
        path = self._document(name, document)
        (sandbox,) = (p for p in self.json("pods", "-o", "json")["items"] if p["id"] == pod)
        pod_path = self.directory / f"{sandbox['metadata']['name']}.json"
        created = self("create", "--no-pull", pod, path, pod_path).stdout.strip()
        self("start", created)
        return created

    def status(self, container: str) -> dict[str, Any]:
        """The status of a container."""
        status: dict[str, Any] = self.json("inspect", container)["status"]
        return status

    def wait(self, container: str, state: str = "CONTAINER_EXITED") -> dict[str, Any]:
        """Wait for the state of a container; returns its status."""
        wait_until(lambda: self.status(container)["state"] == state, f"{container}: {state}")
        return self.status(container)

    def cgroup(self, container: str) -> str:
        """The path of a container's cgroup, in each hierarchy."""
        name = f"cri-containerd-{container}.scope" if self.slice else container
        return f"{self.parent}/{name}"

    def clean(self) -> None:
        """Remove all pods."""
        if pods := self("pods", "--quiet").stdout.split():
            self("rmp", "--force", *pods)

    def _document(self, name: str, document: Mapping[str, Any]) -> Path:
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(document))
        return path


def pause_image(directory: Path) -> Path:
    """An archive of the image of pods."""
    program = static_program(PAUSE_SOURCE, directory)
    image = Image(PAUSE, Entrypoint=["/pause"], Cmd=None)
    return write_images(directory / "pause.tar", [image], [layer_with({"pause": (0o755, program)})])


def shell_pause_image(rootfs: Path, archive: Path) -> Path:
    """The same with a shell instead of a program that has to be compiled."""
    script = "trap 'exit 0' INT TERM; while :; do sleep 1000 & wait; done"
    image = Image(PAUSE, Entrypoint=["/bin/sh", "-c", script], Cmd=None)
    return write_images(archive, [image], [layer_of(rootfs)])


def _in_registry(name: str) -> str:
    """A reference to the registry on loopback, in which an image has the path of its name."""
    return f"{REGISTRY_ADDRESS}/{name.partition('/')[2]}"
