"""`update`: other limits for a container, which its stored configuration remembers."""

from __future__ import annotations

from pyrunc import log
from pyrunc.container.container import wrong_status
from pyrunc.container.store import CONFIG
from pyrunc.errors import PyruncError, StateError
from pyrunc.host.facts import HostFacts
from pyrunc.host.files import read_bytes
from pyrunc.spec.json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.container.container import Container
    from pyrunc.container.resctrl import Resctrl
    from pyrunc.host.waiting import Steps

#: Lists of `linux.resources` that an update changes entry by entry, and what tells entries apart.
_ENTRIES = {
    "hugepageLimits": ("pageSize",),
    "priorities": ("name",),
    "weightDevice": ("major", "minor"),
    "throttleReadBpsDevice": ("major", "minor"),
    "throttleWriteBpsDevice": ("major", "minor"),
    "throttleReadIOPSDevice": ("major", "minor"),
    "throttleWriteIOPSDevice": ("major", "minor"),
}


def updating(container: Container, resources: dict[str, Any], rdt: dict[str, Any]) -> Steps[None]:
    """Change limits of a container, all or none of them.

    Args:
        container: it may be created, running or paused.
        resources: as `linux.resources`; what it does not name stays.
        rdt: as `linux.intelRdt`, likewise.

    Raises:
        StateError: the container is stopped, or has no Intel RDT group whose limits could be changed.
        PyruncError: a limit was refused. Nothing is changed.
    """
    with (yield from container.locking()) as store:
        status = container.status
        if status == "stopped":
            raise wrong_status("update", container.id, status)
        before = store.read_config()
        config = dict(before)
        linux = config["linux"] = dict(config.get("linux") or {})
        linux["resources"] = merged(linux.get("resources") or {}, resources)
        if rdt:
            linux["intelRdt"] = {**(linux.get("intelRdt") or {}), **rdt}
        schemata = _update_rdt(container, rdt) if rdt else None
        try:
            store.write(CONFIG, dumps(config))
            container.cgroup.update(resources, HostFacts())
        except BaseException:
            store.write(CONFIG, dumps(before))
            if schemata is not None:
                _restore_rdt(*schemata)
            raise


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`old` limits as `new` ones change them."""
    result = dict(old)
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merged(result[name], value)
        elif name in _ENTRIES and result.get(name):
            result[name] = _merged_entries(result[name], value, _ENTRIES[name])
        else:
            result[name] = value
    return result


def _merged_entries(
    old: list[dict[str, Any]], new: list[dict[str, Any]], key: tuple[str, ...]
) -> list[dict[str, Any]]:
    entries = {tuple(entry[name] for name in key): entry for entry in old}
    for entry in new:
        place = tuple(entry[name] for name in key)
        entries[place] = {**entries.get(place, {}), **entry}
    return list(entries.values())


def _update_rdt(container: Container, rdt: dict[str, Any]) -> tuple[Resctrl, str]:
    """Write the limits; returns the group and what stood there before."""
    from pyrunc.plan.resctrl import schema_lines

    resctrl = container.resctrl
    if resctrl is None:
        raise StateError(
            f"update: --l3-cache-schema, --mem-bw-schema: container {container.id} has no"
            " Intel RDT limits (linux.intelRdt)"
        )
    before = read_bytes(f"{resctrl.group}/schemata").decode()
    resctrl.write_schemata("".join(f"{line}\n" for line, _ in schema_lines(rdt)))
    return resctrl, before


def _restore_rdt(resctrl: Resctrl, schemata: str) -> None:
    try:
        resctrl.write_schemata(schemata)
    except PyruncError as error:
        log.warning(str(error))
