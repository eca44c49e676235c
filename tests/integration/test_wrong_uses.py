"""Sixty and more wrong uses, runc's message and ours side by side, in wrong_uses.golden.

Ours has to say what is wrong, where, and what to do. `PYRUNC_GOLDEN=write` writes the file anew.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle, Config
from helpers.runtime import Runtime

from pyrunc.host.facts import HostFacts

pytestmark = pytest.mark.root

GOLDEN = Path(__file__).with_name("wrong_uses.golden")


def change(pointer: str, value: Any) -> Callable[[Bundle], None]:
    """Changes one place of config.json; None removes it."""

    def apply(bundle: Bundle) -> None:
        *path, last = pointer.strip("/").split("/")
        place: Any = bundle.config
        for name in path:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        if value is None:
            del place[last]
        elif isinstance(place, list):
            place.insert(int(last), value)
        else:
            place[last] = value
        bundle.save()

    return apply


def text(content: bytes) -> Callable[[Bundle], None]:
    return lambda bundle: _write(bundle.path / "config.json", content)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _no_config(bundle: Bundle) -> None:
    (bundle.path / "config.json").unlink()


def _directory(bundle: Bundle) -> None:
    _no_config(bundle)
    (bundle.path / "config.json").mkdir()


def _no_rootfs(bundle: Bundle) -> None:
    shutil.rmtree(bundle.rootfs)


def _script(bundle: Bundle) -> None:
    (bundle.rootfs / "script").write_text("#!/no/such/interpreter\n")
    (bundle.rootfs / "script").chmod(0o755)
    bundle.args("/script")


def _not_executable(bundle: Bundle) -> None:
    bundle.args("/etc/hosts")


MOUNT: Config = {"destination": "/x", "type": "bind", "source": "/nonexistent", "options": ["bind"]}

#: Bundles that something is wrong with.
BUNDLES: dict[str, Callable[[Bundle], None]] = {
    "good": lambda bundle: None,
    "no-config": _no_config,
    "directory": _directory,
    "no-rootfs": _no_rootfs,
    "not-json": text(b'{"ociVersion": "1.0.2", }\n'),
    "empty": text(b""),
    "not-utf8": text(b'{"ociVersion": "\xff"}'),
    "list": text(b"[]"),
    "no-version": change("/ociVersion", None),
    "version-9": change("/ociVersion", "9.0.0"),
    "cwd": change("/process/cwd", "relative"),
    "no-args": change("/process/args", []),
    "args-text": change("/process/args", "sh"),
    "no-source": change("/mounts/0", MOUNT),
    "filesystem": change("/mounts/0", MOUNT | {"type": "nosuchfs", "options": []}),
    "mount-option": change(
        "/mounts/0", {"destination": "/x", "type": "tmpfs", "source": "t", "options": ["size=much"]}
    ),
    "namespace": change("/linux/namespaces/0", {"type": "weather"}),
    "namespace-twice": change("/linux/namespaces/0", {"type": "pid"}),
    "namespace-path": change("/linux/namespaces/0", {"type": "user", "path": "/nonexistent"}),
    "sysctl": change("/linux/sysctl", {"kernel.nosuch": "1"}),
    "sysctl-host": change("/linux/sysctl", {"vm.swappiness": "1"}),
    "rlimit": change("/process/rlimits/0", {"type": "RLIMIT_FUN", "hard": 1, "soft": 1}),
    "rlimit-order": change("/process/rlimits", [{"type": "RLIMIT_NOFILE", "hard": 10, "soft": 20}]),
    "syscall-action": change("/linux/seccomp", {"defaultAction": "SCMP_ACT_MAYBE"}),
    "hook": change("/hooks", {"createRuntime": [{"path": "/nonexistent"}]}),
    "hook-fails": change("/hooks", {"createRuntime": [{"path": "/bin/false"}]}),
    "hook-relative": change("/hooks", {"createRuntime": [{"path": "hook"}]}),
    "memory": change("/linux/resources", {"memory": {"limit": 4096}}),
    "cpus": change("/linux/resources", {"cpu": {"cpus": "900"}}),
    "device": change("/linux/devices", [{"path": "/dev/x", "type": "z", "major": 1, "minor": 1}]),
    "missing-program": lambda bundle: void(bundle.args("nosuch")),
    "missing-path": lambda bundle: void(bundle.args("/bin/nosuch")),
    "not-executable": _not_executable,
    "interpreter": _script,
    "terminal": change("/process/terminal", True),
    "handler": change("/annotations", {"run.oci.handler": "krun"}),
}


def void(_: object) -> None:
    """For a lambda that has nothing to give."""


#: (command line, what ours must say besides what is wrong: where it is, or what to do).
#: RUNNING, MADE, OVER and PAUSED are containers; @name is a bundle.
USES = [
    ("frob", "pyrunc --help"),
    ("creat x", "did you mean create?"),
    ("--frob list", "unknown flag --frob"),
    ("--root", "--root DIR"),
    ("--log-format yaml list", "must be text or json"),
    ("--log /nonexistent/log list", "--log /nonexistent/log"),
    ("create --frob x", "pyrunc create --help"),
    ("create --bundel @good x", "did you mean --bundle?"),
    ("create", "<container-id>"),
    ("create a b", "exactly 1 argument"),
    ("create --bundle @good a/b", "letters, digits"),
    ("create --bundle @good ..", "letters, digits"),
    ("create --bundle /nonexistent x", "a bundle is a directory"),
    ("create --bundle @no-config x", "pyrunc spec"),
    ("create --bundle @directory x", "config.json"),
    ("create --bundle @not-json x", "line 1"),
    ("create --bundle @empty x", "config.json"),
    ("create --bundle @not-utf8 x", "config.json"),
    ("create --bundle @list x", "config.json"),
    ("create --bundle @no-version x", "ociVersion"),
    ("create --bundle @version-9 x", "/ociVersion"),
    ("create --bundle @no-rootfs x", "/root/path"),
    ("create --bundle @cwd x", "/process/cwd"),
    ("create --bundle @no-args x", "/process"),
    ("create --bundle @args-text x", "/process/args"),
    ("create --bundle @no-source x", "has to be there already"),
    ("create --bundle @filesystem x", "no such filesystem"),
    ("create --bundle @mount-option x", "/mounts/0"),
    ("create --bundle @namespace x", "/linux/namespaces/0"),
    ("create --bundle @namespace-twice x", "/linux/namespaces"),
    ("create --bundle @namespace-path x", "/linux/namespaces/0"),
    ("create --bundle @sysctl x", "/linux/sysctl"),
    ("create --bundle @sysctl-host x", "/linux/sysctl"),
    ("create --bundle @rlimit x", "/process/rlimits/0"),
    ("create --bundle @rlimit-order x", "/process/rlimits/0"),
    ("create --bundle @syscall-action x", "/linux/seccomp"),
    ("create --bundle @hook x", "/hooks/createRuntime/0"),
    ("create --bundle @hook-fails x", "/hooks/createRuntime/0"),
    ("create --bundle @hook-relative x", "/hooks/createRuntime/0"),
    ("create --bundle @cpus x", "/linux/resources/cpu/cpus"),
    ("create --bundle @device x", "/linux/devices/0"),
    ("create --bundle @terminal x", "--console-socket"),
    ("create --bundle @good --console-socket /nonexistent x", "--console-socket"),
    ("create --bundle @good --pid-file /nonexistent/pid x", "--pid-file /nonexistent/pid"),
    ("create --bundle @good --preserve-fds 9 x", "--preserve-fds 9"),
    ("create --bundle @good RUNNING", "choose another id"),
    ("run --bundle @missing-program x", "$PATH"),
    ("run --bundle @missing-path x", "not in the root filesystem"),
    ("run --bundle @not-executable x", "the right to be executed"),
    ("run --bundle @interpreter x", "the interpreter"),
    ("start x", "list shows"),
    ("start RUNNING", "only a created container"),
    ("start OVER", "create it again"),
    ("state x", "--root"),
    ("kill x", "does not exist"),
    ("kill RUNNING FROB", "a name such as TERM"),
    ("kill RUNNING 99", "the highest is"),
    ("kill OVER TERM", "container not running: cannot kill container OVER: it is stopped"),
    ("delete x", "does not exist"),
    ("delete RUNNING", "--force"),
    ("exec RUNNING", "--process"),
    ("exec OVER true", "it is stopped"),
    ("exec PAUSED true", "--ignore-paused"),
    ("exec RUNNING nosuch", "$PATH"),
    ("exec --user root RUNNING id", "must be numbers"),
    ("exec --cwd /nonexistent RUNNING true", "/nonexistent"),
    ("exec --process /nonexistent RUNNING", "/nonexistent"),
    ("exec --env A RUNNING true", "NAME=VALUE"),
    ("exec --cgroup nosuch RUNNING true", "--cgroup nosuch"),
    ("exec --cgroup :below RUNNING true", "a controller is missing"),
    ("mounts add RUNNING", "<file> is missing"),
    ("mounts show RUNNING /nonexistent", "must be add or remove"),
    ("mounts add RUNNING /nonexistent", "/nonexistent: No such file"),
    ("--log-level loud list", "must be error, warning or debug"),
    ("--log journald: state x", "needs a name"),
    ("create --bundle @handler x", "pyrunc runs programs itself"),
    ("pause OVER", "it is stopped"),
    ("pause PAUSED", "resume lets it go on"),
    ("resume RUNNING", "only a paused container"),
    ("ps x", "does not exist"),
    ("ps --format xml RUNNING", "must be table or json"),
    ("list --format xml", "must be table or json"),
    ("events --interval 0s RUNNING", "must be more than 0"),
    ("events --stats OVER", "it is stopped"),
    ("update --memory lots RUNNING", "64M"),
    ("update --cpuset-cpus 900 RUNNING", "cpuset.cpus"),
    ("update -r /nonexistent RUNNING", "/nonexistent"),
    ("update --pids-limit 5 OVER", "it is stopped"),
    ("spec --bundle @good", "remove it first"),
    ("checkpoint x", "does not exist"),
    ("checkpoint MADE", "start it first"),
    ("checkpoint --manage-cgroups-mode all RUNNING", "ignore, soft, full, strict"),
    ("restore --bundle @good --image-path /proc/nonexistent x", "--image-path /proc/nonexistent"),
]


class Stage:
    """A runtime with its containers."""

    def __init__(self, runtime: Runtime, bundles: dict[str, Bundle], name: str) -> None:
        self.runtime = runtime
        self.bundles = bundles
        self.names = {
            word: f"{name}-{runtime.name}-{word.lower()}"
            for word in ("RUNNING", "MADE", "OVER", "PAUSED", "x")
        }
        good = bundles["good"]
        good.args("sleep", "1000")
        for word in ("RUNNING", "MADE", "OVER", "PAUSED"):
            runtime.create(self.names[word], good.path)
            if word != "MADE":
                runtime("start", self.names[word])
        runtime("pause", self.names["PAUSED"])
        runtime("kill", self.names["OVER"], "KILL")
        runtime.wait(self.names["OVER"], "stopped")

    def say(self, line: str) -> tuple[int, str]:
        """Exit code and message of a use, with names in the place of what is different each time."""
        words = [
            str(self.bundles[word[1:]].path) if word.startswith("@") else self.names.get(word, word)
            for word in shlex.split(line)
        ]
        # words before the command are global flags: ours come first, so that those can be wrong
        self.runtime.used.add(self.names["x"])
        # into a file: where a runtime takes what we do not, the container inherits it
        with tempfile.TemporaryFile() as file:
            done = subprocess.run(
                self.runtime.command(*words),
                cwd=self.bundles["no-config"].path,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=False,
                timeout=60,
            )
            file.seek(0)
            said = file.read().decode(errors="replace")
        self.runtime("delete", "--force", self.names["x"], check=False)
        return done.returncode, self._plain(said)

    def _plain(self, said: str) -> str:
        lines = []
        for line in said.splitlines():
            match = re.match(r'time="[^"]*" level=(\w+) msg="(.*)"$', line)
            if match is None:
                lines.append(line)
            elif match[1] in ("error", "fatal"):
                lines.append(json.loads(f'"{match[2]}"') if "\\x" not in match[2] else match[2])
        # the longest path first, which may begin with another
        for name, bundle in sorted(self.bundles.items(), key=lambda b: -len(str(b[1].path))):
            lines = [line.replace(str(bundle.path), f"@{name}") for line in lines]
        for word, name in self.names.items():
            lines = [line.replace(name, word) for line in lines]
        lines = [line.replace(str(self.runtime.root), "ROOT") for line in lines]
        lines = [re.sub(r"\b\d{3,7}\b(?=[:/ ]|$)", "N", line) for line in lines]
        return "\n".join(line.rstrip() for line in lines if line.strip())


def entry(line: str, theirs: tuple[int, str], ours: tuple[int, str]) -> str:
    parts = [f"$ {line}"]
    for name, (code, said) in (("runc", theirs), ("pyrunc", ours)):
        first, *rest = said.splitlines() or [""]
        parts.append(f"{name} ({code}): {first}")
        parts += [f"    {text}" for text in rest[:12]]
    return "\n".join(parts)


@pytest.fixture(scope="module")
def golden() -> dict[str, list[str]]:
    """The entries of the file, by their first line."""
    if not GOLDEN.exists():
        return {}
    entries = GOLDEN.read_text(encoding="utf-8").strip().split("\n\n")[1:]
    return {text.partition("\n")[0][2:]: text.splitlines() for text in entries}


def test_wrong_uses(
    runtime: Runtime,
    runc: Runtime,
    make_bundle: Callable[..., Bundle],
    container_id: str,
    golden: dict[str, list[str]],
) -> None:
    bundles = {name: make_bundle() for name in BUNDLES}
    for name, spoil in BUNDLES.items():
        spoil(bundles[name])
    ours = Stage(runtime, bundles, container_id)
    theirs = Stage(runc, bundles, container_id)
    entries = []
    problems = []
    for line, needed in USES:
        code, said = ours.say(line)
        if code == 0 or needed not in said:
            problems.append(f"{line}: {code} {said!r} has no {needed!r}")
        entries.append(entry(line, theirs.say(line), (code, said)))
    if os.environ.get("PYRUNC_GOLDEN") == "write":
        head = "Wrong uses: the command line, what runc 1.1.5 says, and what pyrunc does, with exit codes."
        GOLDEN.write_text("\n\n".join([head, *entries]) + "\n", encoding="utf-8")
        return
    v1 = HostFacts().cgroup_mode != "v2" and "--systemd-cgroup" not in runtime.options
    for text in entries:
        if "/sys/fs/cgroup" in text and not v1:
            continue  # the file is of v1, with directories that the runtime makes
        lines = text.splitlines()
        before = golden.get(lines[0][2:], [])
        mine = lines[next(i for i, said in enumerate(lines) if said.startswith("pyrunc (")) :]
        if before[-len(mine) :] != mine:
            problems.append("\n".join(["was:", *before, "is:", *lines]))
    assert not problems, "\n".join(problems)
    assert set(golden) == {line for line, _ in USES}
