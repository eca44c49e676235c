"""Manual pages, made from the tables of the help texts: `python -m pyrunc.cli.man DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

from pyrunc.cli.commands import COMMANDS, GLOBAL_FLAGS, HELP, VERSION, load
from pyrunc.cli.help import ABOUT, flag_help, sentence
from pyrunc.cli.parser import SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrunc.cli.parser import Command, Flag

EXIT_STATUS = {
    "pyrunc": "0, or 1 where a command failed or was used wrongly, or 3 where there is no such"
    " command. run and exec exit with the exit code of the process.",
    "run": "That of the process; 128 and the number of the signal that ended it; 1 where the"
    " container could not be created or started.",
    "exec": "That of the process; 128 and the number of the signal that ended it; 255 where it"
    " could not be executed.",
    "validate": "0 where it is valid, otherwise 1.",
}


def pages() -> dict[str, str]:
    """File name and text of each page."""
    texts = {"pyrunc.8": program_page()}
    for name in COMMANDS:
        texts[f"pyrunc-{name}.8"] = command_page(load(name).COMMAND)
    return texts


def program_page() -> str:
    commands = [
        f".TP\n.BR pyrunc\\-{escape(name)} (8)\n{escape(sentence(load(name).COMMAND.summary))}"
        for name in COMMANDS
    ]
    return page(
        "pyrunc",
        "an OCI container runtime",
        ".B pyrunc\n[\\fIglobal options\\fR] \\fIcommand\\fR [\\fIoptions\\fR] [\\fIarguments\\fR]",
        [
            ("DESCRIPTION", paragraphs(ABOUT)),
            ("COMMANDS", "\n".join(commands)),
            ("GLOBAL OPTIONS", options([*GLOBAL_FLAGS, HELP, VERSION])),
            ("EXIT STATUS", escape(EXIT_STATUS["pyrunc"])),
            ("FILES", FILES),
            ("SEE ALSO", ".BR runc (8),\n.BR crun (1)"),
        ],
    )


FILES = """\
.TP
.I /run/pyrunc
State of the containers of root; $XDG_RUNTIME_DIR/pyrunc for others."""


def command_page(command: Command) -> str:
    sections = [
        ("DESCRIPTION", paragraphs(command.description or sentence(command.summary))),
        ("OPTIONS", options([*command.flags, HELP])),
    ]
    if command.examples:
        examples = [f".TP\n.B {escape(line)}\n{escape(what)}" for line, what in command.examples]
        sections.append(("EXAMPLES", "\n".join(examples)))
    if command.name in EXIT_STATUS:
        sections.append(("EXIT STATUS", escape(EXIT_STATUS[command.name])))
    sections.append(("SEE ALSO", ".BR pyrunc (8)"))
    program, name, *rest = command.usage.split(" ", 2)
    synopsis = "\n".join([f".B {program} {escape(name)}", *map(escape, rest)])
    return page(f"pyrunc-{command.name}", command.summary, synopsis, sections)


def page(title: str, summary: str, synopsis: str, sections: list[tuple[str, str]]) -> str:
    head = [
        f'.TH {escape(title.upper())} 8 "" "pyrunc" "System Administration"',
        f".SH NAME\n{escape(title)} \\- {escape(summary)}",
        f".SH SYNOPSIS\n{synopsis}",
    ]
    return "\n".join([*head, *(f".SH {name}\n{text}" for name, text in sections)]) + "\n"


def options(flags: Iterable[Flag]) -> str:
    return "\n".join(f".TP\n{forms(flag)}\n{escape(sentence(flag_help(flag)))}" for flag in flags)


def forms(flag: Flag) -> str:
    letters = [f"-{name}" for name in flag.aliases if len(name) == 1 and name.isalpha()]
    names = ", ".join(f"\\fB{escape(name)}\\fR" for name in [*letters, f"--{flag.name}"])
    return names + (f" \\fI{escape(flag.metavar)}\\fR" if flag.kind is not SWITCH else "")


def paragraphs(text: str) -> str:
    return "\n.PP\n".join(escape(" ".join(p.split())) for p in text.split("\n\n"))


def escape(text: str) -> str:
    """Text as roff has it: no line may begin with a control character, a hyphen is a minus."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("\u2026", "...")
    return f"\\&{text}" if text[:1] in (".", "'") else text


def write(directory: Path) -> None:
    """Write all pages, and remove those of commands that are no more."""
    texts = pages()
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob("*.8"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/man"))
