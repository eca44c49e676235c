"""Fixtures of all tests.

Unit tests need none of these and no root. Tests that run containers are marked `root`; they get a
`runtime` (pyrunc, or the binary that $PYRUNC names), bundles and ids, and may ask for `no_leaks`.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import tally
from helpers.bundle import BUSYBOX, Bundle, Config, make_rootfs
from helpers.leaks import Leaks, adopt_orphans, remove_cgroups, remove_tree
from helpers.runtime import Runtime

REPOSITORY = Path(__file__).resolve().parent.parent

MakeBundle = Callable[..., Bundle]
NewId = Callable[[], str]


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "root: runs containers, so needs to be root",
        "engines: drives a container engine",
        "slow: takes minutes",
    ):
        config.addinivalue_line("markers", marker)
    adopt_orphans()
    # a shell has what it starts in the background ignore it, and so would all that the tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)
    restore_internal_signals()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was tried."""
    if tally.counts():
        terminalreporter.section("tried")
        for line in tally.lines(tally.counts()):
            terminalreporter.write_line(line)
    if path := os.environ.get("PYRUNC_TALLY"):
        tally.save(Path(path))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed and "integration/security/" in report.nodeid:
        tally.count("attacks tried and held")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("PYRUNC_FAILURES_AT_ONCE") and reporter is not None:
        session.config.pluginmanager.register(FailuresAtOnce(reporter))


class FailuresAtOnce:
    """Tells of each failure when it happens, for runs that may be cut before their end."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self.reporter = reporter

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.reporter.write_line("")
            for line in report.longreprtext.splitlines()[-40:]:
                self.reporter.write_line(line)


def restore_internal_signals() -> None:
    """Undo what GNU make does to its children: it has them ignore the two signals that glibc hides.

    Other runtimes hand that on to their containers, so that these would differ from pyrunc's.
    """
    rt_sigaction = {"x86_64": 13, "aarch64": 134}[os.uname().machine]
    default = bytes(32)  # struct kernel_sigaction
    for number in (32, 33):
        ctypes.CDLL(None).syscall(rt_sigaction, number, default, None, 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="not root")
    for item in items:
        if "root" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def workspace(prefix: str) -> Iterator[Path]:
    """A directory that containers with id mappings can get through to, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="pyrunc-tests-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    remove_tree(path)
    remove_cgroups(prefix)


@pytest.fixture(scope="session")
def prefix() -> str:
    """With which the ids of this session's containers, and so their cgroups, begin."""
    return f"t{os.getpid()}-"


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def new_id(prefix: str) -> NewId:
    """Makes ids of containers that no other test has."""
    return lambda: f"{prefix}{next(_numbers)}"


@pytest.fixture
def container_id(new_id: NewId) -> str:
    """An id for a test with one container."""
    return new_id()


@pytest.fixture(scope="session")
def rootfs(workspace: Path) -> Path:
    """A root filesystem of busybox to copy from; `make_bundle` does."""
    if not BUSYBOX.exists():
        pytest.fail(f"no {BUSYBOX}: scripts/install-deps test")
    return make_rootfs(workspace / "rootfs")


@pytest.fixture
def make_bundle(workspace: Path, rootfs: Path) -> Iterator[MakeBundle]:
    """Makes bundles, each with a root filesystem of its own: `make_bundle(config=None)`."""
    made: list[Path] = []

    def make(config: Config | None = None) -> Bundle:
        path = workspace / f"bundle-{next(_numbers)}"
        made.append(path)
        return Bundle(path, rootfs, config)

    yield make
    for path in made:
        remove_tree(path)


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> Bundle:
    """A bundle that runs `true`."""
    return make_bundle()


@pytest.fixture(scope="session")
def runtime_binary() -> Path:
    """The runtime under test."""
    path = Path(os.environ.get("PYRUNC", REPOSITORY / ".venv" / "bin" / "pyrunc"))
    if not os.access(path, os.X_OK):
        pytest.fail(f"no runtime at {path}: make build")
    return path


@pytest.fixture
def make_runtime(workspace: Path) -> Iterator[Callable[[Path], Runtime]]:
    """Makes a `Runtime` of any binary, with an empty state directory, and cleans up after it."""
    made: list[Runtime] = []

    def make(binary: Path) -> Runtime:
        made.append(Runtime(binary, workspace / f"state-{next(_numbers)}"))
        return made[-1]

    yield make
    for tested in made:
        tested.clean()
        if tested.root.exists():
            remove_tree(tested.root)


@pytest.fixture
def runtime(runtime_binary: Path, make_runtime: Callable[[Path], Runtime]) -> Runtime:
    """The runtime under test; its containers are deleted afterwards.

    $PYRUNC_OPTIONS has global options for it, such as --systemd-cgroup.
    """
    runtime = make_runtime(runtime_binary)
    runtime.options = os.environ.get("PYRUNC_OPTIONS", "").split()
    return runtime


@pytest.fixture
def leaks(workspace: Path, prefix: str) -> Leaks:
    """A look at processes, mounts, cgroups and files before the test; `found` tells what is new."""
    return Leaks(workspace, prefix)


@pytest.fixture(autouse=True)
def log_of_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records go where commands put them, whatever a test of the library has said before."""
    monkeypatch.setattr("pyrunc.log._log.sink", None)


@pytest.fixture
def sealed_copy() -> None:
    """Makes the one thing that the library keeps for good: the descriptor of a copy of pyrunc-init."""
    from pyrunc.host.shim import init_executable

    init_executable()


@pytest.fixture
def no_leaks(leaks: Leaks, runtime: Runtime) -> Iterator[Leaks]:
    """Fails a test that leaves anything behind, containers included."""
    yield leaks
    left = leaks.found(runtime.root)
    if left:
        runtime.clean()
        leaks.remove()
        pytest.fail("left behind:\n  " + "\n  ".join(left))
