"""Hooks: where and when they run, what they are given, and what their failure does (config.md, "Hooks";
runtime.md, "Lifecycle")."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.leaks import Leaks
from helpers.mountinfo import parse
from helpers.runtime import Runtime

from pyrunc.spec.tables import HOOKS

pytestmark = pytest.mark.root

#: Those that are executed in the container's namespaces.
INSIDE = ("createContainer", "startContainer")
NAMESPACES = ("mnt", "pid", "net", "ipc", "uts")
STATUS = {
    "prestart": "created",
    "createRuntime": "created",
    "createContainer": "created",
    "startContainer": "created",
    "poststart": "running",
    "poststop": "stopped",
}

# Without a shell's own variables in the way: what the kernel says of the hook.
SCRIPT = """\
#!/bin/sh
exec 9>>"$NOTES"
echo "kind=$1" >&9
echo "state=$(cat)" >&9
echo "args=$*" >&9
echo "env=$(cat /proc/self/environ | tr '\\0' ' ')" >&9
echo "cwd=$(pwd)" >&9
for n in mnt pid net ipc uts; do echo "$n=$(readlink /proc/self/ns/$n)" >&9; done
echo "root=$(ls -d /bin/busybox /etc/passwd /inside 2>/dev/null | tr '\\n' ' ')" >&9
"""


class Note(dict[str, str]):
    """What one hook found, by its labels."""

    @property
    def state(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self["state"])
        return document


class Hooks:
    """Hooks of all kinds in one bundle, which write down what they find."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._notes = bundle.path / "notes"
        # the same path on both sides of the root, to different programs
        self.path = bundle.path / "hook"
        inside = bundle.rootfs / str(self.path)[1:]
        inside.parent.mkdir(parents=True)
        (bundle.rootfs / "inside").touch()
        self._inside_notes = bundle.rootfs / str(self._notes)[1:]
        for path in (self.path, inside):
            path.write_text(SCRIPT)
            path.chmod(0o755)
        bundle.config["hooks"] = {}

    def hook(self, kind: str, *args: str, **more: Any) -> dict[str, Any]:
        env = [f"NOTES={self._notes}", "PATH=/bin:/usr/bin"]
        return {"path": str(self.path), "args": ["hook", kind, *args], "env": env, **more}

    def add(self, kind: str, *args: str, **more: Any) -> None:
        self.bundle.config["hooks"].setdefault(kind, []).append(self.hook(kind, *args, **more))
        self.bundle.save()

    def shell(self, kind: str, script: str, **more: Any) -> None:
        """Add a hook that is a line of shell, the host's or the container's."""
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script], **more}
        self.bundle.config["hooks"].setdefault(kind, []).append(hook)
        self.bundle.save()

    def notes(self) -> list[Note]:
        """What all hooks wrote, those on the host first."""
        found: list[Note] = []
        for path in (self._notes, self._inside_notes):
            for line in path.read_text().splitlines() if path.exists() else ():
                name, equals, value = line.partition("=")
                if name == "kind":
                    found.append(Note())
                if equals:
                    found[-1][name] = value
        return found

    def kinds(self) -> list[str]:
        return [note["kind"] for note in self.notes()]


@pytest.fixture
def hooks(bundle: Bundle) -> Hooks:
    # what is writable for all that a hook in the container may be
    return Hooks(bundle)


def namespaces(pid: int | str) -> dict[str, str]:
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES}


def test_each_in_its_namespaces_at_its_moment(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks, no_leaks: Leaks
) -> None:
    for kind in HOOKS:
        hooks.add(kind, "first")
        hooks.add(kind, "second", timeout=30)
    bundle.config["annotations"] = {"org.example.key": "value"}
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    created = ["prestart"] * 2 + ["createRuntime"] * 2 + ["createContainer"] * 2
    assert hooks.kinds() == created
    state = runtime.state(container_id)
    assert state["status"] == "created"
    container = namespaces(state["pid"])
    runtime("start", container_id)
    # in the order of time but that those in the container write elsewhere
    assert hooks.kinds() == [*created, *["poststart"] * 2, *["startContainer"] * 2]
    runtime("delete", "--force", container_id)
    assert hooks.kinds().count("poststop") == 2
    for note in hooks.notes():
        kind = note["kind"]
        expected = container if kind in INSIDE else namespaces("self")
        assert {name: note[name] for name in NAMESPACES} == expected, kind
        assert note["args"].split()[0] == kind
        assert note["env"].split()[:1] == [f"NOTES={hooks._notes}"]
        found = note.state
        assert found["status"] == STATUS[kind], kind
        assert found["id"] == container_id
        assert found["bundle"] == str(bundle.path)
        assert found["annotations"] == {"org.example.key": "value"}
        assert found["ociVersion"].startswith("1.")
        # the process as the hook itself may find it
        pid = {"poststop": 0, **dict.fromkeys(INSIDE, 1)}.get(kind, state["pid"])
        assert found.get("pid", 0) == pid, kind
        # the path is resolved where the hook runs, but for createContainer
        inside = "/inside" in note["root"]
        assert inside == (kind == "startContainer"), kind
    assert [n["args"].split()[1] for n in hooks.notes()] == ["first", "second"] * len(HOOKS)


