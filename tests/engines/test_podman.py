"""Podman, which calls the runtime by way of conmon."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.command import Completed, run_command, wait_until
from helpers.criu import working_criu
from helpers.engines import BUILDAH, IMAGE, PAUSE, Podman, install
from helpers.leaks import cgroups, remove_cgroups
from helpers.terminal import TerminalProcess

LIMIT = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null"

pytestmark = [pytest.mark.root, pytest.mark.engines]


def test_run(podman: Podman) -> None:
    arguments = podman.run_arguments("--rm")
    done = podman(*arguments, "sh", "-c", "echo out; echo err >&2; exit 4", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")


@pytest.mark.parametrize("program", ["no-such", "/etc/passwd"])
def test_a_program_that_cannot_be_executed(podman: Podman, program: str) -> None:
    """Podman tells the two apart only by an error of `create`; from `start` all are 126."""
    done = podman(*podman.run_arguments("--rm"), program, check=False)
    assert done.returncode in (126, 127)
    assert program in done.stderr


def test_limits_user_and_capabilities(podman: Podman) -> None:
    flags = ("--rm", "--memory=32m", "--user=1000", "--cap-drop=ALL", "--read-only")
    script = f"id -u; grep CapEff /proc/self/status; {LIMIT}"
    done = podman(*podman.run_arguments(*flags), "sh", "-c", script, check=False)
    assert done.stdout.split() == ["1000", "CapEff:", "0" * 16, str(32 << 20)]


def test_life_of_a_container(podman: Podman) -> None:
    container = podman(*podman.run_arguments("--detach"), "sleep", "1000").stdout.strip()
    done = podman("exec", container, "sh", "-c", "echo in; exit 3", check=False)
    assert (done.returncode, done.stdout) == (3, "in\n")

    podman("pause", container)
    assert podman.inspect(container, "{{.State.Status}}") == "paused"
    podman("unpause", container)
    assert podman.inspect(container, "{{.State.Status}}") == "running"

    podman("restart", "--time=0", container)
    podman("kill", container)
    assert podman("wait", container).stdout.strip() == "137"
    podman("rm", container)


def test_terminal(podman: Podman) -> None:
    command = podman.command(*podman.run_arguments("--rm", "-it"), "sh")
    with TerminalProcess(["env", *_assignments(podman), *command]) as terminal:
        terminal.send("tty; echo on''ce\n")
        terminal.expect("/dev/pts/0")
        terminal.expect("once")
        terminal.send("exit 5\n")
        assert terminal.wait() == 5


def _assignments(podman: Podman) -> list[str]:
    return [f"CONTAINERS_CONF={podman.config}"]


def test_containers_share_namespaces(podman: Podman) -> None:
    first = podman(*podman.run_arguments("--detach"), "sleep", "1000").stdout.strip()
    flags = ("--rm", f"--ipc=container:{first}", f"--pid=container:{first}")
    done = podman(*podman.run_arguments(*flags), "cat", "/proc/1/comm")
    assert done.stdout == "sleep\n"


def test_a_runtime_that_was_installed(
    podman: Podman, runtime_binary: Path, engine_runtime: Path
) -> None:
    """By `pyrunc install podman --write`, into what podman's configuration has already."""
    install(runtime_binary, "podman", podman.config, engine_runtime)
    command = [
        word if not word.startswith("--runtime=") else "--runtime=installed"
        for word in podman.command(*podman.run_arguments("--rm"), "cat", "/proc/1/comm")
    ]
    assert run_command(command, env=podman.environment).stdout == "cat\n"


# --- pods -----------------------------------------------------------------------------------------


def test_pod(podman: Podman) -> None:
    flags = (f"--cgroup-parent=/{podman.cgroups}", "--network=none", "--share=ipc,uts,net,pid")
    pause = (f"--infra-image={PAUSE}", "--infra-command=/pause")
    before = set(cgroups(podman.cgroups))
    podman("pod", "create", "--name=duo", *flags, *pause)
    try:
        podman("run", "--pod=duo", "--detach", "--name=one", IMAGE, "sleep", "1000")
        seen = podman("run", "--pod=duo", "--rm", IMAGE, "ps", "-o", "args").stdout.splitlines()
        assert seen[1:3] == ["/pause", "sleep 1000"]
        podman("pod", "pause", "duo")
        assert podman.inspect("one", "{{.State.Status}}") == "paused"
        podman("pod", "unpause", "duo")
        assert "sleep 1000" in podman("pod", "top", "duo").stdout
        assert len(podman("pod", "stats", "--no-stream", "duo").stdout.splitlines()) == 3
        podman("pod", "restart", "duo")
        assert podman("exec", "one", "cat", "/proc/1/comm").stdout == "pause\n"
        podman("pod", "kill", "duo")
        assert podman.inspect("one", "{{.State.ExitCode}}") == "137"
    finally:
        podman("pod", "rm", "--force", "--time=0", "duo")
        # podman leaves that of the pod where there are no controllers, with any runtime
        remove_cgroups(podman.cgroups, keep=before)


PLAYED = """\
apiVersion: v1
kind: Pod
metadata: {{name: played, annotations: {{io.podman.annotations.infra.name: held}}}}
spec:
  restartPolicy: Never
  containers:
    - name: web
      image: {image}
      imagePullPolicy: Never
      command: [sh, -c, "echo $A >/tmp/a; exec sleep 1000"]
      env: [{{name: A, value: b}}]
      workingDir: /tmp
      securityContext: {{runAsUser: 1000, capabilities: {{drop: [ALL]}}}}
      resources: {{limits: {{memory: 32Mi}}}}
      livenessProbe: {{exec: {{command: [test, -e, /tmp/a]}}}}
      volumeMounts: [{{name: shared, mountPath: /shared, readOnly: true}}]
  volumes: [{{name: shared, hostPath: {{path: {directory}, type: Directory}}}}]
"""


