from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from vm import images
from vm.checkout import is_needed, stage
from vm.images import KERNELS, Kernel, digest, preferences, sources
from vm.machine import TimeLimitError, boot, command, read_results


def test_digest_changes_with_each_input(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {digest(name) for name in KERNELS}
    assert len(seen) == len(KERNELS)
    before = digest("6.1")
    assert digest("6.1") == before
    for name, value in (
        ("RECIPE", -1),
        ("PACKAGES", (*images.PACKAGES, "hello")),
        ("SETUP", images.SETUP + "true\n"),
        ("FILES", images.FILES | {"etc/hostname": "other\n"}),
        ("KERNELS", {"6.1": KERNELS["6.1"]._replace(package="linux-image-amd64")}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(images, name, value)
            assert digest("6.1") != before, name


def test_sources_have_each_suite_once_and_security_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "mirror", lambda suite: f"http://mirror/{suite}")
    lines = sources(KERNELS["6.1"])
    assert len(lines) == len(set(lines)) == 3
    assert lines[-1] == "deb http://mirror/bookworm-security bookworm-security main"
    assert sources(KERNELS["newest"])[-1].split()[2] == "trixie-backports"


def test_only_the_kernel_comes_from_a_foreign_suite() -> None:
    assert preferences(KERNELS["6.1"]) == ""
    pins = preferences(Kernel("sid", "linux-image-cloud-amd64", ""))
    general, kernel = pins.split("\n\n")
    assert general.startswith("Package: *\nPin: release n=sid\n")
    assert int(general.split()[-1]) < 500 < int(kernel.split()[-1])


def test_an_image_is_built_once_and_replaces_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def build(name: str, work: Path) -> None:
        built.append(name)
        (work / "image").mkdir()

    monkeypatch.setattr(images, "_build", build)
    (tmp_path / "6.1-old").mkdir()
    (tmp_path / "6.12-other").mkdir()
    first = images.build("6.1", tmp_path)
    assert images.build("6.1", tmp_path) == first
    assert built == ["6.1"]
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] != ".") == [
        first.disk.parent.name,
        "6.12-other",
    ]


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(name: str, work: Path) -> None:
        (work / "root").mkdir()
        raise RuntimeError("mmdebstrap: exit status 1")

    monkeypatch.setattr(images, "_build", build)
    with pytest.raises(RuntimeError):
        images.build("6.1", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".6.1.lock"]


def test_a_command_that_is_missing_is_named() -> None:
    with pytest.raises(RuntimeError, match="no-such-command is not there: scripts/install-deps vm"):
        images.run("no-such-command")
    with pytest.raises(RuntimeError, match="exit status 3\nwhy"):
        images.run("sh", "-c", "echo why; exit 3")


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("bin/pytest", True),
        ("bin/pyrunc", True),
        ("bin/ruff", False),
        ("pyvenv.cfg", True),
        ("lib/python3.11/site-packages/pyrunc/errors.py", True),
        ("lib/python3.11/site-packages/mypy/main.py", False),
        ("lib/python3.11/site-packages/pip-23.0.dist-info/METADATA", False),
        ("lib/python3.11/site-packages/6ec5__mypyc.cpython-311-x86_64-linux-gnu.so", False),
    ],
)
def test_what_of_the_virtual_environment_is_needed(path: str, needed: bool) -> None:
    assert is_needed(Path(path)) is needed


def test_the_checkout_is_staged_without_what_git_ignores(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name in (".venv/bin/pytest", ".venv/bin/mypy", "tests/a.py", "tests/x/a.pyc", "gone"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / ".gitignore").write_text("/.venv/\n*.pyc\nbuild\n")
    (source / "build").mkdir()
    (source / "build" / "large").write_text("")
    (source / "link").symlink_to("nowhere")
    images.run("git", "-C", str(source), "init", "--quiet")
    images.run("git", "-C", str(source), "add", ".")
    (source / "gone").unlink()
    (source / "new").write_text("not yet added")
    target.mkdir()
    stage(source, target)
    found = sorted(str(p.relative_to(target)) for p in target.rglob("*") if not p.is_dir())
    assert found == [".gitignore", ".venv/bin/pytest", "link", "new", "tests/a.py", "tests/x/a.pyc"]
    assert os.readlink(target / "link") == "nowhere"


def test_the_root_disk_is_not_written_to() -> None:
    image = images.Image(Path("/disk"), Path("/vmlinuz"), Path("/initrd"))
    line = command(
        image,
        Path("/checkout"),
        Path("/results"),
        Path("/mount/point"),
        accelerator="tcg",
        memory=512,
        append="more",
    )
    drives = [line[i + 1] for i, word in enumerate(line) if word == "-drive"]
    assert [d.split("file=")[1] for d in drives] == [
        "/disk,snapshot=on",
        "/checkout,cache=unsafe",
        "/results,cache=unsafe",
    ]
    words = line[line.index("-append") + 1].split()
    assert "vm.checkout=/mount/point" in words
    assert words[-1] == "more"
    assert "root=/dev/vda" in words


def test_the_console_is_kept(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    boot(["echo", "booted"], tmp_path / "console", 60)
    assert (tmp_path / "console").read_bytes() == b"booted\n"


def test_a_machine_that_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit status 1"):
        boot(["false"], tmp_path / "console", 60)


def test_a_machine_that_hangs_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(TimeLimitError):
        boot(["sh", "-c", f"echo $$ >{pid}; exec sleep 600"], tmp_path / "console", 0.5)
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_results_come_back_by_a_disk_larger_than_they_are(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    (tmp_path / "root.xml").write_text("<testsuites/>")
    with disk.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w|") as archive:
            archive.add(tmp_path / "root.xml", arcname="./root.xml")
        file.truncate(1 << 20)
    read_results(disk, tmp_path / "out")
    assert (tmp_path / "out" / "root.xml").read_text() == "<testsuites/>"


def test_no_results_are_an_error(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"")
    os.truncate(disk, 1 << 20)
    with pytest.raises(RuntimeError, match="no results"):
        read_results(disk, tmp_path / "out")
    disk.write_bytes(b"garbage" * 1000)
    with pytest.raises(RuntimeError, match="damaged"):
        read_results(disk, tmp_path / "out")
