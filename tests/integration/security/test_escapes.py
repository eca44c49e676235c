"""Each public escape of the runc family, tried on us, and on runc where it is vulnerable.

The attacks are built from the descriptions of the advisories. docs/security.md lists them.
"""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeBundle, NewId
from helpers.attacker import Attackers, Racer, Scratch, rounds
from helpers.bundle import Bundle
from helpers.command import run_command
from helpers.leaks import Leaks, remove_tree
from helpers.runtime import Runtime

pytestmark = pytest.mark.root

#: How long a race is tried on runc, which is known to lose it, but not when.
PATIENCE = rounds(600, 5000)

RACES = "rounds of races that the attacker lost"


def lost_by_runc(lost: bool) -> None:
    """End a test whose race runc should have lost: where it was lucky, the test has not shown that it can fail."""
    if os.environ.get("PYRUNC_TORTURE"):
        assert lost
    elif not lost:
        pytest.skip(f"pyrunc held, but so did runc, which is vulnerable, for {PATIENCE} rounds")


@pytest.fixture
def scratch(workspace: Path) -> Iterator[Scratch]:
    """What is to be attacked, on the host."""
    made = Scratch(workspace / "scratch")
    yield made
    remove_tree(made.path)


@pytest.fixture
def volume(workspace: Path) -> Iterator[Path]:
    """A directory that an attacker changes while it is mounted into the victim."""
    path = workspace / "volume"
    path.mkdir()
    yield path
    remove_tree(path)


def bind(source: Path, destination: str, *options: str) -> dict[str, object]:
    return {
        "destination": destination,
        "type": "bind",
        "source": str(source),
        "options": ["rbind", *options],
    }


def on_terminal(tested: Runtime, *arguments: str | Path) -> None:
    """Run an operation on a terminal of its own."""
    command = shlex.join(tested.command(*arguments))
    run_command(["script", "-qec", command, "/dev/null"], check=False)


def of_image(bundle: Bundle) -> None:
    """Leave /dev as it is in the image."""
    mounts = bundle.config["mounts"]
    bundle.config["mounts"] = [m for m in mounts if not m["destination"].startswith("/dev")]


# --- CVE-2021-30465, CVE-2024-45310: the destination of a mount becomes a symlink ---------------


@pytest.fixture
def racing(bundle: Bundle, volume: Path, scratch: Scratch) -> Bundle:
    """A bundle with a mount below a directory of the volume that is exchanged with a symlink."""
    (volume / "target").mkdir()
    (volume / "other").symlink_to(scratch.path)
    (bundle.rootfs / "volume").mkdir()
    bundle.config["mounts"].append(bind(volume, "/volume"))
    return bundle


def make_anew(volume: Path) -> None:
    """Remove what runtimes have made for the mounts, so that it has to be made again."""
    for name in itertools.islice(itertools.cycle(("target", "other")), 40):
        if not (volume / name).is_symlink():
            shutil.rmtree(volume / name / "made", ignore_errors=True)


def race(
    tested: Runtime, bundle: Bundle, volume: Path, scratch: Scratch, tries: int, container: str
) -> int:
    """Create and delete until something has happened to the host. Returns how often it was tried."""
    for done in range(tries):
        tested.create(container, bundle.path, check=False)
        tested("delete", "--force", container, check=False)
        if scratch.touched:
            return done + 1
        make_anew(volume)
    return tries


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_nothing_is_made_on_the_host(
    kind: str,
    racing: Bundle,
    volume: Path,
    scratch: Scratch,
    attackers: Attackers,
    runtime: Runtime,
    runc: Runtime,
    new_id: NewId,
    no_leaks: Leaks,
) -> None:
    source = volume if kind == "directory" else Path("/etc/hostname")
    racing.config["mounts"].append(bind(source, "/volume/target/made/deep"))
    racing.save()
    with Racer(attackers, volume / "target", volume / "other"):
        tries = rounds(60, 400, RACES)
        assert race(runtime, racing, volume, scratch, tries, new_id()) == tries
        assert not scratch.touched
        if kind == "directory":
            race(runc, racing, volume, scratch, PATIENCE, new_id())
            lost_by_runc(scratch.touched)


