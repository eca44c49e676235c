"""Many containers at once, for long, and commands that get into each other's way: nothing is lost or left."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NewId
from helpers.attacker import rounds
from helpers.bundle import Bundle
from helpers.crowd import Crowd
from helpers.leaks import Leaks, zombies
from helpers.runtime import Runtime
from helpers.tally import count

import pyrunc

pytestmark = pytest.mark.root

#: What no user should be shown.
DEFECTS = ("Traceback", "internal error")


@pytest.fixture
def crowd(tmp_path: Path) -> Crowd:
    return Crowd(tmp_path / "said", 64)


@pytest.fixture
def all_gone(
    runtime: Runtime, workspace: Path, prefix: str, crowd: Crowd, tmp_path: Path
) -> Iterator[Leaks]:
    """Nothing is left of any container: process, zombie, mount, cgroup, open file, state, or file beside it."""
    leaks = Leaks(workspace, prefix)
    yield leaks
    crowd.take_orphans()
    left = leaks.found(runtime.root)
    crowd.take_orphans()
    assert left == []
    assert zombies() == set()
    assert [path for path in tmp_path.glob("said/*") if path.name != "said"] == []


def test_many_live_at_once(
    runtime: Runtime, bundle: Bundle, new_id: NewId, crowd: Crowd, all_gone: Leaks
) -> None:
    names = [new_id() for _ in range(rounds(30, 500))]
    bundle.args("sleep", "10000")
    create = [runtime.command("create", "--bundle", bundle.path, name) for name in names]
    start = [runtime.command("start", name) for name in names]
    crowd.check(
        (name, list(commands)) for name, *commands in zip(names, create, start, strict=True)
    )
    listed = runtime("list", "--quiet").stdout.split()
    assert sorted(listed) == sorted(names)
    assert [runtime.status(name) for name in names[:: len(names) // 5]].count("running") >= 5
    crowd.check((name, [runtime.command("exec", name, "true")]) for name in names)
    count("containers living at once", len(names))
    crowd.check((name, [runtime.command("delete", "--force", name)]) for name in names)


def test_rounds(
    runtime: Runtime, bundle: Bundle, new_id: NewId, crowd: Crowd, all_gone: Leaks
) -> None:
    """64 at a time are created and deleted, every other one after it was started."""
    bundle.args("sleep", "10000")
    number = rounds(96, 5000)

    def jobs() -> Iterator[tuple[str, list[list[str]]]]:
        for index in range(number):
            name = new_id()
            yield (
                name,
                [
                    runtime.command("create", "--bundle", bundle.path, name),
                    *([runtime.command("start", name)] if index % 2 else []),
                    runtime.command("delete", "--force", name),
                ],
            )

    crowd.check(jobs())
    count("rounds of create and delete, 64 at a time, without a leak", number)


def memory() -> int:
    """Resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_program_that_embeds_it_does_not_grow(
    runtime: Runtime, bundle: Bundle, new_id: NewId, sealed_copy: None, all_gone: Leaks
) -> None:
    bundle.args("true")
    library = pyrunc.Runtime(root=str(runtime.root))

    def go(times: int) -> None:
        for _ in range(times):
            with library.create(new_id(), str(bundle.path)) as box:
                box.start()
                assert box.wait() == 0

    def crowd_of_threads(times: int) -> None:
        threads = [threading.Thread(target=go, args=(times,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    crowd_of_threads(10)
    before = memory()
    times = rounds(20, 250)
    crowd_of_threads(times)
    # a leak of one page for each container would be more than this in the long form
    assert memory() - before < 3 << 20
    count("containers of one embedding program, whose memory did not grow", 4 * times)


def test_one_of_32_creators_wins(
    runtime: Runtime, bundle: Bundle, new_id: NewId, tmp_path: Path, crowd: Crowd, all_gone: Leaks
) -> None:
    for _ in range(rounds(2, 100)):
        name = new_id()
        command = runtime.command("create", "--bundle", bundle.path, name)
        done = list(crowd.run((f"{name}-{index}", [command]) for index in range(32)))
        assert sorted(one.status for one in done) == [0] + [1] * 31
        assert all("exists already" in one.said for one in done if one.status)
        assert runtime.status(name) == "created"
        runtime("delete", "--force", name)
        count("races of 32 creators with one winner")


#: Commands that are raced, and what follows the id.
RACED = {"start": (), "exec": ("true",), "kill": ("KILL",), "delete": ()}


def arguments(operation: str, name: str) -> list[str]:
    before = ["--force"] if operation == "delete" else []
    return [operation, *before, name, *RACED[operation]]


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations_with_replacement(RACED, 2)), ids=lambda word: word
)
def test_two_commands_race(
    one: str,
    other: str,
    runtime: Runtime,
    bundle: Bundle,
    new_id: NewId,
    crowd: Crowd,
    all_gone: Leaks,
) -> None:
    """Each does what it says, or tells why not."""
    bundle.args("sleep", "10000")
    for _ in range(rounds(4, 100)):
        name = new_id()
        runtime.create(name, bundle.path)
        if "start" not in (one, other):
            runtime("start", name)
        pair = [
            (f"{name}-{index}", [runtime.command(*arguments(operation, name))])
            for index, operation in enumerate((one, other))
        ]
        for done in crowd.run(pair):
            assert not any(word in done.said for word in DEFECTS), done
            assert (done.status == 0) or done.said.strip() or done.status == 137, done
        (left,) = list(crowd.run([(name, [runtime.command("delete", "--force", name)])]))
        assert left.status == 0, left
        assert not any(word in left.said for word in DEFECTS), left
        assert runtime.status(name) == "none"
        count("races of two commands on one container")
