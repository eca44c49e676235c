"""Docker as it is set up on a host: the runtime is its default, and its containers have networks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.command import Completed, run_command, wait_until
from helpers.engines import COMPOSE, IMAGE, NO_NETWORK, Containerd, Docker, install
from helpers.island import Island, new_island
from helpers.leaks import remove_cgroups

pytestmark = [pytest.mark.root, pytest.mark.engines]

# So that a name that is not known is not asked for again and again.
HASTE = ("--dns-option=timeout:1", "--dns-option=attempts:1")
SERVER = "mkdir /www; hostname >/www/index.html; exec httpd -f -p 80 -h /www"


@pytest.fixture(scope="module")
def island() -> Iterator[Island]:
    with new_island() as island:
        island.ip("link", "set", "lo", "up")
        yield island


@pytest.fixture(scope="module")
def host(
    workspace: Path,
    runtime_binary: Path,
    engine_runtime: Path,
    containerd_daemon: Containerd,
    image: Path,
    prefix: str,
    island: Island,
) -> Iterator[Docker]:
    """dockerd with a bridge, whose default runtime `pyrunc install` has set."""
    directory = workspace / "docker-host"
    directory.mkdir()
    cgroups = f"{prefix}docker-host"
    install(
        runtime_binary,
        "docker",
        directory / "daemon.json",
        engine_runtime,
        "installed",
        "--default",
    )
    engine = Docker(
        directory,
        engine_runtime,
        cgroups,
        f"--containerd={containerd_daemon.daemon.socket}",
        "--containerd-namespace=docker-host",
        "--containerd-plugins-namespace=docker-host-plugins",
        "--bip=10.98.0.1/24",
        "--live-restore",
        inside=island.inside(),
    )
    engine("load", "--input", str(image))
    yield engine
    engine.clean()
    engine.daemon.stop()
    remove_cgroups(cgroups)


@pytest.fixture
def docker(host: Docker) -> Iterator[Docker]:
    yield host
    host.clean()


def server(docker: Docker, *flags: str) -> str:
    """A container that serves its host name on port 80."""
    words = ("run", "--detach", *flags, IMAGE, "sh", "-c", SERVER)
    return docker(*words).stdout.strip()


def test_the_default_runtime(docker: Docker) -> None:
    assert docker("info", "--format={{.DefaultRuntime}}").stdout == "installed\n"
    container = docker("run", "--detach", IMAGE, "sleep", "1000").stdout.strip()
    assert docker.inspect(container, "{{.HostConfig.Runtime}}") == "installed"


def test_bridge(docker: Docker, island: Island) -> None:
    container = server(docker, "--hostname=box", "--publish=8080:80")
    address = docker.inspect(container, "{{.NetworkSettings.IPAddress}}")
    for url in (f"http://{address}/", "http://10.98.0.1:8080/"):
        wait_until(lambda url=url: island.get(url) == "box\n", url)  # type: ignore[misc]
    shared = ("run", "--rm", f"--network=container:{container}", IMAGE)
    assert docker(*shared, "wget", "-q", "-O", "-", "http://127.0.0.1/").stdout == "box\n"


def test_names_on_a_network_of_the_user(docker: Docker) -> None:
    docker("network", "create", "friends")
    try:
        container = server(docker, "--network=friends", "--name=web")
        wget = (
            "run",
            "--rm",
            "--network=friends",
            *HASTE,
            IMAGE,
            "wget",
            "-q",
            "-O",
            "-",
            "http://web/",
        )
        wait_until(lambda: docker(*wget, check=False).stdout == f"{container[:12]}\n", "the page")
        docker("network", "disconnect", "friends", container)
        assert docker(*wget, check=False).returncode != 0
        docker("network", "connect", "--alias=web", "friends", container)
        wait_until(lambda: docker(*wget, check=False).stdout == f"{container[:12]}\n", "it again")
        docker("rm", "--force", container)
    finally:
        docker("network", "rm", "friends")


def test_build(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the context\n")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {IMAGE} AS first\n"
        "COPY file /file\n"
        "RUN mkdir -p /data && cat /file >/data/made && id -u >>/data/made\n"
        "USER 1000\n"
        'RUN ["sh", "-c", "id -u >/tmp/user"]\n'
        f"FROM {IMAGE}\n"
        "ARG WORD=none\n"
        "COPY --from=first /data/made /tmp/user /\n"
        "RUN echo $WORD >>/made && cat /user >>/made\n"
        'CMD ["cat", "/made"]\n'
    )
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    words = ("build", "--build-arg=WORD=built", "--memory=64m", "--tag=built", str(tmp_path))
    docker(*words, env=environment)
    assert docker("run", "--rm", "built").stdout == "from the context\n0\nbuilt\n1000\n"
    docker("rmi", "built")

    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo wrong >&2; exit 7\n")
    done = docker("build", "--no-cache", str(tmp_path), env=environment, check=False)
    assert done.returncode != 0
    assert "wrong" in done.stdout + done.stderr
    assert "returned a non-zero code: 7" in done.stdout + done.stderr


COMPOSITION = f"""\
version: "2.4"
services:
  store:
    image: {IMAGE}
    command: sh -c 'mkdir /www; echo stored >/www/value; exec httpd -f -p 80 -h /www'
    mem_limit: 32m
    healthcheck:
      test: wget -q -O /dev/null http://127.0.0.1/value
      interval: 200ms
      retries: 100
  worker:
    image: {IMAGE}
    command: sh -c 'wget -q -O - http://store/value; echo $$NAME; exec sleep 1000'
    environment: {{NAME: of the environment}}
    stop_signal: SIGKILL
    volumes: [shared:/shared]
    depends_on: {{store: {{condition: service_healthy}}}}