def test_no_mount_lands_on_the_host_or_shows_it(
    racing: Bundle,
    volume: Path,
    scratch: Scratch,
    attackers: Attackers,
    runtime: Runtime,
    new_id: NewId,
) -> None:
    """The mount lies below the root of the container, wherever the symlink leads."""
    (volume / "target" / "made").mkdir()
    racing.config["mounts"] += [
        {"destination": "/volume/target/made", "type": "tmpfs", "source": "planted"},
        bind(volume, "/volume/target/made"),
    ]
    racing.sh("grep -c planted /proc/self/mountinfo; cat /volume/target/secret 2>&1; true")
    seen = set()
    with Racer(attackers, volume / "target", volume / "other"):
        for _ in range(rounds(60, 400, RACES)):
            done = runtime.run(new_id(), racing.path, check=False)
            if done.returncode == 0:
                assert done.stdout.startswith("1\n")
            assert Scratch.SECRET not in done.stdout
            seen.add(done.returncode)
            assert not scratch.touched
    assert 0 in seen


# --- CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: procfs somewhere else ----------------------


@pytest.mark.parametrize("destination", ["proc", "sys"])
def test_procfs_and_sysfs_are_not_mounted_in_a_volume(
    destination: str,
    bundle: Bundle,
    volume: Path,
    attackers: Attackers,
    runtime: Runtime,
    container_id: str,
) -> None:
    """An image that sends them there would have them without masks, once they are moved."""
    (volume / "target").mkdir()
    (volume / "other").symlink_to("/tmp")
    (bundle.rootfs / "volume").mkdir()
    (bundle.rootfs / destination).rmdir()
    (bundle.rootfs / destination).symlink_to("volume/target")
    bundle.config["mounts"].insert(0, bind(volume, "/volume"))
    bundle.save()
    with Racer(attackers, volume / "target", volume / "other"):
        for _ in range(rounds(30, 400, RACES)):
            done = runtime.run(container_id, bundle.path, check=False)
            assert f"openat2 /{destination}: Too many levels of symbolic links" in done.stderr


# --- CVE-2019-16884, CVE-2025-52881: what the runtime writes to procfs goes elsewhere ------------


def fake_procfs(volume: Path) -> Path:
    target = volume / "ip_forward"
    target.write_text("fake")
    return target


SYSCTL = {"net.ipv4.ip_forward": "1"}


@pytest.mark.parametrize("covered", ["/proc/sys/net/ipv4", "/proc/sys", "/proc"])
def test_parameters_of_the_kernel_are_set_where_they_are(
    covered: str, bundle: Bundle, volume: Path, runtime: Runtime, container_id: str
) -> None:
    below = Path("/proc/sys/net/ipv4").relative_to(covered)
    (volume / below).mkdir(parents=True, exist_ok=True)
    fake = fake_procfs(volume / below)
    bundle.config["mounts"].append(bind(volume, covered))
    bundle.config["linux"].update(sysctl=SYSCTL, maskedPaths=[], readonlyPaths=[])
    bundle.args("sleep", "1000")
    runtime.detached("run", container_id, bundle.path, "--detach")
    assert fake.read_text() == "fake"
    pid = runtime.state(container_id)["pid"]
    inside = ["nsenter", "-t", str(pid), "-n", "cat", "/proc/sys/net/ipv4/ip_forward"]
    assert run_command(inside).stdout == "1\n"


def test_parameters_of_the_kernel_are_not_redirected_by_a_race(
    bundle: Bundle,
    volume: Path,
    workspace: Path,
    attackers: Attackers,
    runtime: Runtime,
    runc: Runtime,
    new_id: NewId,
) -> None:
    (bundle.rootfs / "volume").mkdir()
    (volume / "target").mkdir()
    (volume / "other").symlink_to("/proc/sys/net/ipv4")
    fakes = volume / "fakes"
    fakes.mkdir()
    fake = fake_procfs(fakes)
    bundle.config["mounts"] += [bind(volume, "/volume"), bind(fakes, "/volume/target")]
    bundle.config["linux"]["sysctl"] = SYSCTL
    bundle.save()
    with Racer(attackers, volume / "target", volume / "other"):
        for _ in range(rounds(60, 400, RACES)):
            runtime.run(new_id(), bundle.path, check=False)
            assert fake.read_text() == "fake"
        for _ in range(PATIENCE):
            runc.run(new_id(), bundle.path, check=False)
            if fake.read_text() != "fake":
                break
    lost_by_runc(fake.read_text() == "1")


