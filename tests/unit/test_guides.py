"""The guides to engines in docs/engines: what they show is what `install` writes."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from pyrunc.cli.engines import ENGINES, Runtime, add
from pyrunc.cli.install import COMMAND

GUIDES = Path(__file__).parents[2] / "docs" / "engines"
MANIFESTS = GUIDES / "kubernetes"


def blocks(page: str) -> list[str]:
    """The indented blocks of a page."""
    text = (GUIDES / page).read_text(encoding="utf-8")
    return [
        dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("name", ENGINES)
def test_a_guide_shows_what_is_written(name: str) -> None:
    engine = ENGINES[name]
    written = engine.plain(add(engine, "", Runtime("pyrunc", "/usr/local/bin/pyrunc")))
    written.pop("version", None)
    first = "{" if name == "docker" else "["
    (shown,) = [block for block in blocks(f"{name}.md") if block.strip().startswith(first)]
    assert (json.loads(shown) if name == "docker" else tomllib.loads(shown)) == written
    assert engine.file in (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    assert engine.reload in (GUIDES / f"{name}.md").read_text(encoding="utf-8")


def test_flags_in_the_guides() -> None:
    known = {f"--{flag.name}" for flag in COMMAND.flags}
    for page in GUIDES.glob("*.md"):
        for line in re.findall(r"pyrunc install [^`\n#]*", page.read_text(encoding="utf-8")):
            assert set(re.findall(r"--[a-z-]+", line)) <= known, f"{page.name}: {line}"


def manifests(name: str) -> list[Any]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text(encoding="utf-8")))


def test_manifests() -> None:
    (runtime_class,) = manifests("runtimeclass.yaml")
    default_name = next(flag.default for flag in COMMAND.flags if flag.name == "name")
    assert runtime_class["handler"] == default_name
    (pod,) = manifests("pod.yaml")
    assert pod["spec"]["runtimeClassName"] == runtime_class["metadata"]["name"]
    daemon_set = manifests("node-setup.yaml")[-1]
    assert (
        daemon_set["spec"]["selector"]["matchLabels"]
        == (daemon_set["spec"]["template"]["metadata"]["labels"])
    )
    (setup,) = daemon_set["spec"]["template"]["spec"]["initContainers"]
    script = setup["command"][-1]
    subprocess.run(["sh", "-nc", script], check=True)
    assert "pyrunc install containerd --write" in script
    ((label, value),) = runtime_class["scheduling"]["nodeSelector"].items()
    assert f"{label}={value}" in script
    for page in ("runtimeclass.yaml", "pod.yaml", "node-setup.yaml"):
        assert f"kubernetes/{page}" in (GUIDES / "kubernetes.md").read_text(encoding="utf-8")
