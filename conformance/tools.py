"""Get the validation programs: found by the Go tool, built once, kept in an ignored folder."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MODULE = "github.com/opencontainers/runtime-tools"
# The newest commit. A branch name would make yesterday's result and today's two different tests.
VERSION = "v0.9.1-0.20260316125833-8a4db579f5c8"
_LEAST_GO = (1, 21)


class ToolError(Exception):
    """The validation programs cannot be had; the message says what is missing."""


@dataclass(frozen=True)
class Tools:
    """Where the programs are.

    Attributes:
        directory: working directory that the programs expect: runtimetest and the root filesystem.
        programs: absolute paths of the validation programs by name.
    """

    directory: Path
    programs: dict[str, Path]


def find_go() -> str:
    """Path of the newest Go on this machine; Debian's versioned packages are not on PATH."""
    found: list[tuple[tuple[int, ...], str]] = []
    places = [shutil.which("go"), "/usr/local/go/bin/go", *glob.glob("/usr/lib/go-*/bin/go")]
    for place in places:
        if place is None or not os.access(place, os.X_OK):
            continue
        said = subprocess.run(
            [place, "env", "GOVERSION"], capture_output=True, text=True, check=False
        )
        version = re.match(r"go(\d+)\.(\d+)", said.stdout)
        if version is not None:
            found.append(((int(version[1]), int(version[2])), place))
    usable = [entry for entry in found if entry[0] >= _LEAST_GO]
    if not usable:
        have = ", ".join(place for _, place in found) or "none"
        raise ToolError(
            f"Go {'.'.join(map(str, _LEAST_GO))} or later is needed (found: {have}); "
            "scripts/install-deps conformance installs it"
        )
    return max(usable)[1]


def _go(go: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [go, *arguments],
        env={**os.environ, "GOFLAGS": "-buildvcs=false -mod=mod", **environment},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ToolError(f"go {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
    return done.stdout


def install(directory: Path) -> Tools:
    """Build all programs and `runtimetest` into `directory`, unless this version is there already.

    Raises:
        ToolError: no Go, or the module cannot be fetched or built.
    """
    binaries = directory / "bin"
    stamp = directory / "version"
    if not stamp.exists() or stamp.read_text() != VERSION:
        go = find_go()
        stamp.unlink(missing_ok=True)
        shutil.rmtree(binaries, ignore_errors=True)
        binaries.mkdir(parents=True)
        # runtimetest runs in a root filesystem without a C library.
        _go(
            go,
            "install",
            "-tags=netgo,osusergo",
            "-ldflags=-s -w",
            f"{MODULE}/validation/...@{VERSION}",
            f"{MODULE}/cmd/runtimetest@{VERSION}",
            GOBIN=str(binaries),
            CGO_ENABLED="0",
        )
        module = json.loads(_go(go, "mod", "download", "-json", f"{MODULE}@{VERSION}"))
        for archive in Path(module["Dir"]).glob("rootfs-*.tar.gz"):
            shutil.copyfile(archive, directory / archive.name)
        (binaries / "runtimetest").replace(directory / "runtimetest")
        stamp.write_text(VERSION)
    programs = {path.name: path for path in sorted(binaries.iterdir())}
    if not programs:
        raise ToolError(f"no validation programs in {binaries}")
    return Tools(directory, programs)