# --- CVE-2022-29162, CVE-2022-24769: inheritable capabilities ------------------------------------


def test_capabilities_are_not_inheritable_unless_asked_for(
    bundle: Bundle, runtime: Runtime, workspace: Path, container_id: str
) -> None:
    for flags in ([], ["--rootless"]):
        path = workspace / "template"
        path.mkdir()
        runtime("spec", *flags, "--bundle", path)
        capabilities = json.loads((path / "config.json").read_text())["process"]["capabilities"]
        assert not capabilities.get("inheritable")
        assert not capabilities.get("ambient")
        remove_tree(path)
    bundle.args("sleep", "1000")
    runtime.detached("run", container_id, bundle.path, "--detach")
    command = ("grep", "Cap", "/proc/self/status")
    status = runtime("exec", "--cap", "CAP_NET_RAW", container_id, *command).stdout
    assert "CapInh:\t0000000000000000" in status
    assert "CapAmb:\t0000000000000000" in status
    assert "CapEff:\t0000000020002420" in status


# --- CVE-2023-25809: the cgroups of an unprivileged user -----------------------------------------


@pytest.fixture
def own_cgroup(prefix: str, user: int) -> Iterator[Path]:
    """A cgroup that belongs to the user."""
    mounted = Path("/sys/fs/cgroup")
    path = (mounted / "unified" if (mounted / "unified").is_dir() else mounted) / f"{prefix}user"
    path.mkdir()
    for entry in (path, *path.iterdir()):
        os.chown(entry, user, user)
    yield path
    path.rmdir()


@pytest.fixture
def user() -> int:
    """The id of an unprivileged user."""
    return 12345


def test_a_container_of_an_unprivileged_user_cannot_write_to_the_cgroups(
    own_cgroup: Path,
    user: int,
    make_bundle: MakeBundle,
    workspace: Path,
    copied_runtime: Runtime,
    new_id: NewId,
) -> None:
    unprivileged = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    root = workspace / "state-of-user"
    root.mkdir()
    os.chown(root, user, user)
    command = [*unprivileged, str(copied_runtime.binary), "--root", str(root)]
    script = """find /sys/fs/cgroup -name cgroup.procs | while read -r path; do
        (: >>$path) 2>/dev/null && echo $path
    done; true"""
    for protected in (True, False):
        bundle = make_bundle()
        os.chown(bundle.path, user, user)
        (bundle.path / "config.json").unlink()
        run_command([*command, "spec", "--rootless", "--bundle", str(bundle.path)])
        bundle.config = json.loads((bundle.path / "config.json").read_text())
        bundle.config["process"]["terminal"] = False
        if not protected:  # as it was, so that there is something to be found
            last = bundle.config["mounts"].pop()
            assert last["destination"] == "/sys/fs/cgroup"
        bundle.sh(script)
        done = run_command([*command, "run", "--bundle", str(bundle.path), new_id()])
        assert done.stdout == ("" if protected else f"{own_cgroup}/cgroup.procs\n")
    remove_tree(root)


# --- CVE-2024-21626: a directory of the host behind a leaked descriptor --------------------------

LEAKED = range(3, 24)


@pytest.fixture
def leaking(scratch: Scratch) -> Iterator[dict[str, object]]:
    """Keywords for subprocess.run: the runtime inherits directories of the host."""
    fds = [os.open(path, os.O_PATH | os.O_DIRECTORY) for path in ("/", scratch.path, "/proc")]
    yield {"pass_fds": fds}
    for fd in fds:
        os.close(fd)


