"""`pyrunc kill`."""

from __future__ import annotations

from pyrunc.cli.parser import Command, Flag
from pyrunc.host.signal_names import signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli.parser import Arguments
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "kill",
    "send a signal to the container's process",
    operands="<container-id> [signal]",
    minimum=1,
    maximum=2,
    description="""\
Sends a signal to the first process of a container, SIGTERM where none is named. A signal is given
by name, with or without SIG, or by number.""",
    flags=(
        Flag("all a", "send it to every process in the container's cgroup"),
        Flag(
            "regex r",
            "do it to all containers whose whole id matches <container-id>, a regular expression",
        ),
    ),
    examples=(
        ("pyrunc kill web", "ask it to end"),
        ("pyrunc kill web KILL", "end it"),
        ("pyrunc kill --all web RTMIN+3", "send a real-time signal to each process"),
    ),
)


def run(settings: Settings, arguments: Arguments) -> int:
    name, *signal = arguments.positional
    number = signal_number(signal[0] if signal else "TERM")
    from pyrunc.container.container import Container

    names = [name]
    if arguments.switch("regex"):
        from pyrunc.cli.flags import matching

        names = matching(settings.root, "kill", name)
    for each in names:
        Container.load(settings.root, each).kill(number, all=arguments.switch("all"))
    return 0
