"""Containers by the library, and by crun's command line, from one program: prints JSON.

`library.py ROOT CRUN_ROOT BUNDLE`. Blocks of the two alternate; each is 200 containers in all.
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


def main(root: str, crun_root: str, bundle: str) -> None:
    """Measure, and print [at a time, who, milliseconds for 200 containers]."""
    runtime = pyrunc.Runtime(root=root)

    def ours(name: str) -> None:
        assert runtime.run(name, bundle, stdout=pyrunc.DEVNULL).exit_code == 0

    def crun(name: str) -> None:
        subprocess.run(
            ["crun", "--root", crun_root, "run", "--bundle", bundle, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    figures = []
    for at_a_time in (1, 8):
        taken = {"pyrunc": 0.0, "crun": 0.0}
        kinds: list[tuple[str, Callable[[str], None]]] = [("pyrunc", ours), ("crun", crun)]
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
