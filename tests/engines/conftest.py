"""Engines with the runtime under test; $ENGINE_RUNTIME names another, to prove the tests with."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.cri import CNI_PLUGINS, Cri, pause_image, shell_pause_image
from helpers.engine_matrix import Results, collect
from helpers.engines import (
    BUILDAH,
    CONTAINERD,
    CTR,
    DOCKER,
    DOCKERD,
    IMAGE,
    NO_NETWORK,
    PODMAN,
    RUNC,
    Containerd,
    Docker,
    Podman,
    install,
    make_image,
)
from helpers.island import new_island
from helpers.leaks import Leaks, remove_cgroups

REPOSITORY = Path(__file__).resolve().parents[2]


_results: Results = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Add to a failure what the daemons logged during the test."""
    report = (yield).get_result()
    if report.when == "call" or not report.passed:
        collect(item.nodeid, report.outcome, _results)
    for engine in getattr(item, "funcargs", {}).values():
        if isinstance(engine, Containerd | Cri | Docker):
            news = engine.daemon.news()
            if report.failed:
                report.sections.append((f"log of {type(engine).__name__.lower()}", news[-10000:]))


def pytest_sessionfinish() -> None:
    """Write what came of the tests, for the matrix in docs/engines.md."""
    if path := os.environ.get("ENGINE_RESULTS"):
        Path(path).write_text(json.dumps(_results))


def _need(*programs: str) -> None:
    missing = [program for program in programs if not os.access(program, os.X_OK)]
    if missing:
        pytest.fail(f"not installed: {', '.join(missing)}: scripts/install-deps test")


@pytest.fixture(scope="session")
def engine_runtime(request: pytest.FixtureRequest) -> Path:
    """The runtime that the engines get."""
    other = os.environ.get("ENGINE_RUNTIME")
    if other is not None:
        return Path(other)
    binary: Path = request.getfixturevalue("runtime_binary")
    return binary


@pytest.fixture(scope="session")
def image(workspace: Path, rootfs: Path) -> Path:
    """An archive of the image that all engines run."""
    return make_image(rootfs, workspace / "image.tar")


@pytest.fixture(scope="session")
def containerd_daemon(
    workspace: Path, engine_runtime: Path, image: Path, prefix: str
) -> Iterator[Containerd]:
    """containerd for the whole session, with the image.

    One container run by runc makes what containerd and the kernel keep: no test must seem to have
    left that behind.
    """
    _need(CONTAINERD, CTR, RUNC)
    directory = workspace / "containerd"
    directory.mkdir()
    engine = Containerd(directory, engine_runtime, f"{prefix}containerd")
    engine("image", "import", str(image))
    engine(*engine.run_arguments("--rm", runtime=Path(RUNC)), "first", "true")
    yield engine
    engine.daemon.stop()
    remove_cgroups(engine.namespace)


@pytest.fixture(scope="session")
def docker_daemon(
    workspace: Path,
    engine_runtime: Path,
    runtime_binary: Path,
    containerd_daemon: Containerd,
    image: Path,
    prefix: str,
) -> Iterator[Docker]:
    """dockerd for the whole session, with the image; see `containerd_daemon`.

    Its configuration is the one that `pyrunc install` writes.
    """
    _need(DOCKERD, DOCKER, RUNC)
    directory = workspace / "docker"
    directory.mkdir()
    cgroups = f"{prefix}docker"
    install(runtime_binary, "docker", directory / "daemon.json", engine_runtime)
    socket = containerd_daemon.daemon.socket
    engine = Docker(directory, engine_runtime, cgroups, f"--containerd={socket}", *NO_NETWORK)
    engine("load", "--input", str(image))
    engine("run", "--rm", "--runtime", "runc", IMAGE, "true")
    engine("run", "--rm", "--runtime", "runc", "--network", "host", IMAGE, "true")
    yield engine
    engine.daemon.stop()
    remove_cgroups(cgroups)


@pytest.fixture(scope="session")
def podman_engine(
    workspace: Path, engine_runtime: Path, image: Path, prefix: str
) -> Iterator[Podman]:
    """podman with the image; see `containerd_daemon`."""
    _need(PODMAN, BUILDAH, "/usr/bin/conmon", RUNC)
    directory = workspace / "podman"
    directory.mkdir()
    engine = Podman(directory, Path(RUNC), f"{prefix}podman")
    engine("load", "--input", str(image))
    engine("load", "--input", str(pause_image(workspace)))
    engine(*engine.run_arguments("--rm"), "true")
    engine.runtime = engine_runtime
    yield engine
    remove_cgroups(engine.cgroups)


@pytest.fixture(scope="session")
def cri_tools() -> Path:
    """The directory with crictl and critest."""
    directory = REPOSITORY / "build" / "cri-tools"
    if not (directory / "crictl").exists():
        pytest.skip("no crictl and critest: scripts/install-cri-tools build/cri-tools")
    return directory


@pytest.fixture(scope="session")
def cri_daemon(
    workspace: Path,
    runtime_binary: Path,
    engine_runtime: Path,
    image: Path,
    rootfs: Path,
    prefix: str,
    cri_tools: Path,
) -> Iterator[Cri]:
    """containerd with its CRI plugin for the whole session; see `containerd_daemon`.

    Where systemd runs, it makes the cgroups.
    """
    _need(CONTAINERD, CTR, RUNC, f"{CNI_PLUGINS}/bridge")
    with new_island("ipc") as island:
        engine = Cri(
            workspace / "cri",
            island,
            runtime_binary,
            {"tested": engine_runtime},
            cri_tools / "crictl",
            f"{prefix}cri",
            systemd=Path("/run/systemd/system").is_dir(),
        )
        try:
            engine.load(image)
            engine.load(shell_pause_image(rootfs, workspace / "shell-pause.tar"))
            engine.container(engine.pod("runc"), IMAGE, "true")
            engine.clean()
            yield engine
        finally:
            engine.stop()
    remove_cgroups(f"{prefix}cri")


def _check(engine: Containerd | Cri | Docker | Podman, leaks: Leaks) -> None:
    engine.clean()
    left = leaks.found()
    if left:
        leaks.remove()
        pytest.fail("left behind:\n  " + "\n  ".join(left))


@pytest.fixture
def containerd(containerd_daemon: Containerd, workspace: Path, prefix: str) -> Iterator[Containerd]:
    """containerd; once its containers are removed, nothing may be left of them."""
    leaks = Leaks(workspace, prefix)
    yield containerd_daemon
    _check(containerd_daemon, leaks)


@pytest.fixture
def cri(cri_daemon: Cri, workspace: Path, prefix: str) -> Iterator[Cri]:
    """The CRI plugin; once its pods are removed, nothing may be left of them."""
    leaks = Leaks(workspace, prefix)
    yield cri_daemon
    _check(cri_daemon, leaks)


@pytest.fixture
def docker(docker_daemon: Docker, workspace: Path, prefix: str) -> Iterator[Docker]:
    """docker; once its containers are removed, nothing may be left of them."""
    leaks = Leaks(workspace, prefix)
    yield docker_daemon
    _check(docker_daemon, leaks)


@pytest.fixture
def podman(podman_engine: Podman, workspace: Path, prefix: str) -> Iterator[Podman]:
    """podman; once its containers are removed, nothing may be left of them."""
    leaks = Leaks(workspace, prefix, ignored=(podman_engine.store_mount,))
    yield podman_engine
    _check(podman_engine, leaks)
