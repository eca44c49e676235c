"""Running a config under a runtime, and collecting what can be compared."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers.bundle import BUSYBOX
from helpers.differential.dimensions import UNPRIVILEGED, Config, localise
from helpers.differential.probe import Sections, make_rootfs, normalise, sections, tree
from helpers.leaks import CGROUPS, remove_tree
from helpers.runtime import Runtime
from helpers.unprivileged import own_subordinate_ids

_ENVIRONMENT = {
    name: os.environ[name]
    for name in ("PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
    if name in os.environ
}

HOOK = """#!/bin/sh
state=$(cat)
status=none
for word in creating created running stopped; do
    case $state in *'"status":"'$word'"'* | *'"status": "'$word'"'*) status=$word ;; esac
done
echo "$1 $2 $status $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/pid)" >> "$LOG"
exit 0 # even where the log cannot be written
"""


#: As root, or as a user who can have a user namespace with more than one id.
CAN_RUN = pytest.mark.skipif(
    UNPRIVILEGED and not own_subordinate_ids(), reason="this user has no subordinate ids"
)


class Result(NamedTuple):
    """What a run gave, normalised; `error` is what was written to standard error."""

    exit_code: int
    seen: Sections
    hooks: list[str]
    tree: list[str]
    error: str

    @property
    def ran(self) -> bool:
        """Whether the program was executed, and came to its end."""
        return "end" in self.seen


def crun_wrapper(directory: Path) -> Path:
    """A program that is crun. Version 1.8 gives up where an empty cgroup2 is mounted beside the v1
    hierarchies, so there it gets a mount namespace without."""
    path = directory / "crun"
    unified = "/sys/fs/cgroup/unified"
    start = 'exec crun "$@"'
    if os.path.ismount(unified):
        start = f'exec unshare -m sh -c {shlex.quote(f"umount {unified} && {start}")} crun "$@"'
    path.write_text(f"#!/bin/sh\n{start}\n")
    path.chmod(0o755)
    return path


def _delegated() -> str:
    """The cgroup above that of the tests, as far as it is theirs, with a slash at its end; "" for root."""
    if not UNPRIVILEGED:
        return ""
    own = Path("/proc/self/cgroup").read_text().rpartition("0::/")[2].strip()
    return f"{os.path.dirname(own)}/"


class Workshop:
    """Makes bundles in a directory that every user can search, runs them and removes them."""

    def __init__(self, directory: Path, cgroup: str, *, systemd: bool = False) -> None:
        """`cgroup` is the parent of the containers' cgroups, below the root of each hierarchy, or for an unprivileged
        user beside the cgroup that the tests are in; with `systemd`, which takes no such paths, they are scopes in a
        slice."""
        self._directory = directory
        self._cgroup = "pyrunctest.slice" if systemd else _delegated() + cgroup
        self._systemd = systemd
        self._busybox = directory / "busybox"
        shutil.copy(BUSYBOX, self._busybox)
        self._tree = directory / "tree"
        (self._tree / "below").mkdir(parents=True)
        if not UNPRIVILEGED:
            subprocess.run(["mount", "-t", "tmpfs", "tree", self._tree / "below"], check=True)
        (self._tree / "below/file").write_text("of the tree\n")

    def close(self) -> None:
        """Remove what is mounted, and the cgroups that other runtimes leave when they fail.

        Raises:
            AssertionError: pyrunc left some.
        """
        if not UNPRIVILEGED:
            subprocess.run(["umount", self._tree / "below"], check=True)
        for hierarchy in (CGROUPS, *CGROUPS.iterdir()):
            for at, below, _ in os.walk(hierarchy / self._cgroup, topdown=False):
                left = [name for name in below if "pyrunc" in name]
                if left:
                    raise AssertionError(f"left behind in {at}: {', '.join(left)}")
                if not self._systemd:
                    os.rmdir(at)

    def run(self, runtime: Runtime, config: Config, container_id: str) -> Result:
        """Run `config` once under `runtime`."""
        with self._bundle(runtime, config, container_id) as bundle:
            # Not /dev/null as standard input: crun would give it to the container's user.
            done = runtime.run(
                container_id, bundle, check=False, stdin="", cwd=bundle, env=_ENVIRONMENT
            )
            seen = sections(done.stdout)
            return Result(
                done.returncode,
                normalise(seen, bundle, container_id),
                _hook_log(bundle, seen),
                [line for line in tree(bundle / "rootfs") if not line.startswith("log ")],
                done.stderr.strip().replace(str(bundle), "<bundle>"),
            )

    def execute(
        self, runtime: Runtime, config: Config, processes: list[Config], container_id: str
    ) -> list[Result]:
        """Start a container that sleeps, and execute each of `processes` in it."""
        sleeping = {**config, "process": {**config["process"], "args": ["/bin/sleep", "1000"]}}
        with self._bundle(runtime, sleeping, container_id) as bundle:
            self._start(runtime, bundle, container_id)
            results = []
            for process in processes:
                document = bundle / "process.json"
                document.write_text(json.dumps(process))
                done = runtime(
                    "exec",
                    "--process",
                    document,
                    container_id,
                    check=False,
                    stdin="",
                    env=_ENVIRONMENT,
                )
                seen = normalise(sections(done.stdout), bundle, container_id)
                results.append(Result(done.returncode, seen, [], [], done.stderr.strip()))
            return results

    def _start(self, runtime: Runtime, bundle: Path, container_id: str) -> None:
        """As `Runtime.detached`, but not with /dev/null: crun gives it to the container's user."""
        with (bundle / "input").open("w+b") as stdin, (bundle / "output").open("w+b") as output:
            status = subprocess.run(
                runtime.command("run", "--bundle", bundle, "--detach", container_id),
                stdin=stdin,
                stdout=output,
                stderr=output,
                check=False,
            ).returncode
        if status != 0:
            raise AssertionError(f"{container_id}: {(bundle / 'output').read_text()}")

    @contextmanager
    def _bundle(self, runtime: Runtime, config: Config, container_id: str) -> Iterator[Path]:
        bundle = self._directory / container_id
        self._make_bundle(bundle, config)
        try:
            yield bundle
        finally:
            if (runtime.root / container_id).exists():
                runtime("delete", "--force", container_id, check=False)
            remove_tree(bundle)

    def _make_bundle(self, bundle: Path, config: Config) -> None:
        rootfs = bundle / "rootfs"
        make_rootfs(rootfs, self._busybox)
        (bundle / "source/below").mkdir(parents=True)
        (bundle / "source/file").write_text("of the host\n")
        for place in (bundle, rootfs):
            (place / "hook").write_text(HOOK)
            (place / "hook").chmod(0o755)
            (place / "log").touch()
            (place / "log").chmod(0o666)
        mappings = config["linux"].get("uidMappings")
        if mappings:
            owner = mappings[0]["hostID"]
            for at, directories, files in os.walk(rootfs):
                for name in [".", *directories, *(f for f in files if f != "busybox")]:
                    os.lchown(os.path.join(at, name), owner, owner)
        config = localise(config, bundle)
        path = (
            f"{self._cgroup}:test:{bundle.name}"
            if self._systemd
            else f"/{self._cgroup}/{bundle.name}"
        )
        config["linux"]["cgroupsPath"] = path
        (bundle / "config.json").write_text(json.dumps(config))


def _hook_log(bundle: Path, seen: Sections) -> list[str]:
    """What hooks wrote, those on the host first; namespaces by whether they are the container's."""
    own = {link.partition(":")[0]: link for link in seen.get("namespaces", ())}
    lines = []
    for log in (bundle / "log", bundle / "rootfs/log"):
        for line in log.read_text().splitlines():
            name, number, status, *links = line.split()
            inside = [
                kind
                for kind, link in zip(("mnt", "pid"), links, strict=True)
                if own.get(kind) == link
            ]
            lines.append(f"{name} {number}: {status}, in the container's {' '.join(inside)}")
    return lines
