"""Containers by the library, by crun's command line, and by the floor program, from one program: prints JSON.

`library.py ROOT CRUN_ROOT BUNDLE FLOOR`. Blocks of the three alternate; each is 200 containers in all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyrunc

BLOCKS, BLOCK = 5, 40


def main(root: str, crun_root: str, bundle: str, floor: str) -> None:
    """Measure, and print [at a time, who, milliseconds for 200 containers]."""
    runtime = pyrunc.Runtime(root=root)

    def ours(name: str) -> None:
        assert runtime.run(name, bundle, stdout=pyrunc.DEVNULL).exit_code == 0

    def execute(*command: str) -> None:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    def crun(name: str) -> None:
        execute("crun", "--root", crun_root, "run", "--bundle", bundle, name)

    def bare(name: str) -> None:
        execute(floor, f"{bundle}/rootfs", name, "/bin/true")

    figures = []
    for at_a_time in (1, 8):
        kinds: list[tuple[str, Callable[[str], None]]] = [
            ("pyrunc", ours),
            ("crun", crun),
            ("bare kernel", bare),
        ]
        taken = dict.fromkeys((who for who, _ in kinds), 0.0)
        with ThreadPoolExecutor(at_a_time) as pool:
            for who, run in kinds:
                list(pool.map(run, [f"warm-{who}-{at_a_time}"]))
            for block in range(BLOCKS):
                for who, run in kinds:
                    names = [f"library-{at_a_time}-{block}-{index}" for index in range(BLOCK)]
                    begin = time.perf_counter()
                    list(pool.map(run, names))
                    taken[who] += (time.perf_counter() - begin) * 1e3
        figures += [(at_a_time, who, took) for who, took in taken.items()]
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
