"""Images made on the spot, in the format of `docker save`, which all engines load."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Files of a layer: mode and content by path.
Files = Mapping[str, tuple[int, bytes]]

ENVIRONMENT = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


class Image:
    """One image.

    Attributes:
        names: all its references.
        config: of its containers, as in the image specification.
    """

    def __init__(self, *names: str, **config: Any) -> None:
        self.names = names
        self.config = {"Env": ENVIRONMENT, "Cmd": ["sh"], **config}


def layer_of(rootfs: Path) -> bytes:
    """A layer with all that is below a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        layer.add(rootfs, arcname=".")
    return buffer.getvalue()


def layer_with(files: Files) -> bytes:
    """A layer with given files, of root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for path, (mode, content) in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            member.mode = mode
            layer.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write_images(archive: Path, images: Sequence[Image], layers: Sequence[bytes]) -> Path:
    """Write images that share all their layers, and differ by their configuration."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    members = {f"{digest}.tar": layer for digest, layer in zip(digests, layers, strict=True)}
    manifest = []
    for image in images:
        config = json.dumps(
            {
                "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
                "os": "linux",
                "created": "2024-01-01T00:00:00Z",
                "config": image.config,
                "rootfs": {
                    "type": "layers",
                    "diff_ids": [f"sha256:{digest}" for digest in digests],
                },
                "history": [{"created": "2024-01-01T00:00:00Z"} for _ in layers],
            }
        ).encode()
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        members[name] = config
        manifest.append(
            {"Config": name, "RepoTags": image.names, "Layers": [f"{d}.tar" for d in digests]}
        )
    members["manifest.json"] = json.dumps(manifest).encode()
    archive.write_bytes(layer_with({name: (0o644, content) for name, content in members.items()}))
    return archive


def static_program(source: str, directory: Path) -> bytes:
    """A C program that needs nothing of the root filesystem that it is in."""
    output = directory / "program"
    command = ["musl-gcc", "-static", "-Os", "-s", "-x", "c", "-", "-o", str(output)]
    subprocess.run(command, input=source, text=True, check=True)
    content = output.read_bytes()
    output.unlink()
    return content
