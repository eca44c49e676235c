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
BUILD = REPOSITORY / "build" / "vm"


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
    parser.add_argument(
        "--again", action="store_true", help="run tests that failed once more, and count that"
    )
    parser.add_argument("tests", nargs="*", help="arguments of pytest, in place of the session's")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Build, boot, report."""
    options = parse(arguments)
    cache = Path(os.environ.get("VM_CACHE") or BUILD)
    try:
        chosen = sessions.select(options.session, options.tests)
        image = images.build(options.kernel, cache)
        if options.build_only:
            return 0
        summaries = run(options, image, chosen, BUILD / f"run-{options.kernel}")
        repeated = results.again(chosen, summaries) if options.again else []
        if repeated:
            print("=== once more, what failed", flush=True)
            summaries = run(options, image, repeated, BUILD / f"run-{options.kernel}-again")
    except (RuntimeError, ValueError, TimeLimitError) as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    return 1 if any(summary.problem for summary in summaries) else 0


def run(
    options: argparse.Namespace,
    image: images.Image,
    chosen: list[sessions.Session],
    directory: Path,
) -> list[results.Summary]:
    """Boot once and run sessions; report what they gave, and leave it in a directory.

    Raises:
        RuntimeError, TimeLimitError: the machine did not run to its end.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    checkout, disk = directory / "checkout.img", directory / "results.img"
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
        boot(arguments, directory / "console.txt", options.limit)
        read_results(disk, directory / "results")
    finally:
        checkout.unlink()
        disk.unlink()
    statuses = results.read_statuses(directory / "results")
    summaries = [results.summarize(s, directory / "results", statuses) for s in chosen]
    print(results.report(summaries), flush=True)
    return summaries


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