def test_no_working_directory_on_the_host(
    bundle: Bundle, leaking: dict[str, object], runtime: Runtime, new_id: NewId
) -> None:
    started = new_id()
    bundle.args("sleep", "1000")
    runtime.detached("run", started, bundle.path, "--detach")
    bundle.args("ls")
    for number in LEAKED:
        for path in (
            f"/proc/self/fd/{number}",
            f"/proc/self/fd/{number}/../..",
            f"/dev/fd/{number}",
        ):
            bundle.config["process"]["cwd"] = path
            bundle.save()
            done = runtime.run(new_id(), bundle.path, check=False, **leaking)
            listed = done.stdout.split()
            assert done.returncode != 0 or sorted(listed) == sorted(os.listdir(bundle.rootfs))
            done = runtime("exec", "--cwd", path, started, "ls", check=False, **leaking)
            listed = done.stdout.split()
            assert done.returncode != 0 or sorted(listed) == sorted(os.listdir(bundle.rootfs))


def test_no_program_on_the_host(
    bundle: Bundle, leaking: dict[str, object], runtime: Runtime, new_id: NewId
) -> None:
    started = new_id()
    bundle.args("sleep", "1000")
    runtime.detached("run", started, bundle.path, "--detach")
    for number in LEAKED:
        for path in (f"/proc/self/fd/{number}/bin/true", f"/proc/self/fd/{number}/self/exe"):
            bundle.args(path)
            assert runtime.run(new_id(), bundle.path, check=False, **leaking).returncode != 0
            assert runtime("exec", started, path, check=False, **leaking).returncode != 0


def test_no_descriptor_is_left_to_the_program(
    bundle: Bundle, leaking: dict[str, object], runtime: Runtime, new_id: NewId
) -> None:
    started = new_id()
    bundle.args("sleep", "1000")
    runtime.detached("run", started, bundle.path, "--detach")
    bundle.args("ls", "/proc/self/fd")
    expected = ["0", "1", "2", "3"]  # the last is that of the listing
    assert runtime.run(new_id(), bundle.path, **leaking).stdout.split() == expected
    assert runtime(
        "exec", started, *bundle.config["process"]["args"], **leaking
    ).stdout.split() == (expected)


# --- CVE-2025-31133: /dev/null is something else -------------------------------------------------


