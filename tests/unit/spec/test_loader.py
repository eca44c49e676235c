"""Bundles: what is read, and a clear error for each way in which it cannot be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyrunc.errors import BundleError, ConfigError
from pyrunc.spec import loader
from pyrunc.spec.loader import check_process, load_bundle, load_process
from pyrunc.spec.template import default_config


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A good bundle."""
    (tmp_path / "rootfs").mkdir()
    write(tmp_path, default_config())
    return tmp_path


def write(bundle: Path, config: object) -> None:
    (bundle / "config.json").write_text(json.dumps(config), "utf-8")


def refusal(bundle: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(str(bundle))
    return str(caught.value)


def test_a_good_bundle_is_loaded(bundle: Path) -> None:
    loaded = load_bundle(str(bundle))
    assert loaded.path == str(bundle)
    assert loaded.rootfs == str(bundle / "rootfs")
    assert loaded.config == default_config()


def test_paths_become_absolute(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle)
    loaded = load_bundle(".")
    assert loaded.path == str(bundle)
    assert loaded.rootfs == str(bundle / "rootfs")


def test_paths_are_those_behind_symbolic_links(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bundle)
    (bundle / "rootfs").rename(bundle / "other")
    (bundle / "rootfs").symlink_to("other")
    loaded = load_bundle(str(tmp_path / "link"))
    assert loaded.path == str(bundle)
    assert loaded.rootfs == str(bundle / "other")


def test_the_root_filesystem_may_be_the_bundle_or_elsewhere(bundle: Path, tmp_path: Path) -> None:
    for path, expected in ((".", str(bundle)), ("/tmp/", "/tmp"), ("rootfs/..", str(bundle))):
        write(bundle, default_config() | {"root": {"path": path}})
        assert load_bundle(str(bundle)).rootfs == expected


def test_another_file_can_take_the_place_of_config_json(bundle: Path) -> None:
    (bundle / "config.json").rename(bundle / "other.json")
    assert load_bundle(str(bundle), str(bundle / "other.json")).config == default_config()
    assert "config.json: No such file or directory" in refusal(bundle)


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path / "none")
    assert message.startswith(f"{tmp_path}/none/config.json: No such file or directory: a bundle")


def _directory(path: Path) -> None:
    path.mkdir()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/null")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_directory, "it is a directory"),
        (_fifo, "it is a fifo"),
        (_socket, "a socket"),
        (_device, "it is a character device"),
        (_loop, "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_no_config_json(
    make: Callable[[Path], None], words: str, bundle: Path
) -> None:
    (bundle / "config.json").unlink()
    make(bundle / "config.json")
    assert words in refusal(bundle)


def test_a_file_that_may_not_be_read_is_named(bundle: Path) -> None:
    (bundle / "config.json").chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # who may read every file
            os.seteuid(65534)
        message = refusal(bundle)
    finally:
        os.seteuid(user)
    assert "config.json: Permission denied" in message


def test_a_file_of_exactly_the_limit_is_read_and_a_larger_one_is_not(bundle: Path) -> None:
    path = bundle / "config.json"
    text = path.read_bytes()
    path.write_bytes(text + b" " * (loader.MAX_SIZE - len(text)))
    load_bundle(str(bundle))
    with path.open("ab") as file:
        file.write(b" ")
    assert "larger than 16 MiB" in refusal(bundle)
    os.truncate(path, 1 << 40)  # sparse; to read it would take all memory
    assert "larger than 16 MiB" in refusal(bundle)