def test_hooks_of_create_find_the_mounts_made_and_the_root_not_entered(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks
) -> None:
    note = bundle.path / "mounts"
    pid = "$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')"
    for kind in ("prestart", "createRuntime"):
        hooks.shell(kind, f"cat /proc/{pid}/mountinfo > {note}-{kind}", env=["PATH=/bin"])
    hooks.shell(
        "createContainer", f"cat /proc/self/mountinfo > {note}-createContainer", env=["PATH=/bin"]
    )
    runtime.run(container_id, bundle.path)
    for kind in ("prestart", "createRuntime", "createContainer"):
        mounts = parse(Path(f"{note}-{kind}").read_text())
        assert mounts[f"{bundle.rootfs}/dev/pts"].kind == "devpts", kind
        assert mounts[f"{bundle.rootfs}/proc"].kind == "proc", kind


def test_what_a_hook_does_to_the_mounts_is_in_the_container(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks, no_leaks: Leaks
) -> None:
    hooks.shell(
        "createContainer",
        f"mount -t tmpfs fromhook {bundle.rootfs}/mnt && echo here > {bundle.rootfs}/mnt/file",
        env=["PATH=/sbin:/bin:/usr/sbin:/usr/bin"],
    )
    assert runtime.run(container_id, bundle.args("cat", "/mnt/file").path).stdout == "here\n"


def test_start_container_hooks_run_before_the_program(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks
) -> None:
    hooks.shell("startContainer", "sleep 0.2; echo from the hook > /tmp/file; chmod 644 /tmp/file")
    done = runtime.run(container_id, bundle.args("cat", "/tmp/file").path)
    assert done.stdout == "from the hook\n"


def test_poststart_hooks_run_before_start_returns(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks
) -> None:
    note = bundle.path / "note"
    hooks.shell("poststart", f"sleep 0.2; echo done > {note}", env=["PATH=/bin"])
    runtime.create(container_id, bundle.args("sleep", "1000").path)
    assert not note.exists()
    runtime("start", container_id)
    assert note.read_text() == "done\n"


def test_arguments_and_environment_are_as_given(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks
) -> None:
    note = bundle.path / "note"
    show = (
        f"tr '\\0' '|' < /proc/self/environ > {note}-env; tr '\\0' '|' < /proc/$$/cmdline > {note}"
    )
    hooks.shell("createRuntime", f"export PATH=/usr/bin:/bin; {show}")
    hooks.bundle.config["hooks"]["createRuntime"][0]["args"][:1] = ["another name"]
    bundle.save()
    runtime.run(container_id, bundle.path)
    assert note.read_text().startswith("another name|-c|")
    # no variable of the runtime's own
    assert set(Path(f"{note}-env").read_text().split("|")) <= {
        "PATH=/usr/bin:/bin",
        f"PWD={os.getcwd()}",
        "PWD=/",
        "",
    }


def test_without_arguments_the_path_is_the_name(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks
) -> None:
    hooks.path.write_text(f"#!/bin/sh\necho $# > {bundle.path}/count\n")
    bundle.config["hooks"] = {
        kind: [{"path": str(hooks.path)}] for kind in ("prestart", "poststop")
    }
    runtime.run(container_id, bundle.save().path)
    assert (bundle.path / "count").read_text() == "0\n"


# ---- failure ------------------------------------------------------------------------------------


