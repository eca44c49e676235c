"""What an executed process takes from the container's own process."""

from __future__ import annotations

from typing import Any

import pytest

from pyrunc.container.execute import completed

OWN: dict[str, Any] = {
    "args": ["init"],
    "env": ["A=1"],
    "capabilities": {"bounding": ["CAP_KILL"]},
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
    "apparmorProfile": "profile",
    "oomScoreAdj": 100,
}


def test_what_is_left_out_is_taken_from_the_container() -> None:
    process = {"args": ["x"], "cwd": "/", "apparmorProfile": ""}
    assert completed(process, OWN) == {
        "args": ["x"],
        "cwd": "/",
        "capabilities": OWN["capabilities"],
        "apparmorProfile": "profile",
        "oomScoreAdj": 100,
    }


@pytest.mark.parametrize("name", ["capabilities", "oomScoreAdj"])
def test_what_is_given_stands(name: str) -> None:
    given = {"capabilities": {}, "oomScoreAdj": 0}[name]
    assert completed({name: given}, OWN)[name] == given
