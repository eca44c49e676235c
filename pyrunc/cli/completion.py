"""`pyrunc completion`: what a shell needs to complete command lines, made from the table of commands."""

from __future__ import annotations

import sys

from pyrunc.cli.commands import COMMANDS, GLOBAL_FLAGS, HELP, VERSION, load
from pyrunc.cli.parser import SWITCH, Command
from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrunc.cli.parser import Arguments, Flag
    from pyrunc.cli.settings import Settings

COMMAND = Command(
    "completion",
    "print what a shell needs to complete command lines",
    operands="<bash|zsh|fish>",
    minimum=1,
    description="""\
Prints a script for a shell, by which it completes commands, flags, the ids of containers and the
names of files. `make install` puts it where shells look for it.""",
    examples=(
        ("source <(pyrunc completion bash)", "complete in this shell"),
        ("pyrunc completion fish > ~/.config/fish/completions/pyrunc.fish", "and for good"),
    ),
)

#: What the values of flags are, by what help calls them.
_FILES = ("FILE", "PATH")
_DIRECTORIES = ("DIR",)
_WORDS = {
    "log-format": "text json",
    "log-level": "error warning debug",
    "network-lock": "iptables nftables skip",
    "cgroup-manager": "cgroupfs systemd disabled",
    "rootless": "true false auto",
    "manage-cgroups-mode": "soft full strict ignore",
    "empty-ns": "network",
    "cpu-idle": "0 1",
}
_FORMATS = {"plan": "text json", "list": "table json", "ps": "table json"}


def run(settings: Settings, arguments: Arguments) -> int:
    shell = arguments.positional[0]
    if shell not in SHELLS:
        raise UsageError(f'completion: "{shell}": must be one of {", ".join(SHELLS)}')
    sys.stdout.write(SHELLS[shell]())
    return 0


def all_commands() -> list[Command]:
    return [load(name).COMMAND for name in COMMANDS]


def spelled(flag: Flag) -> list[str]:
    """All spellings of a flag."""
    return [f"--{n}" if len(n) > 1 else f"-{n}" for n in (flag.name, *flag.aliases) if n != "?"]


def values(command: str, flag: Flag) -> str:
    """What a flag takes: "" for nothing, "files", "directories", "any", or the words that it may be."""
    if flag.kind is SWITCH:
        return ""
    if flag.name == "format":
        return _FORMATS[command]
    if flag.name in _WORDS:
        return _WORDS[flag.name]
    if flag.metavar in _FILES:
        return "files"
    return "directories" if flag.metavar in _DIRECTORIES else "any"


def operand(command: Command) -> str:
    """What the first positional argument is: as for `values`, or "ids"."""
    if command.name in ("create", "run", "restore"):
        return "any"  # the id of a container that there is not yet
    if command.operands.startswith("<container-id>"):
        return "ids"
    if command.name == "help":
        return " ".join(COMMANDS)
    if command.name == "completion":
        return " ".join(SHELLS)
    if command.name == "mounts":
        return "add remove"
    if command.name == "install":
        return command.operands.strip("<>").replace("|", " ")
    return "files" if "bundle" in command.operands else "any"


def bash() -> str:
    def generator(kind: str) -> str:
        if kind == "files":
            return 'COMPREPLY=($(compgen -f -- "$word"))'
        if kind == "directories":
            return 'COMPREPLY=($(compgen -d -- "$word"))'
        if kind == "ids":
            return 'COMPREPLY=($(compgen -W "$("${line[@]}" list -q 2>/dev/null)" -- "$word"))'
        return "" if kind in ("any", "") else f'COMPREPLY=($(compgen -W "{kind}" -- "$word"))'

    def arms(name: str, flags: Iterable[Flag]) -> list[str]:
        by_kind: dict[str, list[str]] = {}
        for flag in flags:
            kind = values(name, flag)
            if kind:
                by_kind.setdefault(kind, []).extend(f'"{name} {s}"' for s in spelled(flag))
        return [
            f"\t{' | '.join(patterns)})\n\t\t{generator(kind) or ':'}\n\t\treturn ;;"
            for kind, patterns in by_kind.items()
        ]

    flags = {"": [*GLOBAL_FLAGS, HELP, VERSION]}
    flags |= {command.name: [*command.flags, HELP] for command in all_commands()}
    valued = " ".join(s for flag in GLOBAL_FLAGS if flag.kind is not SWITCH for s in spelled(flag))
    value_arms = "\n".join(arm for name, table in flags.items() for arm in arms(name, table))
    flag_arms = "\n".join(
        f'\t"{name}")\n\t\twords="{" ".join(s for flag in table for s in spelled(flag))}" ;;'
        for name, table in flags.items()
    )
    operand_arms = "\n".join(
        f"\t{command.name})\n\t\t{generator(operand(command)) or ':'} ;;"
        for command in all_commands()
    )
    return f"""\
# bash completion of pyrunc; made by `pyrunc completion bash`

_pyrunc() {{
	local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command="" words i
	local -a line=("${{COMP_WORDS[0]}}")
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case " {valued} " in
		*" ${{COMP_WORDS[i]}} "*)
			line+=("${{COMP_WORDS[i]}}" "${{COMP_WORDS[i + 1]}}")
			((i++))
			continue ;;
		esac
		case ${{COMP_WORDS[i]}} in
		-*) ;;
		*)
			command=${{COMP_WORDS[i]}}
			break ;;
		esac
	done
	case "$command $before" in
{value_arms}
	esac
	if [[ $word == -* ]]; then
		case $command in
{flag_arms}
		esac
		COMPREPLY=($(compgen -W "$words" -- "$word"))
		return
	fi
	case $command in
	"")
		COMPREPLY=($(compgen -W "{" ".join(COMMANDS)}" -- "$word")) ;;
{operand_arms}
	esac
}}
complete -o filenames -F _pyrunc pyrunc
"""


