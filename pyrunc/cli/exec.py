"""`pyrunc exec`."""

from __future__ import annotations

from pyrunc.cli import flags
from pyrunc.cli.parser import MANY, NUMBERS, TEXT, TEXTS, Command, Flag
from pyrunc.cli.settings import absolute
from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

ID_MAX = (1 << 32) - 2

COMMAND = Command(
    "exec",
    "execute another process in a running container",
    operands="<container-id> <command> [argument…]",
    minimum=1,
    maximum=MANY,
    in_order=True,
    failure_code=255,
    description="""\
Executes a command in the namespaces and the cgroup of a running container. The process is that of
the container's config.json with what the options change, or that of a file (--process). Without
--detach it exits with the exit code of the command; when the command cannot be executed, with 255.

Options end at the container id: what follows belongs to the command.""",
    flags=(
        flags.CONSOLE_SOCKET,
        flags.PIDFD_SOCKET,
        Flag("cwd", "working directory of the process", kind=TEXT, metavar="DIR"),
        Flag(
            "env e",
            "set an environment variable; may be given several times",
            kind=TEXTS,
            metavar="NAME=VALUE",
        ),
        Flag("tty t", "give the process a terminal"),
        Flag("user u", "user, and group, of the process", kind=TEXT, metavar="UID[:GID]"),
        Flag(
            "additional-gids g",
            "one more group of the process; may be given several times",
            kind=NUMBERS,
            metavar="GID",
        ),
        Flag(
            "process p",
            "read the process from this JSON file; the options that change it are ignored",
            kind=TEXT,
            metavar="FILE",
        ),
        flags.DETACH,
        flags.PID_FILE,
        Flag("process-label", "SELinux label of the process", kind=TEXT, metavar="LABEL"),
        Flag("apparmor", "AppArmor profile of the process", kind=TEXT, metavar="PROFILE"),
        Flag("no-new-privs", "forbid the process to gain privileges"),
        Flag(
            "cap c",
            "give the process one more capability; may be given several times",
            kind=TEXTS,
            metavar="CAP",
        ),
        flags.PRESERVE_FDS,
        Flag(
            "cgroup",
            "run it in a cgroup below the container's, of all or some controllers; may be given"
            " several times",
            kind=TEXTS,
            metavar="[CONTROLLER[,…]:]PATH",
        ),
        flags.NO_SUBREAPER,
        Flag("ignore-paused", "execute it also in a paused container, where it waits for resume"),
    ),
    examples=(
        ("pyrunc exec -t web sh", "a shell in the container, at this terminal"),
        ("pyrunc exec -u 1000:1000 --cwd /srv web ls -l", "a command as another user"),
    ),
)


def run(settings: Settings, arguments: Arguments) -> int:
    name, *command = arguments.positional
    from pyrunc.container.container import Container
    from pyrunc.container.execute import ExecOptions

    options = ExecOptions(
        pid_file=absolute(arguments.text("pid-file")),
        console_socket=absolute(arguments.text("console-socket")),
        pidfd_socket=absolute(arguments.text("pidfd-socket")),
        preserve_fds=flags.preserved_fds(arguments),
        detach=arguments.switch("detach"),
        ignore_paused=arguments.switch("ignore-paused"),
        cgroups=arguments.texts("cgroup"),
        rootless=settings.rootless,
    )
    container = Container.load(settings.root, name)
    path = arguments.text("process")
    if path:
        from pyrunc.spec.loader import load_process

        process = load_process(absolute(path))
    else:
        if not command:
            raise UsageError("exec: <command> is missing: name a command, or a file by --process")
        process = changed_process(
            container.store.read_config().get("process", {}), arguments, command
        )
    return container.exec(process, options)


def changed_process(
    base: dict[str, Any], arguments: Arguments, command: list[str]
) -> dict[str, Any]:
    """The process of the container's config.json, as the command line changes it.

    Raises:
        UsageError: a value of an option is wrong.
    """
    process = dict(base)
    process.pop("commandLine", None)
    process["args"] = command
    process["terminal"] = arguments.switch("tty")
    process["env"] = [*base.get("env", ()), *arguments.texts("env")]
    for option, field in (
        ("cwd", "cwd"),
        ("apparmor", "apparmorProfile"),
        ("process-label", "selinuxLabel"),
    ):
        if arguments.text(option):
            process[field] = arguments.text(option)
    if arguments.given("no-new-privs"):
        process["noNewPrivileges"] = arguments.switch("no-new-privs")
    process["user"] = _user(base.get("user", {}), arguments)
    if arguments.texts("cap"):
        process["capabilities"] = _capabilities(base, arguments.texts("cap"))
    return process


def _user(base: dict[str, Any], arguments: Arguments) -> dict[str, Any]:
    user = dict(base)
    text = arguments.text("user")
    if text:
        uid, colon, gid = text.partition(":")
        user["uid"] = _id("user", text, uid)
        if colon:
            user["gid"] = _id("user", text, gid)
    gids = arguments.numbers("additional-gids")
    for number in gids:
        _id("additional-gids", str(number), str(number))
    if gids:
        user["additionalGids"] = [*base.get("additionalGids", ()), *gids]
    return user


def _id(option: str, text: str, digits: str) -> int:
    if digits.isascii() and digits.isdigit() and int(digits) <= ID_MAX:
        return int(digits)
    raise UsageError(
        f'exec: --{option} "{text}": must be numbers from 0 to {ID_MAX}, since names are not known'
        " outside the container"
    )


def _capabilities(base: dict[str, Any], added: list[str]) -> dict[str, list[str]]:
    """Ambient ones must be inheritable: a capability is added to them only if it is that."""
    sets = {name: list(value) for name, value in base.get("capabilities", {}).items()}
    for capability in added:
        for name in ("bounding", "effective", "permitted"):
            sets.setdefault(name, []).append(capability)
        if capability in sets.get("inheritable", ()):
            sets.setdefault("ambient", []).append(capability)
    return sets
