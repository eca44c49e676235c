"""`pyrunc.aio`, with real containers."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.criu import working_criu
from helpers.leaks import Leaks, zombies
from helpers.runtime import Runtime

import pyrunc
import pyrunc.aio

pytestmark = pytest.mark.root

DEVNULL, PIPE = pyrunc.DEVNULL, pyrunc.PIPE


@pytest.fixture
def library(runtime: Runtime, sealed_copy: None, leaks: Leaks) -> Iterator[pyrunc.aio.Runtime]:
    """Fails a test that leaves anything behind, or that made threads."""
    library = pyrunc.aio.Runtime(runtime.root)
    before = zombies()
    threads = threading.active_count()
    yield library
    assert threading.active_count() == threads
    left = [*leaks.found(runtime.root), *(f"zombie {pid}" for pid in zombies() - before)]
    assert left == []


async def running(library: pyrunc.aio.Runtime, id: str, bundle: Bundle) -> pyrunc.aio.Container:
    container = await library.create(id, bundle.path, stdin=DEVNULL, stdout=DEVNULL)
    await container.start()
    return container


def test_run(library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh("cat; echo complaint >&2; exit 4")
    data = bytes(range(256)) * 4096
    steps = library.run(container_id, bundle.path, input=data, stdout=PIPE, stderr=PIPE)
    assert asyncio.run(steps) == (4, data, b"complaint\n")


def test_one_life(library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh("read line; echo got $line; exit 7")

    async def main() -> None:
        container = await library.create(container_id, bundle.path, stdin=PIPE, stdout=PIPE)
        assert container.status == "created"
        await container.start()
        assert container.status == "running"
        process = container.process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"words\n")
        await process.stdin.drain()
        assert await process.stdout.readline() == b"got words\n"
        assert await asyncio.gather(container.wait(), process.wait(), container.wait()) == [7] * 3
        assert [found.id for found in await library.list()] == [container_id]
        await container.delete()
        process.close()
        with pytest.raises(pyrunc.NotFoundError):
            await library.get(container_id)
        await library.delete(container_id)

    asyncio.run(main())


def test_exec_pause_update_events(
    library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.args("sleep", "1000")

    async def main() -> None:
        async with await running(library, container_id, bundle) as container:
            async with await container.exec(
                ["sh", "-c", "cat; exit 5"], stdin=PIPE, stdout=PIPE
            ) as p:
                assert await p.communicate(b"data") == (b"data", None)
                assert await p.wait() == 5
            await container.pause()
            assert container.status == "paused"
            await container.resume()
            await container.update({"pids": {"limit": 17}})
            assert container.stats()["pids"]["limit"] == 17
            asyncio.get_running_loop().call_later(0.5, container.kill, "KILL")
            kinds = [event.type async for event in container.events(0.1)]
            assert set(kinds) == {"stats"}
            assert await container.wait() == 137

    asyncio.run(main())


def test_a_terminal(library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh("stty size; read line; stty size; exit 3")

    async def main() -> None:
        async with await library.create(container_id, bundle.path, pty=(30, 90)) as container:
            await container.start()
            process = container.process
            assert process is not None
            assert process.stdout is not None
            assert await process.stdout.readline() == b"30 90\r\n"
            process.resize(50, 100)
            said, _ = await process.communicate(b"\n")
            assert said is not None
            assert said.endswith(b"50 100\r\n")
            assert await process.wait() == 3

    asyncio.run(main())


def test_timeouts(library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh("echo before; sleep 1000")

    async def main() -> None:
        with pytest.raises(pyrunc.TimeoutExpired, match=container_id) as caught:
            await library.run(container_id, bundle.path, stdout=PIPE, timeout=1)
        assert caught.value.stdout == b"before\n"

    asyncio.run(main())


def test_hooks_do_not_hold_up_the_loop(
    library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    """Each hook waits for a task of the same loop."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    hook = [{"path": "/bin/cat", "args": ["cat", str(fifo)], "timeout": 60}]
    bundle.config["hooks"] = {"createRuntime": hook, "poststart": hook, "poststop": hook}
    bundle.save()

    async def release() -> None:
        while True:
            try:
                os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
                break
            except OSError as error:
                if error.errno != errno.ENXIO:  # nobody reads yet
                    raise
            await asyncio.sleep(0.01)

    async def main() -> None:
        running = asyncio.create_task(library.run(container_id, bundle.path))
        for _ in range(3):
            await release()
            await asyncio.sleep(0.1)  # until the reader has gone
        assert (await running).exit_code == 0

    asyncio.run(main())


def test_errors_are_the_same(
    library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.args("nosuch")

    async def main() -> None:
        async with await library.create(container_id, bundle.path) as container:
            with pytest.raises(pyrunc.OperationError, match="executable file not found"):
                await container.start()
            with pytest.raises(pyrunc.ExistsError):
                await library.create(container_id, bundle.path)

    asyncio.run(main())


async def _run(library: pyrunc.aio.Runtime, id: str, bundle: Bundle) -> None:
    await library.run(id, bundle.path, stdout=PIPE)


@pytest.mark.parametrize("hook", ["createRuntime", "poststart", ""])
def test_cancellation_leaves_nothing(
    library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str, hook: str
) -> None:
    bundle.args("sleep", "1000")
    if hook:
        slow = {"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1000}
        bundle.config["hooks"] = {hook: [slow]}
        bundle.save()

    async def main() -> None:
        task = asyncio.create_task(_run(library, container_id, bundle))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert library.ids() == []

    asyncio.run(main())


def test_cancelled_at_any_moment(
    library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str
) -> None:
    async def main() -> None:
        for moment in range(40):
            task = asyncio.create_task(_run(library, f"{container_id}-{moment}", bundle))
            for _ in range(moment):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait((task,))
        assert library.ids() == []

    asyncio.run(main())


def test_many_at_a_time(library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh("sleep 0.2; exit 6")

    async def main() -> None:
        results = await asyncio.gather(
            *(library.run(f"{container_id}-{n}", bundle.path) for n in range(8))
        )
        assert [result.exit_code for result in results] == [6] * 8

    asyncio.run(main())


def test_a_container_goes_on_from_its_checkpoint(
    library: pyrunc.aio.Runtime, bundle: Bundle, container_id: str
) -> None:
    criu = str(working_criu())
    bundle.sh("i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")
    images = bundle.path / "images"

    async def main() -> None:
        box = await library.create(
            container_id, bundle.path, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )
        async with box:
            await box.start()
            assert box.process is not None
            assert box.process.stdout is not None
            assert await box.process.stdout.readline() == b"1\n"
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.001)
                    ticks += 1

            meanwhile = asyncio.create_task(tick())
            await box.checkpoint(images, criu=criu)
            meanwhile.cancel()
            assert ticks > 5  # the loop was not held up
            last = int((await box.process.stdout.read()).split()[-1])
        box = await library.restore(
            container_id, bundle.path, images, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, criu=criu
        )
        async with box:
            assert box.process is not None
            assert box.process.stdout is not None
            assert int(await box.process.stdout.readline()) >= last

    asyncio.run(main())


def test_a_new_seccomp_profile_makes_no_thread(
    library: pyrunc.aio.Runtime,
    bundle: Bundle,
    container_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a thread was made")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    unheard_of = {"names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": os.getpid() % 4000}
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [unheard_of],
    }
    bundle.save()
    assert asyncio.run(library.run(container_id, bundle.path)).exit_code == 0
