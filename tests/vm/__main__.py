"""`python -m vm`: runs tests in a virtual machine. Exit status 0 only if all of them passed."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from vm import images, results, sessions
from vm.checkout import make_checkout
from vm.machine import RESULTS_SIZE, TimeLimitError, boot, command, read_results

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="vm", description=__doc__)
    parser.add_argument("--kernel", choices=images.KERNELS, default=images.DEFAULT_KERNEL)
    parser.add_argument("--session", action="append", default=[], help="run only this session")
    parser.add_argument("--limit", type=float, default=2700, help="seconds for the whole machine")
    parser.add_argument("--accelerator", default="tcg,thread=multi", help="of qemu, such as kvm")
    parser.add_argument("--memory", type=int, default=2048, help="MiB")
    parser.add_argument("--append", default="", help="more of the kernel's command line")
    parser.add_argument("--build-only", action="store_true", help="make the image and nothing else")
    parser.add_argument("tests", nargs="*", help="arguments of pytest, in place of the session's")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Build, boot, report."""
    options = parse(arguments)
    build = REPOSITORY / "build" / "vm"
    cache = Path(os.environ.get("VM_CACHE") or build)
    try:
        chosen = sessions.select(options.session, options.tests)
        image = images.build(options.kernel, cache)
        if options.build_only:
            return 0
        run = build / f"run-{options.kernel}"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        checkout, disk = run / "checkout.img", run / "results.img"
        make_checkout(REPOSITORY, chosen, checkout)
        with disk.open("wb") as file:
            file.truncate(RESULTS_SIZE)
        arguments = command(
            image,
            checkout,
            disk,
            REPOSITORY,
            accelerator=options.accelerator,
            memory=options.memory,
            append=options.append,
        )
        try:
            boot(arguments, run / "console.txt", options.limit)
            read_results(disk, run / "results")
        finally:
            checkout.unlink()
            disk.unlink()
    except (RuntimeError, ValueError, TimeLimitError) as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    statuses = results.read_statuses(run / "results")
    summaries = [results.summarize(session, run / "results", statuses) for session in chosen]
    print(results.report(summaries), flush=True)
    return 1 if any(summary.problem for summary in summaries) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
