"""The configurations of container engines, and the changes that make pyrunc a runtime of theirs.

Texts come in and go out; nothing here reads or writes a file. TOML is edited by tomlkit, which
keeps comments and order. Sources: dockerd(8), containerd-config.toml(5), containers.conf(5),
crio.conf.d(5).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import MutableMapping
from typing import Any

import tomlkit
import tomlkit.items

from pyrunc.errors import PyruncError

Table = MutableMapping[str, Any]

#: Keys of containerd's CRI plugin, by the version of its configuration.
CRI_PLUGINS = {1: "cri", 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}


class Runtime:
    """What an engine is told of a runtime.

    Attributes:
        name: by which its users choose it.
        path: of the program.
        systemd: whether systemd is to make the cgroups; None as the engine has it for runc.
        default: whether it is to be what containers get that ask for none.
    """

    def __init__(
        self, name: str, path: str, *, systemd: bool | None = None, default: bool = False
    ) -> None:
        self.name = name
        self.path = path
        self.systemd = systemd
        self.default = default


class Engine:
    """An engine, and where its configuration says which runtimes there are.

    Attributes:
        file: the configuration that is changed.
        own: what `prepare` adds.
        reload: how it learns of a change.
        use: a command line that uses the runtime.
    """

    file = ""
    own: frozenset[str] = frozenset()
    reload = ""
    use = ""

    def parse(self, text: str) -> Table:
        """Raises: ValueError."""
        return tomlkit.parse(text)

    def plain(self, text: str) -> Table:
        """What the engine will read. Raises: ValueError."""
        return tomllib.loads(text)

    def write(self, document: Table, before: str) -> str:
        return tomlkit.dumps(document)

    def prepare(self, document: Table) -> None:
        """Add what an empty configuration needs."""

    def runtimes(self, document: Table) -> tuple[str, ...]:
        """Keys of the table of runtimes."""
        raise NotImplementedError

    def default(self, document: Table) -> tuple[str, ...]:
        """Keys of the name of the default runtime."""
        raise NotImplementedError

    def entry(self, runtime: Runtime, runtimes: Table) -> object:
        """What the table of runtimes has for one."""
        raise NotImplementedError


class Docker(Engine):
    file = "/etc/docker/daemon.json"
    reload = "systemctl reload docker"
    use = "docker run --runtime {name} …"

    def parse(self, text: str) -> Table:
        return self.plain(text)

    def plain(self, text: str) -> Table:
        document = json.loads(text or "{}")
        if not isinstance(document, dict):
            raise ValueError("must be an object")
        return document

    def write(self, document: Table, before: str) -> str:
        return json.dumps(document, indent=_indentation(before), ensure_ascii=False) + "\n"

    def runtimes(self, document: Table) -> tuple[str, ...]:
        return ("runtimes",)

    def default(self, document: Table) -> tuple[str, ...]:
        return ("default-runtime",)

    def entry(self, runtime: Runtime, runtimes: Table) -> object:
        return {"path": runtime.path}


class Containerd(Engine):
    file = "/etc/containerd/config.toml"
    own = frozenset({"version"})
    reload = "systemctl restart containerd"
    use = "a RuntimeClass with the handler {name}, or crictl runp --runtime={name} …"

    def prepare(self, document: Table) -> None:
        if not document:
            document["version"] = 2

    def _plugin(self, document: Table) -> tuple[str, ...]:
        version = document.get("version", 1)
        if version not in CRI_PLUGINS:
            known = ", ".join(map(str, CRI_PLUGINS))
            raise PyruncError(f"/version: {version} is not known (known: {known})")
        return ("plugins", CRI_PLUGINS[version], "containerd")

    def runtimes(self, document: Table) -> tuple[str, ...]:
        return (*self._plugin(document), "runtimes")

    def default(self, document: Table) -> tuple[str, ...]:
        return (*self._plugin(document), "default_runtime_name")

    def entry(self, runtime: Runtime, runtimes: Table) -> object:
        systemd = runtime.systemd
        if systemd is None:
            systemd = bool(_at(runtimes, ("runc", "options", "SystemdCgroup")))
        options: Table = {"BinaryName": runtime.path}
        if systemd:
            options["SystemdCgroup"] = True
        return {"runtime_type": "io.containerd.runc.v2", "options": options}


class Podman(Engine):
    file = "/etc/containers/containers.conf.d/pyrunc.conf"
    reload = ""
    use = "podman --runtime {name} run …"

    def runtimes(self, document: Table) -> tuple[str, ...]:
        return ("engine", "runtimes")

    def default(self, document: Table) -> tuple[str, ...]:
        return ("engine", "runtime")

    def entry(self, runtime: Runtime, runtimes: Table) -> object:
        return [runtime.path]


class Crio(Engine):
    file = "/etc/crio/crio.conf.d/50-pyrunc.conf"
    reload = "systemctl restart crio"
    use = Containerd.use

    def runtimes(self, document: Table) -> tuple[str, ...]:
        return ("crio", "runtime", "runtimes")

    def default(self, document: Table) -> tuple[str, ...]:
        return ("crio", "runtime", "default_runtime")

    def entry(self, runtime: Runtime, runtimes: Table) -> object:
        root = f"/run/{runtime.name}"
        return {"runtime_path": runtime.path, "runtime_type": "oci", "runtime_root": root}


ENGINES: dict[str, Engine] = {
    "containerd": Containerd(),
    "cri-o": Crio(),
    "docker": Docker(),
    "podman": Podman(),
}


def has(engine: Engine, text: str, name: str) -> bool:
    """Whether a configuration has a runtime of this name.

    Raises:
        PyruncError: the text is not what the engine reads.
    """
    document = _read(engine, text)
    return _at(document, (*engine.runtimes(document), name)) is not None


def add(engine: Engine, text: str, runtime: Runtime) -> str:
    """The configuration with the runtime.

    Raises:
        PyruncError: the text is not what the engine reads, or something else is where the
            runtime has to be named; the message begins with the JSON pointer.
    """
    document = _read(engine, text)
    engine.prepare(document)
    keys = engine.runtimes(document)
    runtimes = _table(document, keys)
    entry = engine.entry(runtime, runtimes)
    old = runtimes.get(runtime.name)
    if isinstance(old, MutableMapping) and isinstance(entry, dict):
        _update(old, entry)
    elif old != entry:
        _set(runtimes, runtime.name, entry)
        _indent(runtimes[runtime.name])
    if runtime.default:
        *above, last = engine.default(document)
        parent = _table(document, above)
        if parent.get(last) != runtime.name:
            parent[last] = runtime.name
    return _written(engine, document, text)


def remove(engine: Engine, text: str, name: str, before: str = "") -> str:
    """The configuration without the runtime `name`, "" where nothing else is in it.

    Where it is the default, that becomes the one in `before`, the configuration from before it
    was added.

    Raises:
        PyruncError: as for `add`.
    """
    document = _read(engine, text)
    keys = engine.runtimes(document)
    _delete(document, (*keys, name))
    default = engine.default(document)
    if _at(document, default) == name:
        old = _read(engine, before)
        other = _at(old, engine.default(old))
        if isinstance(other, str) and other != name:
            _table(document, default[:-1])[default[-1]] = other
        else:
            _delete(document, default)
    if not before and set(document) <= engine.own:
        return ""
    after = _written(engine, document, text)
    return before if _differ_in_blanks_only(engine, before, after) else after


def _read(engine: Engine, text: str) -> Table:
    try:
        engine.plain(text)  # tomlkit lets pass what engines do not
        return engine.parse(text)
    except ValueError as error:
        raise PyruncError(f"not valid: {error}") from None


def _written(engine: Engine, document: Table, before: str) -> str:
    """The text of a document; unchanged, to the byte, where nothing was changed in it."""
    wanted = _bare(document)
    if before and engine.plain(before) == wanted:
        return before
    text = engine.write(document, before)
    if engine.plain(text) != wanted:  # a fault of the library must not reach an engine
        raise PyruncError("cannot be edited without harm; change it by hand")
    return text


def _differ_in_blanks_only(engine: Engine, one: str, other: str) -> bool:
    bare = ["".join(text.split()) for text in (one, other)]
    return bare[0] == bare[1] and engine.plain(one) == engine.plain(other)


def _bare(value: Any) -> Any:
    if isinstance(value, MutableMapping):
        return {str(key): _bare(inner) for key, inner in value.items()}
    unwrap = getattr(value, "unwrap", None)
    return unwrap() if unwrap else value


def _at(document: Table, keys: tuple[str, ...]) -> Any:
    """What is at a place, or None."""
    value: Any = document
    for key in keys:
        if not isinstance(value, MutableMapping) or key not in value:
            return None
        value = value[key]
    return value


def _table(document: Table, keys: tuple[str, ...] | list[str]) -> Table:
    """The table at a place, made if there is none."""
    table = document
    for depth, key in enumerate(keys):
        if key not in table:
            table[key] = _new(table, is_super_table=True)
        table = table[key]
        if not isinstance(table, MutableMapping):
            raise PyruncError(f"{pointer(keys[: depth + 1])}: must be a table")
    return table


def _new(parent: Table, *, is_super_table: bool = False) -> Table:
    """An empty table to be put into `parent`; a super table has no heading of its own."""
    if isinstance(parent, tomlkit.items.InlineTable):
        return tomlkit.inline_table()
    if isinstance(parent, dict) and not isinstance(
        parent, tomlkit.TOMLDocument | tomlkit.items.Item
    ):
        return {}  # JSON
    return tomlkit.table(is_super_table)


def _set(table: Table, key: str, value: object) -> None:
    if isinstance(value, dict):
        new = _new(table)
        _update(new, value)
        value = new
    table[key] = value


def _update(table: Table, values: dict[str, Any]) -> None:
    for key, value in values.items():
        old = table.get(key)
        if isinstance(old, MutableMapping) and isinstance(value, dict):
            _update(old, value)
        elif old != value:
            _set(table, key, value)


def _indent(table: Any, blanks: str | None = None) -> None:
    """Set the values of a new table of TOML in by two, where its heading is set in."""
    if not isinstance(table, tomlkit.items.Table):
        return  # in one line, or JSON
    if blanks is None:
        blanks = table.trivia.indent
    for _, item in table.value.body:
        if isinstance(item, tomlkit.items.Table):
            item.trivia.indent = blanks
            _indent(item, blanks)
        elif blanks and not isinstance(item, tomlkit.items.Whitespace):
            item.trivia.indent = blanks + "  "


def _delete(document: Table, keys: tuple[str, ...]) -> None:
    """Remove a value, and the tables that it leaves empty."""
    if _at(document, keys) is None:
        return
    for depth in range(len(keys), 0, -1):
        parent = _at(document, keys[: depth - 1])
        if depth == len(keys) or not parent[keys[depth - 1]]:
            del parent[keys[depth - 1]]


def _indentation(text: str) -> str:
    """What the first member of a JSON document is indented by."""
    for line in text.splitlines():
        bare = line.lstrip(" \t")
        if bare.startswith('"') and bare != line:
            return line[: len(line) - len(bare)]
    return "  "


def pointer(keys: tuple[str, ...] | list[str]) -> str:
    """Keys as a JSON pointer (RFC 6901)."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
