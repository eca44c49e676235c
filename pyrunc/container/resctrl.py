"""Carries out plans for resctrl (the kernel's Documentation/filesystems/resctrl.rst)."""

from __future__ import annotations

import errno
import os

from pyrunc.cgroups.files import read_or_empty, read_text
from pyrunc.container.channel import label
from pyrunc.errors import HostError
from pyrunc.host.files import write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.resctrl import ResctrlPlan

_POINTER = "/linux/intelRdt"


class Resctrl:
    """The groups of one container.

    Attributes:
        mount: where resctrl is mounted.
        group: the control group.
        tasks: the files that pids are written to.
        remove: the directories that are removed with the container.
    """

    def __init__(self, mount: str, group: str, tasks: list[str], remove: list[str]) -> None:
        self.mount = mount
        self.group = group
        self.tasks = tasks
        self.remove = remove

    @classmethod
    def prepare(cls, plan: ResctrlPlan) -> Resctrl:
        """The groups of a plan before they are made, so that the state can tell which will be ours.

        Raises:
            HostError: a group that should be there is not, or has other limits; or there is one that should not.
        """
        exists = os.path.isdir(plan.group)
        if plan.must_exist and not exists:
            raise _failure("closID", f"there is no {plan.group}, and no limits to make it with")
        if exists and plan.compared:
            _compare(plan)
        if plan.monitor and os.path.isdir(plan.monitor):
            raise _failure("enableMonitoring", f"there is a group {plan.monitor} already")
        remove = [plan.monitor] if plan.monitor else []
        if plan.remove and not exists:
            remove.append(plan.group)
        return cls(plan.mount, plan.group, plan.tasks, remove)

    def create(self, plan: ResctrlPlan) -> None:
        """Make the groups and set their limits. Raises HostError."""
        try:
            os.mkdir(plan.group)
        except FileExistsError:
            pass
        except OSError as error:
            raise self._refusal("", f"mkdir {plan.group}", error) from None
        if plan.lines:
            self.write_schemata(plan.schemata, plan.lines[0][1])
        if plan.monitor:
            try:
                os.mkdir(plan.monitor)
            except OSError as error:
                raise self._refusal("enableMonitoring", f"mkdir {plan.monitor}", error) from None

    def write_schemata(self, text: str, pointer: str = "") -> None:
        """Write the limits of the control group. Raises HostError."""
        try:
            write_text(f"{self.group}/schemata", text)
        except OSError as error:
            where = pointer.removeprefix(_POINTER + "/")
            raise self._refusal(
                where, f"write {text.strip()!r} to {self.group}/schemata", error
            ) from None

    def join(self, pid: int) -> None:
        """Have the limits bind a process and what it starts. Raises HostError."""
        for path in self.tasks:
            try:
                write_text(path, str(pid))
            except OSError as error:
                raise self._refusal("", f"write {pid} to {path}", error) from None

    def destroy(self) -> None:
        """Remove what was made for the container. Raises HostError."""
        for path in self.remove:
            try:
                os.rmdir(path)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise self._refusal("", f"rmdir {path}", error) from None

    def stats(self) -> dict[str, Any]:
        """What is counted, and the limits, in the shape of `intel_rdt` in runc's `events --stats`.

        Only a container with a monitoring group has counts of its own.
        """
        found: dict[str, Any] = {}
        for resource, key, info in (("L3", "l3_cache", _L3_INFO), ("MB", "mem_bw", _MB_INFO)):
            about = f"{self.mount}/info/{resource}"
            values = {name: read_or_empty(f"{about}/{name}").strip() for name in info}
            if not any(values.values()):
                continue
            found[f"{key}_info"] = {
                name: value if name == "cbm_mask" else int(value)
                for name, value in values.items()
                if value not in ("", "0")
            }
            found[f"{key}_schema_root"] = _line(self.mount, resource)
            found[f"{key}_schema"] = _line(self.group, resource)
        if len(self.tasks) > 1:
            found |= _counts(os.path.dirname(self.tasks[1]) + "/mon_data")
        return found

    def to_state(self) -> dict[str, Any]:
        """As a JSON value."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Resctrl:
        return cls(state["mount"], state["group"], state["tasks"], state["remove"])

    def _refusal(self, field: str, doing: str, error: OSError) -> HostError:
        reason = error.strerror or ""
        said = read_or_empty(f"{self.mount}/info/last_cmd_status").strip()
        if said not in ("", "ok"):
            reason += f": {said}"
        return _failure(field, f"{doing}: {reason}", error.errno or 0)


def _failure(field: str, text: str, number: int = 0) -> HostError:
    pointer = f"{_POINTER}/{field}" if field else _POINTER
    return HostError(
        f"{label(pointer).removeprefix('linux.')}: {text} (config.json: {pointer})",
        errno=number,
        pointer=pointer,
    )


#: Files below info/L3 and info/MB.
_L3_INFO = ("cbm_mask", "min_cbm_bits", "num_closids")
_MB_INFO = ("bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids")


def _line(group: str, resource: str) -> str:
    for line in read_or_empty(f"{group}/schemata").splitlines():
        if line.strip().startswith(resource + ":"):
            return line.strip()
    return ""


def _counts(mon_data: str) -> dict[str, Any]:
    bandwidth, cache = [], []
    try:
        nodes = sorted(os.listdir(mon_data))
    except OSError:
        return {}
    for domain in nodes:
        values = {
            name: read_or_empty(f"{mon_data}/{domain}/{name}").strip()
            for name in ("mbm_total_bytes", "mbm_local_bytes", "llc_occupancy")
        }
        numbers = {name: int(value) for name, value in values.items() if value.isdigit()}
        occupancy = numbers.pop("llc_occupancy", None)
        if numbers:
            bandwidth.append(numbers)
        if occupancy is not None:
            cache.append({"llc_occupancy": occupancy})
    return {"mbm_stats": bandwidth, "cmt_stats": cache}


def _compare(plan: ResctrlPlan) -> None:
    path = f"{plan.group}/schemata"
    try:
        text = read_text(path)
    except OSError as error:
        raise _failure("closID", f"{path}: {error.strerror}", error.errno or 0) from None
    present: dict[str, int] = {}
    for line in text.splitlines():
        present.update(domains(line))
    for line, pointer in plan.compared:
        for domain, value in domains(line).items():
            if present.get(domain) != value:
                field = pointer.removeprefix(_POINTER + "/")
                raise _failure(
                    field, f"{plan.group} exists, and its {domain} is not that of {line!r}"
                )


def domains(line: str) -> dict[str, int]:
    """The values of a line of `schemata`, "L3:0=7f0;1=1f", by resource and domain, "L3:0".

    A value is a bit mask in hexadecimal, but for a bandwidth (MB), in decimal.
    """
    resource, _, values = line.strip().partition(":")
    found = {}
    for part in values.split(";"):
        domain, equals, value = part.strip().partition("=")
        if equals:
            try:
                number = int(value, 10 if resource == "MB" else 16)
            except ValueError:
                number = -1
            found[f"{resource}:{domain.strip()}"] = number
    return found