volumes:
  shared: {{}}
"""


def test_compose(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(COMPOSITION)

    def compose(*words: str, check: bool = True) -> Completed:
        environment = {**os.environ, "DOCKER_HOST": f"unix://{docker.socket}"}
        command = [COMPOSE, "--project-name", "composed", *words]
        return run_command(command, check=check, cwd=tmp_path, env=environment)

    try:
        compose("up", "--detach", "--scale", "worker=2")
        wait_until(
            lambda: compose("logs", "worker").stdout.count("of the environment") == 2, "the workers"
        )
        assert compose("logs", "worker").stdout.count("stored") == 2
        done = compose("exec", "-T", "store", "cat", "/proc/1/cmdline")
        assert done.stdout.startswith("httpd")
        compose("pause", "store")
        compose("unpause", "store")
        compose("restart", "--timeout", "0", "worker")
        assert compose("ps", "--quiet", "worker").stdout.count("\n") == 2
        done = compose(
            "run",
            "--rm",
            "-T",
            "worker",
            "sh",
            "-c",
            "wget -q -O - store/value; exit 3",
            check=False,
        )
        assert (done.returncode, done.stdout) == (3, "stored\n")
    finally:
        compose("down", "--volumes", "--timeout", "0")
    assert docker("ps", "--all", "--quiet").stdout == ""


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_live_restore(docker: Docker, island: Island, end: str) -> None:
    """Containers go on while dockerd is away, also when it was killed; it knows them afterwards."""
    container = server(docker, "--name=lives", "--hostname=box", "--publish=8081:80")
    loop = 'trap "exit 6" TERM; n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done'
    words = ("run", "--detach", "--restart=on-failure:1", IMAGE, "sh", "-c", loop)
    counter = docker(*words).stdout.strip()
    pids = [docker.inspect(name, "{{.State.Pid}}") for name in (container, counter)]
    getattr(docker.daemon.process, end)()
    docker.daemon.process.wait()
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
    docker.start_daemon()
    assert pids == [docker.inspect(name, "{{.State.Pid}}") for name in (container, counter)]
    assert docker("exec", container, "hostname").stdout == "box\n"
    wait_until(lambda: island.get("http://10.98.0.1:8081/") == "box\n", "the page")
    seen = len(docker("logs", counter).stdout.splitlines())
    wait_until(lambda: len(docker("logs", counter).stdout.splitlines()) > seen, "more of the log")
    docker("pause", container)
    docker("unpause", container)
    docker("stop", "--time=30", counter)
    assert docker.inspect(counter, "{{.State.ExitCode}} {{.RestartCount}}") == "6 0"


def test_what_ended_while_dockerd_was_away(docker: Docker) -> None:
    words = ("run", "--detach", "--restart=always", IMAGE, "sh", "-c", "sleep 1000; exit 4")
    always = docker(*words).stdout.strip()
    once = docker("run", "--detach", IMAGE, "sh", "-c", "exec sleep 1000").stdout.strip()
    pids = [docker.inspect(name, "{{.State.Pid}}") for name in (always, once)]
    docker.daemon.process.terminate()
    docker.daemon.process.wait()
    for pid in pids:
        os.kill(int(pid), 9)
    docker.start_daemon()
    wait_until(
        lambda: (
            docker.inspect(always, "{{.State.Status}} {{.State.Pid}}")
            not in ("exited 0", f"running {pids[0]}")
        ),
        "the restart",
    )
    wait_until(lambda: docker.inspect(always, "{{.State.Running}}") == "true", "it to run")
    assert docker.inspect(once, "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"


def test_restart_policy_always(docker: Docker) -> None:
    words = ("run", "--detach", "--restart=always", IMAGE, "sleep", "1000")
    container = docker(*words).stdout.strip()
    pid = docker.inspect(container, "{{.State.Pid}}")
    os.kill(int(pid), 9)
    wait_until(lambda: docker.inspect(container, "{{.State.Pid}}") not in ("0", pid), "the restart")
    assert docker.inspect(container, "{{.RestartCount}} {{.State.Running}}") == "1 true"
    docker("stop", "--time=0", container)
    assert docker.inspect(container, "{{.State.Running}} {{.RestartCount}}").startswith("false")


def test_user_namespaces(
    workspace: Path, engine_runtime: Path, image: Path, prefix: str, tmp_path: Path
) -> None:
    """dockerd --userns-remap, with subordinate ids that only it sees."""
    directory = workspace / "docker-userns"
    directory.mkdir()
    ids = tmp_path / "ids"
    ids.write_text("nobody:300000:65536\nnogroup:300000:65536\n")
    script = f'mount --bind {ids} /etc/subuid && mount --bind {ids} /etc/subgid && exec "$@"'
    cgroups = f"{prefix}docker-userns"
    docker = Docker(
        directory,
        engine_runtime,
        cgroups,
        "--userns-remap=nobody:nogroup",
        *NO_NETWORK,
        inside=("unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"),
    )
    volume = directory / "volume"
    volume.mkdir()
    os.chown(volume, 300000, 300000)
    try:
        docker("load", "--input", str(image))
        script = "cat /proc/self/uid_map; touch /data/file; chown 1000 /data/file; id -u"
        done = docker.run(f"--volume={volume}:/data", "sh", "-c", script)
        assert done.stdout.split() == ["0", "300000", "65536", "0"]
        assert (volume / "file").stat().st_uid == 301000
        container = docker.start("--memory=32m", "--read-only", "--tmpfs=/new")
        done = docker("exec", container, "sh", "-c", "touch /new/x && cat /proc/self/gid_map")
        assert done.stdout.split() == ["0", "300000", "65536"]
        assert docker.run("--userns=host", "cat", "/proc/self/uid_map").stdout.split()[1] == "0"
        status = json.loads(docker("inspect", container).stdout)[0]["State"]["Status"]
        assert status == "running"
        docker.clean()
    finally:
        docker.daemon.stop()
        remove_cgroups(cgroups)
