"""`pyrunc restore`."""

from __future__ import annotations

from pyrunc.cli import flags
from pyrunc.cli.criu_flags import CRIU_FLAGS, common_options
from pyrunc.cli.parser import TEXT, Command, Flag
from pyrunc.cli.settings import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "restore",
    "have a container go on from its checkpoint",
    operands="<container-id>",
    minimum=1,
    description="""\
Makes a container of the bundle and of the images that `pyrunc checkpoint` has written, in which the
processes go on where they were. Pipes and files that the program had as its standard input and
outputs are replaced by those of this command. Without --detach it waits for the container, as
`pyrunc run` does.

A namespace that config.json names by its path has to be there. A new network namespace has only its
loopback device, and what prestart and createRuntime hooks and linux.netDevices bring.

When CRIU fails, nothing is left of the container, and the error says what is in restore.log.""",
    flags=(
        flags.BUNDLE,
        flags.CONFIG,
        *CRIU_FLAGS,
        flags.CONSOLE_SOCKET,
        flags.DETACH,
        flags.PID_FILE,
        Flag("no-subreaper", "do not adopt orphaned processes of the container"),
        Flag("no-pivot", "for scripts of other runtimes: it is CRIU that changes the root"),
        Flag("lazy-pages", "have memory fetched when it is needed; `criu lazy-pages` has to run"),
        Flag("tcp-close", "restore TCP connections as closed ones"),
        Flag(
            "lsm-profile",
            "another profile or label than that of the checkpoint, apparmor:… or selinux:…",
            kind=TEXT,
            metavar="TYPE:NAME",
        ),
        Flag(
            "lsm-mount-context",
            "another SELinux context of mounts than that of the checkpoint",
            kind=TEXT,
            metavar="CONTEXT",
        ),
    ),
    examples=(("pyrunc restore -d -b /srv/web --image-path /srv/images/web web", "have it go on"),),
)


def run(settings: Settings, arguments: Arguments) -> int:
    from pyrunc.container.restore import RestoreOptions, restore
    from pyrunc.container.store import check_id

    name = arguments.positional[0]
    check_id(name)
    bundle = flags.bundle_of(arguments)
    options = RestoreOptions(
        detach=arguments.switch("detach"),
        no_subreaper=arguments.switch("no-subreaper"),
        console_socket=absolute(arguments.text("console-socket")),
        pid_file=absolute(arguments.text("pid-file")),
        cgroup_driver=settings.cgroup_driver,
        rootless=settings.rootless,
        tcp_close=arguments.switch("tcp-close"),
        lsm_profile=arguments.text("lsm-profile"),
        lsm_mount_context=arguments.text("lsm-mount-context"),
        **common_options(settings, arguments, "restore"),
    )
    return restore(settings.root, name, bundle, options)
