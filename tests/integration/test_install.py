"""`make install` and `pip install`: what they put where, and that it works on its own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT = 600


def call(*line: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in line],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
        stdin=subprocess.DEVNULL,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{line}:\n{done.stdout}{done.stderr}"
    return done  # type: ignore[no-any-return]


@pytest.mark.slow
def test_make_install_and_uninstall(tmp_path: Path) -> None:
    prefix = tmp_path / "usr"
    call("make", "install", f"PREFIX={prefix}", cwd=REPOSITORY)
    program = prefix / "bin" / "pyrunc"
    plain = {"env": {}, "cwd": "/"}
    assert call(program, "--version", **plain).stdout.startswith("pyrunc version ")
    # without a module of the executable, and with one of a dependency
    bundle = tmp_path / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    call(program, "spec", "--bundle", bundle, **plain)
    assert call(program, "validate", bundle, **plain).stdout == "valid\n"
    words = ("--criu", "nosuchcriu", "restore", "--bundle", bundle, "box")
    done = subprocess.run([program, *words], capture_output=True, check=False, env={})
    assert b"install CRIU" in done.stderr
    (bundle / "config.json").write_text("{}")
    done = subprocess.run([program, "validate", bundle], capture_output=True, check=False, env={})
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"ociVersion" in done.stdout
    assert (prefix / "share/man/man8/pyrunc-run.8").is_file()
    bash = prefix / "share/bash-completion/completions/pyrunc"
    assert bash.read_text() == call(program, "completion", "bash", **plain).stdout
    assert (prefix / "share/zsh/site-functions/_pyrunc").read_text().startswith("#compdef")
    assert (prefix / "share/fish/vendor_completions.d/pyrunc.fish").is_file()
    init = prefix / "lib/pyrunc/pyrunc/libexec/pyrunc-init"
    assert os.access(init, os.X_OK)
    assert list((prefix / "lib/pyrunc/pyrunc").glob("__pycache__/errors.*.pyc"))

    call("make", "install", f"PREFIX={prefix}", cwd=REPOSITORY)
    call("make", "uninstall", f"PREFIX={prefix}", cwd=REPOSITORY)
    assert [path for path in prefix.rglob("*") if not path.is_dir()] == []


@pytest.mark.slow
def test_the_wheel(tmp_path: Path) -> None:
    """It is for this platform, and has the launcher, the init and the cffi modules."""
    flags = ("--no-build-isolation", "--no-deps", "--quiet")
    call(sys.executable, "-m", "pip", "wheel", *flags, "-w", tmp_path, REPOSITORY)
    (wheel,) = tmp_path.glob("*.whl")
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert f"-{tag}-{tag}-linux_{os.uname().machine}" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: info for info in archive.infolist()}
    scripts = [name for name in files if name.endswith(".data/scripts/pyrunc")]
    assert len(scripts) == 1
    for name in (scripts[0], "pyrunc/libexec/pyrunc-init"):
        assert files[name].external_attr >> 16 & 0o111
    modules = {name.partition(".")[0] for name in files if name.endswith(".so")}
    assert modules == {"pyrunc/host/_shim", "pyrunc/host/_seccomp"}
    assert "pyrunc/spec/_check.py" in files
    assert "pyrunc/py.typed" in files
    assert not [name for name in files if name.endswith((".command", "_build.py", ".c", ".h"))]
