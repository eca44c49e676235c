"""containerd's CRI plugin with a handler for pyrunc, as the kubelet uses it, by crictl."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from helpers.command import wait_until
from helpers.cri import Cri
from helpers.engines import IMAGE, RUNC
from helpers.leaks import CGROUPS
from helpers.terminal import TerminalProcess

pytestmark = [pytest.mark.root, pytest.mark.engines]

HANDLER = "tested"
LOOP = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"


@pytest.fixture
def pod(cri: Cri) -> str:
    return cri.pod(HANDLER)


def test_life_of_a_pod(cri: Cri, pod: str) -> None:
    status = cri.json("inspectp", pod)
    assert status["status"]["state"] == "SANDBOX_READY"
    assert status["status"]["runtimeHandler"] == HANDLER
    container = cri.container(
        pod, IMAGE, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"
    )
    (listed,) = cri.json("ps", "-o", "json")["containers"]
    assert (listed["id"], listed["state"]) == (container, "CONTAINER_RUNNING")
    cri("stop", "--timeout=30", container)
    ended = cri.wait(container)
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    cri("rm", container)
    cri("stopp", pod)
    assert cri.json("inspectp", pod)["status"]["state"] == "SANDBOX_NOTREADY"
    cri("rmp", pod)
    assert cri("pods", "--quiet").stdout == ""


def test_pods_of_two_runtimes_side_by_side(cri: Cri, pod: str) -> None:
    other = cri.pod("runc")
    for name in (pod, other):
        container = cri.container(name, IMAGE, "sleep", "1000")
        assert cri("exec", container, "echo", "inside").stdout == "inside\n"


@pytest.mark.parametrize(
    ("command", "code", "reason"), [("true", 0, "Completed"), ("exit 9", 9, "Error")]
)
def test_exit_codes(cri: Cri, pod: str, command: str, code: int, reason: str) -> None:
    status = cri.wait(cri.container(pod, IMAGE, "sh", "-c", command))
    assert (status["exitCode"], status["reason"]) == (code, reason)


def test_a_program_that_cannot_be_executed(cri: Cri, pod: str) -> None:
    with pytest.raises(AssertionError, match="no-such"):
        cri.container(pod, IMAGE, "no-such")
    (container,) = cri("ps", "--all", "--quiet").stdout.split()
    status = cri.status(container)
    assert (status["state"], status["reason"]) == ("CONTAINER_EXITED", "StartError")
    assert status["exitCode"] == 128


def test_containers_of_a_pod_share_namespaces(cri: Cri) -> None:
    script = "cd /proc/self/ns; for n in net ipc uts pid; do readlink $n; done"

    def namespaces(options: dict[str, str]) -> list[list[str]]:
        context = {"security_context": {"namespace_options": options}}
        pod = cri.pod(HANDLER, linux=context, hostname="box")
        containers = [cri.container(pod, IMAGE, "sleep", "1000", linux=context) for _ in range(2)]
        assert {cri("exec", c, "hostname").stdout for c in containers} == {"box\n"}
        return [cri("exec", c, "sh", "-c", script).stdout.split() for c in containers]

    first, second = namespaces({"pid": 1})  # type: ignore[dict-item]
    assert first[:3] == second[:3]
    assert first[3] != second[3]
    first, second = namespaces({"pid": 0})  # type: ignore[dict-item]
    assert first == second


def test_network(cri: Cri, pod: str) -> None:
    script = "mkdir /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www"
    cri.container(pod, IMAGE, "sh", "-c", script)
    address = cri.json("inspectp", pod)["status"]["network"]["ip"]
    other = cri.container(cri.pod(HANDLER), IMAGE, "sleep", "1000")
    wget = ("exec", other, "wget", "-q", "-O", "-", f"http://{address}/")
    wait_until(lambda: cri(*wget, check=False).stdout == "page\n", "the page")


def test_network_of_the_node(cri: Cri) -> None:
    context = {"security_context": {"namespace_options": {"network": 2}}}
    pod = cri.pod(HANDLER, linux=context)
    container = cri.container(pod, IMAGE, "sleep", "1000", linux=context)
    names = set(cri("exec", container, "ls", "/sys/class/net").stdout.split())
    assert names == set(cri.island.devices())


def test_exec(cri: Cri, pod: str) -> None:
    container = cri.container(
        pod, IMAGE, "sleep", "1000", envs=[{"key": "A", "value": "b"}], working_dir="/tmp"
    )
    done = cri("exec", container, "sh", "-c", "pwd; echo $A; echo oops >&2; exit 5", check=False)
    assert done.stdout == "/tmp\nb\n"
    assert "oops" in done.stderr
    assert "exit code 5" in done.stderr or "exit status 5" in done.stderr
    assert cri("exec", "--interactive", container, "cat", stdin="words\n").stdout == "words\n"
    assert cri("exec", "--sync", container, "echo", "once").stdout.strip() == "once"
    done = cri("exec", "--sync", container, "sh", "-c", "exit 4", check=False)
    assert done.returncode != 0
    assert "4" in done.stderr
    done = cri("exec", "--sync", "--timeout=1", container, "sleep", "1000", check=False)
    assert done.returncode != 0
    assert "DeadlineExceeded" in done.stderr
    done = cri("exec", "--sync", container, "no-such", check=False)
    assert "no-such" in done.stderr


def test_terminal_of_an_exec(cri: Cri, pod: str) -> None:
    container = cri.container(pod, IMAGE, "sleep", "1000")
    command = cri.command("exec", "--interactive", "--tty", container, "sh")
    with TerminalProcess(command, rows=31, columns=91) as terminal:
        terminal.send("tty\n")
        terminal.expect("/dev/pts/")
        terminal.send("until [ \"$(stty size)\" = '31 91' ]; do sleep 0.05; done; echo r''ight\n")
        terminal.expect("right")
        terminal.send("exit\n")
        assert terminal.wait() == 0


def test_attach(cri: Cri, pod: str) -> None:
    script = "while read line; do echo got $line; done"
    container = cri.container(pod, IMAGE, "sh", "-c", script, stdin=True, stdin_once=True)
    done = cri("attach", "--stdin", container, stdin="one\ntwo\n")
    assert done.stdout == "got one\ngot two\n"
    assert cri.wait(container)["exitCode"] == 0


def test_port_forward(cri: Cri, pod: str) -> None:
    script = "mkdir /www; echo page >/www/index.html; exec httpd -f -p 8099 -h /www"
    cri.container(pod, IMAGE, "sh", "-c", script)
    command = cri.command("port-forward", pod, "18099:8099")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as forward:
        try:
            wait_until(lambda: cri.island.get("http://127.0.0.1:18099/") == "page\n", "the page")
        finally:
            forward.terminate()


def test_logs_and_their_rotation(cri: Cri, pod: str) -> None:
    container = cri.container(pod, IMAGE, "sh", "-c", f"echo oops >&2; {LOOP}")
    log = Path(cri.status(container)["logPath"])
    wait_until(lambda: log.read_text().count("\n") > 3, "the log")
    assert re.search(r"^\S+Z? stderr F oops$", log.read_text(), re.MULTILINE)
    assert re.search(r"^\S+ stdout F 1$", log.read_text(), re.MULTILINE)
    assert cri("logs", container).stdout.startswith("1\n2\n")
    old = log.rename(log.with_suffix(".1"))
    cri("logs", "--reopen", container)
    wait_until(lambda: log.exists() and log.read_text().count("\n") > 3, "the new log")
    numbers = [
        int(line.split()[-1])
        for file in (old, log)
        for line in file.read_text().splitlines()
        if " stdout F " in line
    ]
    assert numbers == list(range(1, len(numbers) + 1))


def test_statistics(cri: Cri, pod: str) -> None:
    container = cri.container(pod, IMAGE, "sh", "-c", "while :; do :; done")

    def used() -> int:
        (stats,) = cri.json("stats", "-o", "json", "--id", container)["stats"]
        assert int(stats["memory"]["workingSetBytes"]["value"]) > 0
        return int(stats["cpu"]["usageCoreNanoSeconds"]["value"])

    first = used()
    wait_until(lambda: used() > first, "the use of the processor to be counted")


def test_limits_and_their_update(cri: Cri, pod: str) -> None:
    resources = {"memory_limit_in_bytes": 64 << 20, "cpu_period": 100000, "cpu_quota": 50000}
    container = cri.container(pod, IMAGE, "sleep", "1000", linux={"resources": resources})

    def limits() -> list[str]:
        found = []
        for names in (
            ("memory/{}/memory.limit_in_bytes", "{}/memory.max"),
            ("cpu/{}/cpu.cfs_quota_us", "{}/cpu.max"),
        ):
            for name in names:
                path = CGROUPS / name.format(cri.cgroup(container))
                if path.exists():
                    found.append(path.read_text().split()[0])
        return found

    assert limits() == [str(64 << 20), "50000"]
    cri("update", f"--memory={128 << 20}", "--cpu-quota=70000", container)
    assert limits() == [str(128 << 20), "70000"]


def test_out_of_memory(cri: Cri, pod: str) -> None:
    resources = {"memory_limit_in_bytes": 16 << 20, "memory_swap_limit_in_bytes": 16 << 20}
    script = "exec tail /dev/zero"
    container = cri.container(pod, IMAGE, "sh", "-c", script, linux={"resources": resources})
    status = cri.wait(container)
    assert (status["exitCode"], status["reason"]) == (137, "OOMKilled")


def test_security_context(cri: Cri, pod: str, workspace: Path) -> None:
    profile = workspace / "seccomp.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    context = {
        "run_as_user": {"value": 1000},
        "run_as_group": {"value": 2000},
        "supplemental_groups": [3000],
        "capabilities": {"drop_capabilities": ["ALL"]},
        "readonly_rootfs": True,
        "no_new_privs": True,
        "seccomp": {"profile_type": 2, "localhost_ref": str(profile)},
        "masked_paths": ["/proc/version"],
        "readonly_paths": ["/proc/sys"],
    }
    linux = {"security_context": context}
    container = cri.container(pod, IMAGE, "sleep", "1000", linux=linux)
    script = (
        "id -u; id -g; id -G; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | cut -f2;"
        "wc -c </proc/version; touch /x 2>&1; mkdir /dev/shm/x 2>&1"
    )
    said = cri("exec", container, "sh", "-c", script, check=False).stdout.splitlines()
    assert said[:2] == ["1000", "2000"]
    assert "3000" in said[2].split()
    assert said[3:7] == ["0" * 16, "1", "2", "0"]
    assert "Read-only file system" in said[7]
    assert "Operation not supported" in said[8]


def test_mounts_and_devices(cri: Cri, pod: str, workspace: Path) -> None:
    (workspace / "cri-volume").mkdir()
    (workspace / "cri-volume" / "file").write_text("shared\n")
    mounts = [
        {"container_path": "/a", "host_path": str(workspace / "cri-volume")},
        {"container_path": "/b", "host_path": str(workspace / "cri-volume"), "readonly": True},
    ]
    devices = [{"container_path": "/dev/other", "host_path": "/dev/null", "permissions": "rwm"}]
    container = cri.container(pod, IMAGE, "sleep", "1000", mounts=mounts, devices=devices)
    script = "cat /a/file; touch /a/new; touch /b/x || echo refused; stat -c %t:%T /dev/other"
    assert cri("exec", container, "sh", "-c", script).stdout == "shared\nrefused\n1:3\n"
    assert (workspace / "cri-volume" / "new").exists()


def test_containerd_restarts_under_a_pod(cri_daemon: Cri) -> None:
    cri = cri_daemon
    pod = cri.pod(HANDLER)
    container = cri.container(pod, IMAGE, "sh", "-c", LOOP)
    log = Path(cri.status(container)["logPath"])
    cri.restart()
    assert cri.status(container)["state"] == "CONTAINER_RUNNING"
    assert cri("exec", container, "echo", "inside").stdout == "inside\n"
    seen = log.read_text().count("\n")
    wait_until(lambda: log.read_text().count("\n") > seen, "more of the log")
    cri("stop", "--timeout=0", container)
    assert cri.wait(container)["exitCode"] == 137
    cri.clean()


def test_the_handler_of_runc_is_runc(cri: Cri) -> None:
    """So that the tests of both compare two runtimes."""
    config = cri.json("info")["config"]["containerd"]["runtimes"]
    assert (config["runc"]["options"] or {}).get("BinaryName", "") in ("", RUNC)
    assert config[HANDLER]["options"]["BinaryName"] == str(cri.handlers[HANDLER])