def test_a_hundred_megabytes_of_nesting_are_refused(bundle: Path) -> None:
    (bundle / "config.json").write_bytes(b"[" * 100_000_000)
    assert "larger than" in refusal(bundle)
    (bundle / "config.json").write_bytes(b'{"a":' * (loader.MAX_SIZE // 5))
    assert "nested too deeply" in refusal(bundle)


def test_an_unknown_member_may_be_nested_deeply(bundle: Path) -> None:
    text = json.dumps(default_config())
    deep = '{"unknown":' + "[" * 500 + "]" * 500 + ","
    (bundle / "config.json").write_text(text.replace("{", deep, 1), "utf-8")
    load_bundle(str(bundle))


def test_descriptors_are_closed_whatever_happens(bundle: Path) -> None:
    before = os.listdir("/proc/self/fd")
    load_bundle(str(bundle))
    (bundle / "config.json").write_bytes(b"{")
    refusal(bundle)
    (bundle / "config.json").unlink()
    (bundle / "config.json").mkdir()
    refusal(bundle)
    assert os.listdir("/proc/self/fd") == before


def test_not_json_is_refused_with_path_and_place(bundle: Path) -> None:
    (bundle / "config.json").write_text('{\n "ociVersion": 1.3.0\n}')
    assert refusal(bundle).startswith(f"{bundle}/config.json: not JSON: line 2, column ")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1e400", "not Infinity"),
        ("1.0", "not 1.0"),
        ("1e3", "not 1000.0"),
        ("-1", "not -1"),
        ("18446744073709551616", "not 18446744073709551616"),
        ("1" * 100, "not a number of 100 digits"),
        ("true", "not true"),
        ('"1"', 'not "1"'),
    ],
)
def test_numbers_must_fit_the_integers_that_they_are_read_into(
    value: str, words: str, bundle: Path
) -> None:
    text = json.dumps(default_config()).replace('"soft": 1024', f'"soft": {value}')
    (bundle / "config.json").write_text(text)
    message = refusal(bundle)
    assert "/process/rlimits/0/soft: expected an integer from 0 to 18446744073709551615" in message
    assert words in message


def test_numbers_that_go_takes_are_taken(bundle: Path) -> None:
    text = json.dumps(default_config()).replace('"soft": 1024', '"soft": -0')
    text = text.replace("{", '{"unknown": [1e400, 0.1, 18446744073709551616],', 1)
    (bundle / "config.json").write_text(text)
    assert load_bundle(str(bundle)).config["process"]["rlimits"][0]["soft"] == 0


def test_a_member_that_is_null_counts_as_absent(bundle: Path) -> None:
    config = default_config()
    config["hooks"] = None
    config["linux"]["seccomp"] = None
    config["process"]["capabilities"]["ambient"] = None
    write(bundle, config)
    loaded = load_bundle(str(bundle)).config
    assert "hooks" not in loaded
    assert "seccomp" not in loaded["linux"]
    config["process"]["cwd"] = None
    write(bundle, config)
    assert "/process/cwd: required, and missing" in refusal(bundle)
    write(bundle, default_config() | {"annotations": None, "mounts": [None]})
    assert "/mounts/0: expected an object, not null" in refusal(bundle)


def test_unknown_members_are_accepted_and_names_are_exact(bundle: Path) -> None:
    config = default_config()
    config["future"] = {"a": [1]}
    config["process"]["CWD"] = 5  # Go would take it for cwd
    write(bundle, config)
    assert load_bundle(str(bundle)).config["process"]["cwd"] == "/"


@pytest.mark.parametrize("text", ["\\u0000", "\\ud800", "\\uDFFF", "a\\ud83dz"])
def test_text_that_the_kernel_cannot_take_is_refused(text: str, bundle: Path) -> None:
    (bundle / "config.json").write_text(
        json.dumps(default_config()).replace('"TERM=xterm"', f'"TERM={text}"')
    )
    with pytest.raises(ConfigError) as caught:
        load_bundle(str(bundle))
    assert [v.pointer for v in caught.value.violations] == ["/process/env/1"]


def test_escapes_of_good_text_are_read(bundle: Path) -> None:
    (bundle / "config.json").write_text(
        json.dumps(default_config()).replace('"TERM=xterm"', '"A=\\ud83d\\ude00 \\\\u0000"')
    )
    assert load_bundle(str(bundle)).config["process"]["env"][1] == "A=\U0001f600 \\u0000"


