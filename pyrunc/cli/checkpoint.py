"""`pyrunc checkpoint`."""

from __future__ import annotations

from pyrunc.cli.criu_flags import CRIU_FLAGS, common_options
from pyrunc.cli.parser import NUMBER, TEXT, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "checkpoint",
    "write a running container to disk",
    operands="<container-id>",
    minimum=1,
    description="""\
Writes the state of all processes of a container to a directory, by CRIU, so that `pyrunc restore`
can have them go on from there, on this host or another. The container is deleted then, unless it is
left running. The images are those of runc: each can restore what the other has written.

Before a checkpoint there may be some of memory only (--pre-dump), while the container runs, so that
less is left to be written when it is stopped (--parent-path).

When CRIU fails, the container goes on, and the error says what is in CRIU's log, dump.log.""",
    flags=(
        *CRIU_FLAGS,
        Flag(
            "parent-path",
            "directory of the pre-dump that this one adds to, relative to --image-path",
            kind=TEXT,
            metavar="DIR",
        ),
        Flag("leave-running R", "let the container go on afterwards"),
        Flag("pre-dump", "write the memory only, and let the container go on"),
        Flag("tcp-skip-in-flight", "leave out TCP connections that are not accepted yet"),
        Flag("link-remap", "keep deleted files that are open, under another name"),
        Flag("lazy-pages", "keep the memory, and have it fetched after the restore"),
        Flag(
            "page-server",
            "send memory there, or with --lazy-pages wait there for it to be fetched",
            kind=TEXT,
            metavar="ADDRESS:PORT",
        ),
        Flag(
            "status-fd",
            "write a zero byte to this descriptor when memory can be fetched",
            kind=NUMBER,
            metavar="FD",
        ),
    ),
    examples=(("pyrunc checkpoint --image-path /srv/images/web web", "stop it, to go on later"),),
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.checkpoint import CheckpointOptions, checkpoint
    from pyrunc.container.container import Container

    container = Container.load(settings.root, arguments.positional[0])
    options = CheckpointOptions(
        parent_path=arguments.text("parent-path"),
        leave_running=arguments.switch("leave-running"),
        pre_dump=arguments.switch("pre-dump"),
        tcp_skip_in_flight=arguments.switch("tcp-skip-in-flight"),
        link_remap=arguments.switch("link-remap"),
        page_server=arguments.text("page-server"),
        status_fd=arguments.number("status-fd", -1),
        **common_options(settings, arguments, "checkpoint"),
    )
    checkpoint(container, options)
    return 0