def test_kube_play(podman: Podman, workspace: Path) -> None:
    shared = workspace / "played"
    shared.mkdir()
    (shared / "file").write_text("from the host\n")
    manifest = workspace / "played.yaml"
    manifest.write_text(PLAYED.format(image=IMAGE, directory=shared))
    parents = cgroups("libpod_parent")
    try:
        podman("kube", "play", "--network=none", str(manifest))
        script = "id -u; pwd; cat /tmp/a /shared/file; touch /shared/x || echo refused; " + LIMIT
        said = podman("exec", "played-web", "sh", "-c", f"{script} || true").stdout.splitlines()
        assert said == ["1000", "/tmp", "b", "from the host", "refused", str(32 << 20)]
        podman("healthcheck", "run", "played-web")
        assert podman.inspect("played-web", "{{.State.Healthcheck.Status}}") == "healthy"
    finally:
        podman("kube", "down", str(manifest))
    if not parents:  # where podman has the cgroups of what it plays
        remove_cgroups("libpod_parent")
    assert podman("ps", "--all", "--quiet").stdout == ""


def test_health_check(podman: Podman) -> None:
    flags = ("--detach", "--name=checked", "--health-cmd=test -e /ok", "--health-interval=disable")
    podman(*podman.run_arguments(*flags), "sleep", "1000")
    done = podman("healthcheck", "run", "checked", check=False)
    assert (done.returncode, done.stdout) == (1, "unhealthy\n")
    podman("exec", "checked", "touch", "/ok")
    podman("healthcheck", "run", "checked")
    assert podman.inspect("checked", "{{.State.Healthcheck.Status}}") == "healthy"


def test_checkpoint_and_restore(podman: Podman) -> None:
    criu = working_criu()
    environment = {**podman.environment, "PATH": f"{criu.parent}:{os.environ['PATH']}"}
    loop = "n=0; while :; do n=$((n+1)); echo $n >/n; sleep 0.02; done"
    container = podman(*podman.run_arguments("--detach"), "sh", "-c", loop).stdout.strip()

    def podman_with_criu(*words: str) -> None:
        run_command(podman.command(*words), env=environment)

    def number() -> int:
        return int(podman("exec", container, "cat", "/n").stdout or 0)

    wait_until(lambda: number() > 5, "the container to count")
    before = number()
    podman_with_criu("container", "checkpoint", "--keep", container)
    assert podman.inspect(container, "{{.State.Status}} {{.State.Checkpointed}}") == "exited true"
    podman_with_criu("container", "restore", container)
    wait_until(lambda: number() > before, "it to count on")
    podman("kill", container)
    assert podman("wait", container).stdout.strip() == "137"


# --- Buildah --------------------------------------------------------------------------------------


@pytest.fixture
def buildah(podman: Podman) -> Iterator[Callable[..., Completed]]:
    """Runs a buildah command on the images of podman."""
    places = (f"--root={podman.directory}/root", f"--runroot={podman.directory}/run")

    def run(*words: str, check: bool = True) -> Completed:
        command = [BUILDAH, *places, "--storage-driver=overlay", *words]
        return run_command(command, check=check, env=podman.environment)

    yield run
    run("rm", "--all")


def test_buildah_run(
    podman: Podman, buildah: Callable[..., Completed], workspace: Path, container_id: str
) -> None:
    buildah("from", f"--name={container_id}", f"--cgroup-parent=/{podman.cgroups}/run", IMAGE)
    runtime = (f"--runtime={podman.runtime}", "--network=none")
    script = "echo out; id -u; echo err >&2; exit 3"
    done = buildah("run", *runtime, container_id, "--", "sh", "-c", script, check=False)
    assert (done.returncode, done.stdout) == (3, "out\n0\n"), done.stderr
    assert "err\n" in done.stderr
    flags = ("--user=1000", "--cap-drop=all", f"--volume={workspace}:/v:ro")
    script = "id -u; grep CapBnd /proc/self/status; touch /v/x || echo refused"
    done = buildah("run", *runtime, *flags, container_id, "--", "sh", "-c", script)
    assert done.stdout.split() == ["1000", "CapBnd:", "0" * 16, "refused"]
    buildah("run", *runtime, container_id, "--", "touch", "/kept")
    buildah("run", *runtime, container_id, "--", "ls", "/kept")
    buildah("rm", container_id)


def test_buildah_bud(podman: Podman, buildah: Callable[..., Completed], tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {IMAGE}\nRUN echo made >/made && id -u >>/made\nUSER 1000\n"
        'RUN ["sh", "-c", "id -u >/tmp/user"]\nCMD ["cat", "/made", "/tmp/user"]\n'
    )
    flags = (
        f"--runtime={podman.runtime}",
        "--network=none",
        f"--cgroup-parent=/{podman.cgroups}/bud",
    )
    buildah("bud", *flags, "--tag=localhost/built", str(tmp_path))
    run = podman.run_arguments("--rm")[:-1]
    assert podman(*run, "localhost/built").stdout == "made\n0\n1000\n"
    podman("rmi", "localhost/built")
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo wrong >&2; exit 7\n")
    done = buildah("bud", *flags, str(tmp_path), check=False)
    assert done.returncode != 0
    assert "wrong" in done.stderr
    assert "exit status 7" in done.stderr, done.stderr
