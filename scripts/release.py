"""Makes what is released, in dist/: source archive, wheel, SBOM, and their checksums.

`make release` runs it. The time of the last commit stands for the time of the build, so that whoever builds the same
commit with the same tools gets the same files. docs/release.md tells how they are signed and checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
WORK = ROOT / "build" / "release"
GENERATOR = "cyclonedx-bom>=7,<8"

#: Debian packages whose code is part of what we build, and where it ends up.
LINKED = {
    "musl-dev": "linked statically into pyrunc-init",
    f"libpython3.{sys.version_info.minor}-dev": "the interpreter in the launcher",
    "libexpat1-dev": "a part of the interpreter in the launcher",
    "zlib1g-dev": "a part of the interpreter in the launcher",
}
#: Python packages of which the same is true.
CARRIED = {"jeepney": "two of its modules are in the launcher"}
#: Those whose libraries it is linked with.
NEEDED = {"libseccomp2": "loaded by pyrunc.host._seccomp"}


def run(*command: str | Path, **options: Any) -> str:
    """Run a command; what it printed."""
    output: str = subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, **options
    ).stdout
    return output


def environment(name: str, *requirements: str | Path) -> Path:
    """A fresh virtual environment with these packages; its interpreter."""
    path = WORK / name
    venv.create(path, with_pip=True)
    python = path / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *requirements)
    return python


def build() -> Path:
    """The source archive and the wheel; returns the wheel."""
    DIST.mkdir()
    name = f"pyrunc-{run(sys.executable, 'setup.py', '--version').strip()}"
    archive = DIST / f"{name}.tar.gz"
    run("git", "archive", f"--prefix={name}/", "--format=tar.gz", "-o", archive, "HEAD")
    flags = ("--quiet", "--no-build-isolation", "--no-deps", "-w", DIST)
    run(sys.executable, "-m", "pip", "wheel", *flags, ".")
    (wheel,) = DIST.glob("*.whl")
    return wheel


def component(purl: str, name: str, version: str, purpose: str, scope: str) -> dict[str, Any]:
    """A part of what is released (CycloneDX)."""
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "description": purpose,
        "scope": scope,
        "purl": purl,
    }


def debian_component(package: str, purpose: str, scope: str) -> dict[str, Any]:
    """A Debian package as a component (CycloneDX)."""
    query = "${Version} ${Architecture} ${source:Package}"
    version, architecture, source = run("dpkg-query", "-W", "-f", query, package).split()
    purl = f"pkg:deb/debian/{package}@{version}?arch={architecture}"
    return component(purl, source, version, purpose, scope)


def python_component(package: str, purpose: str) -> dict[str, Any]:
    """A package of this environment as a component (CycloneDX)."""
    version = metadata.version(package)
    return component(f"pkg:pypi/{package}@{version}", package, version, purpose, "required")


def write_licences() -> None:
    """The licences of what is part of our files, in dist/THIRD-PARTY-LICENCES."""
    texts = {name: Path(f"/usr/share/doc/{name}/copyright").read_text() for name in LINKED}
    for name in CARRIED:
        files = metadata.files(name) or []
        (licence,) = [file for file in files if file.stem.upper() in ("LICENSE", "LICENCE")]
        texts[name] = licence.read_text()
    purposes = LINKED | CARRIED
    parts = [f"{name}: {purposes[name]}\n\n{text.strip()}\n" for name, text in texts.items()]
    (DIST / "THIRD-PARTY-LICENCES").write_text(f"\n{'=' * 80}\n\n".join(parts))


def write_sbom(wheel: Path) -> None:
    """Name all that the wheel needs or has in it, in dist/pyrunc.cdx.json."""
    subject = environment("subject", wheel)
    run(subject, "-m", "pip", "uninstall", "--quiet", "--yes", "pip", "setuptools")
    generator = environment("generator", GENERATOR)
    target = DIST / "pyrunc.cdx.json"
    flags = ("--output-reproducible", "--sv", "1.6", "--pyproject", "pyproject.toml")
    run(generator, "-m", "cyclonedx_py", "environment", *flags, "-o", target, subject)
    document = json.loads(target.read_text())
    components = document["components"]
    components[:] = [part for part in components if part["name"] != "pyrunc"]
    components += [debian_component(name, why, "required") for name, why in LINKED.items()]
    components += [debian_component(name, why, "optional") for name, why in NEEDED.items()]
    components += [python_component(name, why) for name, why in CARRIED.items()]
    target.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    check = "import sys; from cyclonedx.validation.json import JsonStrictValidator as V;"
    check += "from cyclonedx.schema import SchemaVersion as S;"
    check += "sys.exit(V(S.V1_6).validate_str(sys.stdin.read()))"
    run(generator, "-c", check, input=target.read_text())


def main() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    shutil.rmtree(WORK, ignore_errors=True)
    os.chdir(ROOT)
    os.environ["SOURCE_DATE_EPOCH"] = run("git", "log", "-1", "--format=%ct").strip()
    if run("git", "status", "--porcelain"):
        print("release: the tree differs from the last commit", file=sys.stderr)
    write_sbom(build())
    write_licences()
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(DIST.iterdir())
    ]
    (DIST / "SHA256SUMS").write_text("".join(sums))
    print("".join(sums), end="")


if __name__ == "__main__":
    main()
