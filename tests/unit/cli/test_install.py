"""`pyrunc install`: changes to the configurations of engines, and the way back."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pyrunc.cli import engines
from pyrunc.cli.engines import CRI_PLUGINS, ENGINES, Runtime, add, remove
from pyrunc.cli.main import main
from pyrunc.errors import PyruncError

PROGRAM = "/usr/local/bin/pyrunc"

#: As Debian's packages and the engines' own commands for it write them.
CONTAINERD = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni" # Debian's
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
          SystemdCgroup = true
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""
TEXTS = {
    "docker": [
        "",
        "{}",
        '{\n\t"debug": true,\n\t"runtimes": {"other": {"path": "/o"}},\n\t"x": "é"\n}\n',
        '{"default-runtime": "other", "runtimes": {"other": {"path": "/o"}}}',
    ],
    "containerd": [
        "",
        "# nothing\n",
        "version = 2\n",
        CONTAINERD,
        CONTAINERD.replace("version = 2", "version = 3").replace(
            "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"
        ),
        'root = "/srv"\n[plugins.cri.containerd.runtimes.runc]\nruntime_type = "x"\n',
        'version = 2\nplugins = {"io.containerd.grpc.v1.cri" = {containerd = {snapshotter = "native"}}}\n',
    ],
    "podman": [
        "",
        '[containers]\nlabel = false # no\n\n[engine]\nruntime = "crun"\n',
        "engine.runtimes.crun = ['/usr/bin/crun']\n",
    ],
    "cri-o": ["", '[crio.runtime]\ndefault_runtime = "crun"\n[crio.image]\npause = "x"\n'],
}
CASES = [
    pytest.param(name, text, default, id=f"{name}-{number}-{default}")
    for name, texts in TEXTS.items()
    for number, text in enumerate(texts)
    for default in (False, True)
]


def plain(engine: str, text: str) -> Any:
    """As a reader other than the one that edits has it."""
    return json.loads(text or "{}") if engine == "docker" else tomllib.loads(text)


def merged(one: Any, other: Any) -> Any:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return other
    return one | {key: merged(one.get(key), value) for key, value in other.items()}


def addition(name: str, before: Any, default: bool) -> Any:
    """What is to be added to a configuration."""
    if name == "docker":
        entry: Any = {"runtimes": {"pyrunc": {"path": PROGRAM}}}
        return entry | ({"default-runtime": "pyrunc"} if default else {})
    if name == "podman":
        entry = {"runtimes": {"pyrunc": [PROGRAM]}}
        return {"engine": entry | ({"runtime": "pyrunc"} if default else {})}
    if name == "cri-o":
        runtime = {
            "runtime_path": PROGRAM,
            "runtime_type": "oci",
            "runtime_root": "/run/pyrunc",
        }
        entry = {"runtimes": {"pyrunc": runtime}}
        return {"crio": {"runtime": entry | ({"default_runtime": "pyrunc"} if default else {})}}
    version = before.get("version", 1) if before else 2
    options: dict[str, object] = {"BinaryName": PROGRAM}
    if "SystemdCgroup" in str(before):
        options["SystemdCgroup"] = True
    runtime_type = {"runtime_type": "io.containerd.runc.v2", "options": options}
    entry = {"runtimes": {"pyrunc": runtime_type}}
    entry |= {"default_runtime_name": "pyrunc"} if default else {}
    head = {} if before else {"version": 2}
    return head | {"plugins": {CRI_PLUGINS[version]: {"containerd": entry}}}


@pytest.mark.parametrize(("name", "text", "default"), CASES)
def test_add_and_remove(name: str, text: str, default: bool) -> None:
    engine = ENGINES[name]
    before = plain(name, text)
    runtime = Runtime("pyrunc", PROGRAM, default=default)
    after = add(engine, text, runtime)
    assert plain(name, after) == merged(before, addition(name, before, default))
    for line in text.splitlines():
        if "#" in line:
            assert line in after
    assert add(engine, after, runtime) == after  # to the byte
    restored = remove(engine, after, "pyrunc", text)
    if before:
        assert restored == text or plain(name, restored) == before
    assert "pyrunc" not in restored
    assert remove(engine, restored, "pyrunc", text) in (restored, text)


@pytest.mark.parametrize("name", ENGINES)
def test_a_file_with_nothing_else_is_gone_after_removal(name: str) -> None:
    engine = ENGINES[name]
    assert remove(engine, add(engine, "", Runtime("pyrunc", PROGRAM)), "pyrunc") == ""


def test_another_program_replaces_the_one_that_is_named() -> None:
    text = add(ENGINES["containerd"], CONTAINERD, Runtime("pyrunc", "/old"))
    wanted = add(ENGINES["containerd"], CONTAINERD, Runtime("pyrunc", PROGRAM))
    assert add(ENGINES["containerd"], text, Runtime("pyrunc", PROGRAM)) == wanted
    text = add(ENGINES["podman"], "", Runtime("pyrunc", "/old"))
    assert plain("podman", add(ENGINES["podman"], text, Runtime("pyrunc", PROGRAM))) == {
        "engine": {"runtimes": {"pyrunc": [PROGRAM]}}
    }


def test_further_settings_of_the_runtime_stay() -> None:
    text = '{"runtimes": {"pyrunc": {"path": "/old", "runtimeArgs": ["--debug"]}}}'
    after = plain("docker", add(ENGINES["docker"], text, Runtime("pyrunc", PROGRAM)))
    assert after["runtimes"]["pyrunc"] == {"path": PROGRAM, "runtimeArgs": ["--debug"]}


def test_cgroups_by_systemd() -> None:
    after = add(ENGINES["containerd"], "", Runtime("pyrunc", PROGRAM, systemd=True))
    assert "SystemdCgroup = true" in after


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("docker", "{", "not valid"),
        ("docker", "[]", "must be an object"),
        ("docker", '{"runtimes": []}', "/runtimes: must be a table"),
        ("podman", "[engine", "not valid"),
        ("podman", "engine = 1", "/engine: must be a table"),
        ("containerd", "version = 9", "/version: 9 is not known"),
        (
            "containerd",
            'version = 2\n[plugins]\n"io.containerd.grpc.v1.cri" = []',
            "/plugins/io.containerd.grpc.v1.cri: must be a table",
        ),
    ],
)
def test_a_wrong_configuration(name: str, text: str, message: str) -> None:
    with pytest.raises(PyruncError, match=message):
        add(ENGINES[name], text, Runtime("pyrunc", PROGRAM))


def test_an_edit_that_does_harm_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.Engine, "write", lambda *_: "version = 1\n")
    with pytest.raises(PyruncError, match="by hand"):
        add(ENGINES["podman"], "", Runtime("pyrunc", PROGRAM))


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "pyrunc"
    path.write_text("")
    path.chmod(0o755)
    return path


def test_nothing_is_written_unless_asked_for(
    tmp_path: Path, program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "daemon.json"
    words = ["install", "docker", "--file", str(file), "--path", str(program)]
    assert main(words) == 0
    said = capfd.readouterr()
    assert said.out.startswith(f"--- /dev/null\n+++ {file}\n")
    assert f'+      "path": "{program}"\n' in said.out
    assert "Nothing was changed" in said.err
    assert not file.exists()


def test_write_and_remove(tmp_path: Path, program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    backup = tmp_path / "config.toml.before-pyrunc"
    file.write_text(CONTAINERD)
    file.chmod(0o640)
    words = ["install", "containerd", "--file", str(file), "--path", str(program)]
    assert main([*words, "--write"]) == 0
    assert "systemctl restart containerd" in capfd.readouterr().err
    assert backup.read_text() == CONTAINERD
    assert file.stat().st_mode & 0o777 == backup.stat().st_mode & 0o777 == 0o640
    written = file.read_text()

    # again, which changes nothing; then as the default, which leaves the backup as it is
    assert main([*words, "--write"]) == 0
    assert capfd.readouterr().out == f"{file}: nothing to change\n"
    assert file.read_text() == written
    assert main([*words, "--default", "--write"]) == 0
    assert 'default_runtime_name = "pyrunc"' in file.read_text()
    assert backup.read_text() == CONTAINERD

    assert main([*words, "--remove"]) == 0
    assert "pyrunc" in file.read_text()
    assert main([*words, "--remove", "--write"]) == 0
    assert file.read_text() == CONTAINERD
    assert sorted(os.listdir(tmp_path)) == ["config.toml", "pyrunc"]


def test_a_file_that_was_not_there(tmp_path: Path, program: Path) -> None:
    file = tmp_path / "containers" / "containers.conf.d" / "pyrunc.conf"
    words = ["install", "podman", "--file", str(file), "--path", str(program), "--write"]
    assert main(words) == 0
    assert file.stat().st_mode & 0o777 == 0o644
    assert main([*words, "--remove"]) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [program]


def test_backups_are_not_among_drop_in_files(tmp_path: Path, program: Path) -> None:
    file = tmp_path / "crio.conf.d" / "50-pyrunc.conf"
    file.parent.mkdir()
    file.write_text("# kept\n")
    words = ["install", "cri-o", "--file", str(file), "--path", str(program), "--write"]
    assert main(words) == 0
    assert os.listdir(file.parent) == [file.name]
    assert (tmp_path / "50-pyrunc.conf.before-pyrunc").read_text() == "# kept\n"
    assert main([*words, "--remove"]) == 0
    assert file.read_text() == "# kept\n"


def test_a_link_stays_one(tmp_path: Path, program: Path) -> None:
    file, link = tmp_path / "real.json", tmp_path / "daemon.json"
    file.write_text("{}")
    link.symlink_to(file)
    words = ["install", "docker", "--file", str(link), "--path", str(program), "--write"]
    assert main([*words, "--name", "other"]) == 0
    assert link.is_symlink()
    assert list(json.loads(file.read_text())["runtimes"]) == ["other"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nerdctl"], 'install: "nerdctl": must be one of containerd, cri-o, docker, podman'),
        (["docker", "--name", "a b"], '--name "a b"'),
        (["docker", "--name", "runc"], '--name "runc"'),
        (["docker", "--path", "/no/such"], '--path "/no/such"'),
    ],
)
def test_wrong_use(
    words: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["install", *words, "--file", str(tmp_path / "x")]) == 1
    assert message in capfd.readouterr().err.replace('\\"', '"')
    assert os.listdir(tmp_path) == []


def test_a_wrong_file_is_named_and_left_alone(
    tmp_path: Path, program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "daemon.json"
    for data, message in ((b"{", "not valid"), (b"\xff", "is not UTF-8")):
        file.write_bytes(data)
        words = ["install", "docker", "--file", str(file), "--path", str(program), "--write"]
        assert main(words) == 1
        assert f"{file}: {message}" in capfd.readouterr().err
        assert file.read_bytes() == data
    assert sorted(os.listdir(tmp_path)) == ["daemon.json", "pyrunc"]
