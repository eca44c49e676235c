"""Many containers from many threads and tasks of one program: nothing is left of them in it."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.bundle import Bundle
from helpers.leaks import Leaks, open_files, zombies
from helpers.runtime import Runtime

import pyrunc
import pyrunc.aio

pytestmark = pytest.mark.root

AMOUNTS = [
    pytest.param(4, 5, id="some"),
    pytest.param(16, 100, id="many", marks=pytest.mark.slow),
]


@pytest.fixture
def unchanged(runtime: Runtime, sealed_copy: None, leaks: Leaks) -> Iterator[None]:
    """Counts descriptors, zombies and threads before and after."""

    def count() -> tuple[int, int, int]:
        gc.collect()
        return len(open_files()), len(zombies()), threading.active_count()

    before = count()
    yield
    assert count() == before
    assert leaks.found(runtime.root) == []


def life(library: pyrunc.Runtime, id: str, bundle: Bundle) -> None:
    """Create, start, execute something in, signal and delete a container, with pipes."""
    with library.create(id, bundle.path, stdin=pyrunc.PIPE, stdout=pyrunc.PIPE) as container:
        container.start()
        with container.exec(["echo", "executed"], stdout=pyrunc.PIPE) as process:
            assert process.communicate() == (b"executed\n", None)
            assert process.wait() == 0
        assert container.process is not None
        assert container.process.communicate(id.encode()) == (id.encode(), None)
        assert container.wait() == 5


@pytest.mark.parametrize(("threads", "each"), AMOUNTS)
def test_threads(
    runtime: Runtime, bundle: Bundle, container_id: str, unchanged: None, threads: int, each: int
) -> None:
    bundle.sh("cat; exit 5")
    library = pyrunc.Runtime(runtime.root)

    def lives(thread: int) -> None:
        for number in range(each):
            life(library, f"{container_id}-{thread}-{number}", bundle)

    # beside them, what other parts of such a program may do: start programs
    done = threading.Event()

    def other_children() -> None:
        while not done.is_set():
            subprocess.run(["true"], check=True)

    other = threading.Thread(target=other_children)
    other.start()
    try:
        with ThreadPoolExecutor(threads) as pool:
            for finished in [pool.submit(lives, thread) for thread in range(threads)]:
                finished.result()
    finally:
        done.set()
        other.join()


async def aio_life(library: pyrunc.aio.Runtime, id: str, bundle: Bundle) -> None:
    """The same."""
    async with await library.create(
        id, bundle.path, stdin=pyrunc.PIPE, stdout=pyrunc.PIPE
    ) as container:
        await container.start()
        async with await container.exec(["echo", "executed"], stdout=pyrunc.PIPE) as process:
            assert await process.communicate() == (b"executed\n", None)
            assert await process.wait() == 0
        assert container.process is not None
        assert await container.process.communicate(id.encode()) == (id.encode(), None)
        assert await container.wait() == 5


@pytest.mark.parametrize(
    "amount", [pytest.param(20, id="some"), pytest.param(500, id="many", marks=pytest.mark.slow)]
)
def test_asyncio(
    runtime: Runtime, bundle: Bundle, container_id: str, unchanged: None, amount: int
) -> None:
    bundle.sh("cat; exit 5")
    library = pyrunc.aio.Runtime(runtime.root)

    async def main() -> None:
        # as many at a time as the usual limit of 1024 descriptors has room for
        places = asyncio.Semaphore(50)

        async def one(number: int) -> None:
            async with places:
                await aio_life(library, f"{container_id}-{number}", bundle)

        await asyncio.gather(*map(one, range(amount)))

    asyncio.run(main())


def test_one_container_from_many_threads(
    runtime: Runtime, bundle: Bundle, container_id: str, unchanged: None
) -> None:
    """Operations on one container exclude each other: of those that can only work once, one does."""
    bundle.args("sleep", "1000")
    library = pyrunc.Runtime(runtime.root)
    with library.create(container_id, bundle.path) as container, ThreadPoolExecutor(8) as pool:

        def attempts(operation: Callable[[], None]) -> int:
            outcomes = [pool.submit(operation) for _ in range(8)]
            failures = [error for error in (o.exception() for o in outcomes) if error is not None]
            assert all(isinstance(failure, pyrunc.StateError) for failure in failures)
            return 8 - len(failures)

        assert attempts(container.start) == 1
        assert attempts(container.pause) == 1
        assert attempts(container.resume) == 1


def test_a_large_program_forks_nothing(
    runtime: Runtime, bundle: Bundle, container_id: str, unchanged: None
) -> None:
    """Nothing of Python runs in the new process: what fork(2) would have run there does not."""
    ran: list[int] = []
    os.register_at_fork(after_in_child=lambda: ran.append(1), before=lambda: ran.append(2))
    pyrunc.Runtime(runtime.root).run(container_id, bundle.path)
    assert ran == []