@pytest.mark.parametrize("null", ["link", "file", "missing", "other device"])
def test_masks_are_the_null_device_or_nothing_is_started(
    null: str,
    bundle: Bundle,
    volume: Path,
    runtime: Runtime,
    runc: Runtime,
    new_id: NewId,
) -> None:
    """The /dev of the image, or of a volume, holds what the attacker wants to see."""
    if null == "link":
        (volume / "null").symlink_to("/etc/passwd")
    elif null == "file":
        (volume / "null").write_text("root")
    elif null == "other device":
        os.mknod(volume / "null", 0o20666, os.makedev(1, 5))
    of_image(bundle)
    bundle.config["mounts"].append(bind(volume, "/dev"))
    bundle.config["linux"]["maskedPaths"] = ["/proc/cpuinfo"]
    bundle.args("head", "-c", "20", "/proc/cpuinfo")
    done = runtime.run(new_id(), bundle.path, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "/dev/null" in done.stderr
    if null != "missing":
        vulnerable = runc.run(new_id(), bundle.path)
        assert (
            len(vulnerable.stdout) > 3
        )  # what should have been masked, or what the attacker chose


def test_the_null_device_is_not_exchanged_by_a_race(
    bundle: Bundle, volume: Path, attackers: Attackers, runtime: Runtime, new_id: NewId
) -> None:
    os.mknod(volume / "null", 0o20666, os.makedev(1, 3))
    (volume / "other").symlink_to("/etc/passwd")
    of_image(bundle)
    bundle.config["mounts"].append(bind(volume, "/dev"))
    bundle.config["linux"]["maskedPaths"] = ["/proc/cpuinfo", "/proc/keys", "/proc/version"]
    bundle.args("cat", *bundle.config["linux"]["maskedPaths"])
    results = set()
    with Racer(attackers, volume / "null", volume / "other"):
        for _ in range(rounds(60, 400, RACES)):
            done = runtime.run(new_id(), bundle.path, check=False)
            assert done.stdout == ""
            results.add(done.returncode)
    assert results == {0, 1}


# --- CVE-2025-52565: /dev/console is something else ----------------------------------------------


def test_the_console_is_the_terminal_or_nothing_is_started(
    bundle: Bundle,
    volume: Path,
    attackers: Attackers,
    runtime: Runtime,
    runc: Runtime,
    new_id: NewId,
) -> None:
    """The directory of the terminals is exchanged, while it is used, with one of the attacker's."""
    for name in ("pts", "other"):
        (volume / name).mkdir()
    for number in range(10):
        (volume / "other" / str(number)).symlink_to("/etc/passwd")
    os.mknod(volume / "null", 0o20666, os.makedev(1, 3))
    (volume / "ptmx").symlink_to("pts/ptmx")
    of_image(bundle)
    bundle.config["mounts"] += [
        bind(volume, "/dev"),
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
    ]
    bundle.config["process"]["terminal"] = True
    bundle.sh("stat -L -c %F /dev/console >/result")
    result = bundle.rootfs / "result"

    def seen(tested: Runtime) -> str:
        result.unlink(missing_ok=True)
        on_terminal(tested, "run", "--bundle", bundle.path, new_id())
        return result.read_text().strip() if result.exists() else ""

    def lost() -> bool:
        try:
            return seen(runc) == "regular file"
        except subprocess.TimeoutExpired:  # it waits for a console that it has lost
            return False

    with Racer(attackers, volume / "pts", volume / "other", pause=300):
        found = {seen(runtime) for _ in range(rounds(60, 400, RACES))}
        assert found <= {"", "character special file"}
        lost_by_runc(any(lost() for _ in range(PATIENCE)))


# --- CVE-2026-41579, CVE-2026-88264, CVE-2026-88265: /dev of the image leads to the host ----------


@pytest.mark.parametrize("relative", [False, True])
def test_a_dev_that_is_a_symlink_stays_inside(
    relative: bool,
    make_bundle: MakeBundle,
    scratch: Scratch,
    runtime: Runtime,
    runc: Runtime,
    new_id: NewId,
) -> None:
    for tested in (runtime, runc):
        bundle = make_bundle()
        of_image(bundle)
        (bundle.rootfs / "dev").rmdir()
        # in the container, the same path leads to a directory of its own
        inside = bundle.rootfs / str(scratch.path).lstrip("/")
        inside.mkdir(parents=True)
        way = "../" * 12 if relative else "/"
        (bundle.rootfs / "dev").symlink_to(f"{way}{str(scratch.path).lstrip('/')}")
        done = tested.run(new_id(), bundle.save().path, check=False)
        if tested is runtime:
            assert done.returncode == 0, done.stderr
            assert (inside / "ptmx").is_symlink()
            assert not scratch.touched
    assert scratch.touched


def test_devices_of_the_image_that_are_symlinks_change_nothing_on_the_host(
    make_bundle: MakeBundle, scratch: Scratch, runtime: Runtime, new_id: NewId
) -> None:
    names = ("null", "zero", "full", "random", "urandom", "tty", "console", "fd", "stdin", "core")
    for name in names:
        for target in (scratch.path / "secret", scratch.path / "new"):
            bundle = make_bundle()
            of_image(bundle)
            (bundle.rootfs / "dev" / "pts").mkdir()
            bundle.config["mounts"].append(
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts"}
            )
            (bundle.rootfs / "dev" / name).symlink_to(target)
            bundle.config["process"]["terminal"] = True
            on_terminal(runtime, "run", "--bundle", bundle.save().path, "x")
            runtime("delete", "--force", "x", check=False)
            assert not scratch.touched, name


# --- CVE-2025-24965: a file that the runtime writes in the rootfs --------------------------------


def test_files_to_mount_on_are_made_inside(
    make_bundle: MakeBundle, scratch: Scratch, runtime: Runtime, new_id: NewId
) -> None:
    for target in ("new", "secret", "new/deep"):
        bundle = make_bundle()
        (bundle.rootfs / "etc" / "link").symlink_to(scratch.path / target)
        (bundle.rootfs / ".krun_config.json").symlink_to(scratch.path / "secret")
        bundle.config["mounts"].append(bind(Path("/etc/hostname"), "/etc/link", "ro"))
        bundle.args("cat", "/etc/link")
        done = runtime.run(new_id(), bundle.path)
        assert done.stdout == Path("/etc/hostname").read_text()
        assert not scratch.touched
