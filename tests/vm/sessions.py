"""What is run in the virtual machine: a table of calls of pytest, each as a user and with an environment."""

from __future__ import annotations

from typing import NamedTuple


class Session(NamedTuple):
    """One call of pytest.

    Attributes:
        name: also the name of its results.
        user: "" for root, otherwise whose user manager runs it.
        tests: arguments of pytest.
        environment: what is added to the environment.
        limit: seconds.
        own_mounts: nothing that is mounted by the tests gets out: some of the configurations that are compared have a
            shared /sys, over which masks are mounted.
        by_name: it is run only if it is named.
    """

    name: str
    user: str
    tests: tuple[str, ...]
    environment: dict[str, str]
    limit: int
    own_mounts: bool = False
    by_name: bool = False


_INTEGRATION = "tests/integration"
_DIFFERENTIAL = (
    f"{_INTEGRATION}/test_differential.py",
    f"{_INTEGRATION}/test_differential_exec.py",
)
#: Without the comparisons, which are sessions of their own; what runs hundreds of commands, under strace or at once,
#: for which an emulated machine is too slow; and what is about the build, of which it gets only the outcome.
_WHOLE = (
    _INTEGRATION,
    *(f"--ignore={path}" for path in _DIFFERENTIAL),
    *(
        f"--ignore={_INTEGRATION}/{name}.py"
        for name in (
            "faults/test_system_calls",
            "test_bench",
            "load/test_load",
            "test_build",
            "test_conformance",
            "test_fuzz",
            "test_install",
            "test_launcher",
        )
    ),
)
_SYSTEMD = {"PYRUNC_OPTIONS": "--systemd-cgroup"}
_SHORTENED = {"PYRUNC_DIFFERENTIAL": "each"}

#: Those that take longest come first, as several are run at a time.
SESSIONS = (
    Session(
        "systemd",
        "",
        (
            f"{_INTEGRATION}/test_cgroups_systemd_host.py",
            f"{_INTEGRATION}/test_resources.py",
            f"{_INTEGRATION}/test_lifecycle.py",
            f"{_INTEGRATION}/test_exec.py",
        ),
        _SYSTEMD,
        1200,
    ),
    Session(
        "root",
        "",
        (
            f"{_INTEGRATION}/test_cgroups_v2.py",
            f"{_INTEGRATION}/test_resources.py",
            f"{_INTEGRATION}/test_apparmor.py",
            f"{_INTEGRATION}/test_rootless.py",
            f"{_INTEGRATION}/test_flags.py::test_a_cgroup_below_on_v2",
            f"{_INTEGRATION}/test_mounts.py::test_options_of_cgroup2_stay_those_of_the_host",
            # what the kernel outside, or its CRIU, may lack
            f"{_INTEGRATION}/test_checkpoint.py::test_pre_dump",
            f"{_INTEGRATION}/test_checkpoint.py::test_lazy_pages",
        ),
        {},
        1200,
    ),
    Session(
        "rootless",
        "tester",
        (
            f"{_INTEGRATION}/test_rootless.py",
            f"{_INTEGRATION}/test_resources.py",
            "tests/engines/test_podman_v2.py",
        ),
        {},
        1200,
    ),
    Session("differential", "", _DIFFERENTIAL, _SHORTENED, 900, own_mounts=True, by_name=True),
    Session(
        "differential-systemd",
        "",
        _DIFFERENTIAL,
        _SHORTENED | _SYSTEMD,
        900,
        own_mounts=True,
        by_name=True,
    ),
    Session("differential-rootless", "tester", _DIFFERENTIAL, _SHORTENED, 900, by_name=True),
    Session("unit", "", ("tests/unit",), {}, 3600, by_name=True),
    Session("integration", "", _WHOLE, {}, 7200, by_name=True),
    Session("integration-systemd", "", _WHOLE, _SYSTEMD, 7200, by_name=True),
    Session("unit-rootless", "tester", ("tests/unit",), {}, 3600, by_name=True),
    Session("integration-rootless", "tester", _WHOLE, {}, 3600, by_name=True),
    Session(
        "bench",
        "",
        (f"{_INTEGRATION}/test_bench.py", "--capture=no"),
        {"PYRUNC_BENCH_ROUNDS": "10", "PYRUNC_BENCH_OUTPUT": "/run/results/bench"},
        1200,
        by_name=True,
    ),
    Session("system", "", (f"{_INTEGRATION}/test_system_container.py",), {}, 900),
    Session("podman", "", ("tests/engines/test_podman_v2.py",), {}, 600),
    Session(
        "containerd",
        "",
        (
            "tests/engines/test_cri_systemd.py",
            "tests/engines/test_cri.py",
            "tests/engines/test_containerd.py",
        ),
        {},
        1200,
    ),
)


def select(names: list[str], tests: list[str]) -> list[Session]:
    """The sessions of these names (without any, all but those by name), with `tests` in place of their own if given.

    Raises:
        ValueError: there is no session of a name.
    """
    known = {session.name: session for session in SESSIONS}
    for name in names:
        if name not in known:
            raise ValueError(f"no session {name!r}; there are: {', '.join(known)}")
    chosen = [known[name] for name in names] or [s for s in SESSIONS if not s.by_name]
    return [session._replace(tests=tuple(tests)) if tests else session for session in chosen]