def zsh() -> str:
    def quoted(text: str) -> str:
        return (
            text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
        )

    def action(kind: str) -> str:
        named = {"files": "_files", "directories": "_files -/", "ids": "_pyrunc_ids", "any": " "}
        return named.get(kind) or f"({kind})"

    def specs(name: str, flags: Iterable[Flag]) -> str:
        lines = []
        for flag in flags:
            kind = values(name, flag)
            value = f":{flag.metavar}:{action(kind)}" if kind else ""
            lines += [f"'{s}[{quoted(flag.help)}]{value}'" for s in spelled(flag)]
        return " \\\n\t\t\t".join(lines)

    arms = "\n".join(
        f"\t\t{command.name})\n\t\t_arguments \\\n\t\t\t{specs(command.name, [*command.flags, HELP])}"
        f" \\\n\t\t\t'1:{command.operands.split(' ')[0] or 'nothing'}:{action(operand(command))}'"
        " '*:: :_default' ;;"
        for command in all_commands()
    )
    described = "\n".join(f"\t\t'{c.name}:{quoted(c.summary)}'" for c in all_commands())
    return f"""\
#compdef pyrunc
# zsh completion of pyrunc; made by `pyrunc completion zsh`

_pyrunc_ids() {{
	local -a ids
	ids=(${{(f)"$(_call_program ids pyrunc ${{opt_args[--root]:+--root ${{opt_args[--root]}}}} list -q 2>/dev/null)"}})
	compadd -a ids
}}

_pyrunc() {{
	local curcontext=$curcontext state line
	typeset -A opt_args
	local -a commands
	commands=(
{described}
	)
	_arguments -C \\
			{specs("", [*GLOBAL_FLAGS, HELP, VERSION])} \\
			'1:command:->command' '*::argument:->argument'
	case $state in
	command)
		_describe command commands ;;
	argument)
		case $words[1] in
{arms}
		esac ;;
	esac
}}

_pyrunc "$@"
"""


def fish() -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    lines = [
        "# fish completion of pyrunc; made by `pyrunc completion fish`",
        "complete -c pyrunc -f",
    ]
    none = "-n 'not __fish_seen_subcommand_from $commands'".replace("$commands", " ".join(COMMANDS))
    for command in all_commands():
        lines.append(f"complete -c pyrunc {none} -a {command.name} -d {quoted(command.summary)}")
    tables = [("", none, [*GLOBAL_FLAGS, HELP, VERSION])]
    for command in all_commands():
        seen = f"-n '__fish_seen_subcommand_from {command.name}'"
        tables.append((command.name, seen, [*command.flags, HELP]))
        kind = operand(command)
        if kind == "ids":
            lines.append(f"complete -c pyrunc {seen} -a '(pyrunc list -q 2>/dev/null)'")
        elif kind == "files":
            lines.append(f"complete -c pyrunc {seen} -F")
        elif kind != "any":
            lines.append(f"complete -c pyrunc {seen} -a {quoted(kind)}")
    for name, condition, flags in tables:
        for flag in flags:
            kind = values(name, flag)
            names = [
                (f"-l {s[2:]}" if s.startswith("--") else f"-s {s[1:]}") for s in spelled(flag)
            ]
            value = {
                "": "",
                "files": " -r -F",
                "directories": " -x -a '(__fish_complete_directories)'",
            }
            taken = value.get(kind, " -x" if kind == "any" else f" -x -a {quoted(kind)}")
            lines.append(
                f"complete -c pyrunc {condition} {' '.join(names)}{taken} -d {quoted(flag.help)}"
            )
    return "\n".join(lines) + "\n"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
