"""`pyrunc list`."""

from __future__ import annotations

import os
import sys

from pyrunc import log
from pyrunc.cli.parser import TEXT, Command, Flag
from pyrunc.errors import NotFoundError, PyruncError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings
    from pyrunc.container.container import Container

FORMATS = ("table", "json")
HEADER = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")

COMMAND = Command(
    "list",
    "list containers",
    description="""\
Lists the containers whose state is in the directory of the global flag --root. The owner is the
user who created the container.""",
    flags=(
        Flag("format f", "table or json", kind=TEXT, metavar="FORMAT", default="table"),
        Flag("quiet q", "only the ids"),
    ),
)


def run(settings: Settings, arguments: Arguments) -> int:
    form = arguments.text("format", "table")
    if form not in FORMATS:
        raise UsageError(f'list: --format "{form}": must be {" or ".join(FORMATS)}')
    if arguments.switch("quiet"):
        from pyrunc.container.store import list_ids

        sys.stdout.write("".join(f"{name}\n" for name in list_ids(settings.root)))
        return 0

    from pyrunc.cli.state import document

    documents = [
        document(container, owner_name(os.path.join(settings.root, container.id)))
        for container in containers(settings.root)
    ]
    if form == "json":
        from pyrunc.spec.json import dumps

        sys.stdout.write((dumps(documents) if documents else "null") + "\n")
    else:
        rows = [[str(d[key.lower()]) for key in HEADER] for d in documents]
        sys.stdout.write(table([HEADER, *rows]))
    return 0


def containers(root: str) -> Iterator[Container]:
    """All containers; what cannot be read is logged, and what vanishes meanwhile passed over."""
    from pyrunc.container.container import Container
    from pyrunc.container.store import list_ids

    for name in list_ids(root):
        try:
            yield Container.load(root, name)
        except NotFoundError:
            continue
        except PyruncError as error:
            log.error(f"container {name}: {error}")


def owner_name(path: str) -> str:
    """Name of the user who owns a file: "#uid" where there is none, "" where the file is gone."""
    from pwd import getpwuid

    try:
        uid = os.lstat(path).st_uid
    except OSError:
        return ""
    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns at least 12 wide and 3 apart, as in runc; the last is not padded."""
    widths = [max(12, 3 + max(map(len, column))) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + "\n"
        for row in rows
    )