def failing(hooks: Hooks, kind: str) -> None:
    """One that fails between two that write notes, and poststop hooks to tell of the end."""
    hooks.add(kind, "before")
    hooks.shell(kind, "echo it is bad >&2; exit 3")
    hooks.add(kind, "after")
    if kind != "poststop":
        hooks.add("poststop", "end")


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_of_create_that_fails(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks, no_leaks: Leaks, kind: str
) -> None:
    failing(hooks, kind)
    done = runtime.create(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert f"hooks.{kind}[1]" in done.stderr
    assert "exited with status 3: it is bad" in done.stderr
    assert f"(config.json: /hooks/{kind}/1)" in done.stderr
    assert runtime.status(container_id) == "none"
    notes = [note["args"] for note in hooks.notes()]
    assert notes == [f"{kind} before", "poststop end"]


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_hook_of_start_that_fails(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks, no_leaks: Leaks, kind: str
) -> None:
    failing(hooks, kind)
    bundle.args("sh", "-c", "echo program > /tmp/ran; sleep 1000")
    runtime.create(container_id, bundle.path)
    done = runtime("start", container_id, check=False)
    assert done.returncode == 1
    assert f"hooks.{kind}[1]" in done.stderr
    assert "exited with status 3: it is bad" in done.stderr
    assert f"(config.json: /hooks/{kind}/1)" in done.stderr
    # on with the steps of delete
    assert runtime.status(container_id) == "none"
    assert sorted(note["args"] for note in hooks.notes()) == [
        *[f"{kind} before", "poststop end"][:: -1 if kind > "poststop" else 1]
    ]
    if kind == "startContainer":
        assert not (bundle.rootfs / "tmp" / "ran").exists()


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
@pytest.mark.parametrize("flags", [[], ["--detach"]], ids=["foreground", "detached"])
def test_a_hook_of_start_that_fails_in_run(
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    hooks: Hooks,
    no_leaks: Leaks,
    kind: str,
    flags: list[str],
) -> None:
    failing(hooks, kind)
    bundle.args("sleep", "1000")
    done = runtime.detached("run", container_id, bundle.path, *flags, check=False)
    assert done.returncode == 1
    assert f"(config.json: /hooks/{kind}/1)" in done.stderr
    assert [n["args"] for n in hooks.notes() if n["kind"] == "poststop"] == ["poststop end"]


def test_a_poststop_hook_that_fails_is_a_warning(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks, no_leaks: Leaks
) -> None:
    failing(hooks, "poststop")
    runtime.create(container_id, bundle.path)
    done = runtime("delete", container_id)
    assert "level=warning" in done.stderr
    assert "hooks.poststop[1]: /bin/sh exited with status 3: it is bad" in done.stderr
    assert [note["args"] for note in hooks.notes()] == ["poststop before", "poststop after"]


def fails(
    runtime: Runtime, bundle: Bundle, container: str, hooks: Hooks, kind: str, hook: dict[str, Any]
) -> str:
    """Have one hook of a kind fail, and return what is said of it."""
    bundle.config["hooks"] = {kind: [hook]}
    bundle.args("sleep", "1000")
    done = runtime.create(container, bundle.path, check=False)
    if kind in ("startContainer", "poststart", "poststop"):
        assert done.returncode == 0, done.stderr
        done = runtime("delete" if kind == "poststop" else "start", container, check=False)
    assert done.returncode == int(kind != "poststop")
    assert f"(config.json: /hooks/{kind}/0)" in done.stderr
    return done.stderr


@pytest.mark.parametrize("kind", HOOKS)
def test_a_hook_that_takes_too_long_is_killed(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks, no_leaks: Leaks, kind: str
) -> None:
    script = "sleep 1000 & sleep 1000"  # its children as well
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1}
    said = fails(runtime, bundle, container_id, hooks, kind, hook)
    assert f"hooks.{kind}[0]: /bin/sh was killed: it did not end within its timeout" in said


@pytest.mark.parametrize("kind", HOOKS)
def test_a_hook_that_is_missing(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks, no_leaks: Leaks, kind: str
) -> None:
    said = fails(runtime, bundle, container_id, hooks, kind, {"path": "/no/such"})
    assert f"hooks.{kind}[0]: /no/such execve: No such file or directory" in said


@pytest.mark.parametrize("kind", HOOKS)
def test_a_hook_that_dies_by_a_signal(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks, no_leaks: Leaks, kind: str
) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "kill -USR1 $$"]}
    said = fails(runtime, bundle, container_id, hooks, kind, hook)
    assert f"hooks.{kind}[0]: /bin/sh was killed by signal 10" in said


@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_have_no_descriptors_of_the_runtime(
    runtime: Runtime, bundle: Bundle, container_id: str, hooks: Hooks, kind: str
) -> None:
    # what it prints is told when it fails; 3 is the directory that is listed
    script = "PATH=/bin; set -- $(ls /proc/self/fd); echo it has $*.; exit 1"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    said = fails(runtime, bundle, container_id, hooks, kind, hook)
    assert "it has 0 1 2 3." in said