@pytest.mark.parametrize("document", [[], "a", 1, None, True])
def test_a_document_that_is_no_object_is_refused(document: object, bundle: Path) -> None:
    write(bundle, document)
    assert "expected an object" in refusal(bundle)


def test_the_error_has_every_violation_and_the_pointer_of_the_first(bundle: Path) -> None:
    config = default_config()
    config["process"]["cwd"] = "home"
    config["linux"]["namespaces"].append({"type": "pid"})
    write(bundle, config)
    with pytest.raises(ConfigError) as caught:
        load_bundle(str(bundle))
    error = caught.value
    assert error.source == f"{bundle}/config.json"
    assert error.pointer == "/process/cwd"
    assert [v.pointer for v in error.violations] == [
        "/process/cwd",
        f"/linux/namespaces/{len(config['linux']['namespaces']) - 1}/type",
    ]
    for violation in error.violations:
        assert str(violation) in str(error)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (None, "No such file or directory"),
        (_fifo, "it is a fifo, not a directory"),
        (_device, "it is a character device, not a directory"),
    ],
)
def test_the_root_filesystem_must_be_a_directory(
    make: Callable[[Path], None] | None, words: str, bundle: Path
) -> None:
    (bundle / "rootfs").rmdir()
    if make:
        make(bundle / "rootfs")
    message = refusal(bundle)
    path = os.path.realpath(bundle / "rootfs")
    assert message.startswith(f"root filesystem {path}: {words}")
    assert "/root/path" in message


def test_a_process_document_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    process = {"cwd": "/", "args": ["sh"], "env": None}
    path.write_text(json.dumps(process))
    assert load_process(str(path)) == {"cwd": "/", "args": ["sh"]}
    for wrong, pointer in (
        ({"args": ["sh"]}, "/cwd"),
        ({"cwd": "/", "args": "sh"}, "/args"),
        ({"cwd": "a", "args": ["sh"]}, "/cwd"),
        ({"cwd": "/", "args": ["a\0"]}, "/args/0"),
        ([], None),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(ConfigError) as caught:
            load_process(str(path))
        assert caught.value.pointer == pointer or not pointer


def test_a_process_made_in_memory_is_checked_under_its_name() -> None:
    check_process({"cwd": "/", "args": ["sh"], "oomScoreAdj": None}, "the command line")
    with pytest.raises(ConfigError, match="the command line: /env/0: expected NAME=VALUE"):
        check_process({"cwd": "/", "args": ["sh"], "env": ["A"]}, "the command line")


@pytest.mark.parametrize("verdict", [True, False])
def test_a_hot_check_that_is_wrong_does_no_harm(
    verdict: bool, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the schema was changed and the package not built."""
    monkeypatch.setattr(loader, "_valid", lambda _: verdict)
    load_bundle(str(bundle))
    config = default_config() | {"ociVersion": "2.0.0"}
    write(bundle, config)
    assert "/ociVersion" in refusal(bundle)


def test_without_jsonschema_there_still_is_an_error(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    monkeypatch.delitem(sys.modules, "pyrunc.spec.validate", raising=False)
    write(bundle, default_config() | {"hostname": 5})
    assert "install jsonschema" in refusal(bundle)


def test_a_good_bundle_needs_no_costly_module(bundle: Path) -> None:
    if not Path(loader.__file__).with_name("_check.py").exists():
        pytest.skip("pyrunc/spec/_check.py is missing: the package was not built in place")
    package = str(Path(loader.__file__).parents[2])
    code = (
        f"import os, sys; sys.path.insert(0, {package!r}); before = set(sys.modules)\n"
        f"from pyrunc.spec.loader import load_bundle; load_bundle({str(bundle)!r})\n"
        "print(*sorted(name for name in set(sys.modules) - before if 'pyrunc' not in name))"
    )
    done: Any = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= {"__future__", "_json", "errno", "fcntl"}
