"""What linux.intelRdt leads to, down to each write (config-linux.md, "Intel RDT")."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Config

from pyrunc.container.resctrl import Resctrl, domains
from pyrunc.errors import HostError
from pyrunc.plan.resctrl import ResctrlPlan, compile_resctrl, schema_lines

from .conftest import Compile, facts

MOUNT = "/sys/fs/resctrl"
L3, MB, MORE = "L3:0=7f0;1=1f", "MB:0=20;1=70", ["L2:0=f", "MB:1=80"]


def compiled(mount: str = MOUNT, **rdt: Any) -> ResctrlPlan:
    return compile_resctrl(rdt, "box", facts(resctrl=mount))


def test_without_a_group_the_container_gets_its_own() -> None:
    plan = compiled()
    assert (plan.group, plan.must_exist, plan.remove) == (f"{MOUNT}/box", False, True)
    assert plan.tasks == [f"{MOUNT}/box/tasks"]
    assert plan.schemata == ""


def test_a_group_without_limits_is_for_others_to_make() -> None:
    plan = compiled(closID="gold")
    assert (plan.group, plan.must_exist, plan.remove) == (f"{MOUNT}/gold", True, False)


def test_a_group_with_limits_is_made_and_stays() -> None:
    plan = compiled(closID="gold", schemata=[L3])
    assert (plan.must_exist, plan.remove) == (False, False)


def test_a_slash_is_the_default_group() -> None:
    plan = compiled(closID="/", enableMonitoring=True)
    assert plan.group == MOUNT
    assert plan.tasks == [f"{MOUNT}/tasks", f"{MOUNT}/mon_groups/box/tasks"]


def test_limits_in_the_order_of_the_specification() -> None:
    plan = compiled(schemata=MORE, memBwSchema=MB, l3CacheSchema=L3)
    assert plan.schemata == "".join(f"{line}\n" for line in (L3, MB, *MORE))
    assert [pointer for _, pointer in plan.lines] == [
        "/linux/intelRdt/l3CacheSchema",
        "/linux/intelRdt/memBwSchema",
        "/linux/intelRdt/schemata/0",
        "/linux/intelRdt/schemata/1",
    ]


def test_bandwidth_among_the_cache_limits_gives_way_to_its_own_field() -> None:
    both = f"{L3}\nMB:0=99\nL3:2=1"
    assert [line for line, _ in schema_lines({"l3CacheSchema": both, "memBwSchema": MB})] == [
        L3,
        "L3:2=1",
        MB,
    ]
    assert [line for line, _ in schema_lines({"l3CacheSchema": both})] == both.split("\n")


def test_only_the_two_old_fields_are_compared_and_only_with_a_named_group() -> None:
    assert compiled(l3CacheSchema=L3, memBwSchema=MB).compared == []
    plan = compiled(closID="gold", l3CacheSchema=L3, memBwSchema=MB, schemata=MORE)
    assert [line for line, _ in plan.compared] == [L3, MB]


def test_no_resctrl_is_an_error_that_says_what_is_missing(
    config: Config, compile_config: Compile
) -> None:
    config["linux"]["intelRdt"] = {"closID": "gold"}
    with pytest.raises(HostError, match=r"mount -t resctrl") as error:
        compile_config(config, {"resctrl": "", "filesystems": frozenset({"resctrl"})})
    assert error.value.pointer == "/linux/intelRdt"
    with pytest.raises(HostError, match="this kernel has none"):
        compile_config(config, {"resctrl": "", "filesystems": frozenset({"tmpfs"})})


def test_it_is_shown_in_the_plan(config: Config, compile_config: Compile) -> None:
    config["linux"]["intelRdt"] = {"schemata": [L3], "enableMonitoring": True}
    plan = compile_config(config, {"resctrl": MOUNT})
    shown = [line for line in plan.describe() if line.startswith("resctrl: ")]
    assert shown == [
        f"resctrl: {line}  (/linux/intelRdt)"
        for line in (
            f"group {MOUNT}/box: made unless it exists, removed at delete",
            f"write '{L3}' to {MOUNT}/box/schemata",
            f"monitoring group {MOUNT}/box/mon_groups/box: made, removed at delete",
            f"write the pid to {MOUNT}/box/tasks",
            f"write the pid to {MOUNT}/box/mon_groups/box/tasks",
        )
    ]
    assert len(plan.to_json()["resctrl"]) == len(shown)
    del config["linux"]["intelRdt"]
    assert compile_config(config, {"resctrl": MOUNT}).resctrl is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("L3:0=7f0;1=1f", {"L3:0": 0x7F0, "L3:1": 0x1F}),
        ("    MB:0= 20;1=070", {"MB:0": 20, "MB:1": 70}),
        ("L3CODE:0=00f", {"L3CODE:0": 15}),
        ("L3:0=zz", {"L3:0": -1}),
        ("nothing", {}),
    ],
)
def test_the_values_of_a_line(line: str, found: dict[str, int]) -> None:
    assert domains(line) == found


class FakeResctrl:
    """A directory in which the files of a group appear when it is made, as the kernel has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mkdir, self._rmdir = os.mkdir, os.rmdir
        self._populate(path)
        (path / "info").mkdir()
        self.status = path / "info" / "last_cmd_status"
        self.status.write_text("ok\n")

    def _populate(self, path: Path) -> None:
        (path / "schemata").write_text("    MB:0=100;1= 70\n    L3:0=7f0;1=01f\n")
        (path / "tasks").touch()
        if path.parent.name != "mon_groups":
            self._mkdir(path / "mon_groups")

    def directories(self, name: str) -> None:
        """Make directories that are no groups."""
        path = self.path
        for part in name.split("/"):
            path /= part
            if not path.exists():
                self._mkdir(path)

    def mkdir(self, path: str) -> None:
        self._mkdir(path)
        self._populate(Path(path))

    def rmdir(self, path: str) -> None:
        for name in ("schemata", "tasks"):
            (Path(path) / name).unlink(missing_ok=True)
        if (groups := Path(path) / "mon_groups").exists():
            self._rmdir(groups)
        self._rmdir(path)


@pytest.fixture
def resctrl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeResctrl:
    (tmp_path / "resctrl").mkdir()
    fake = FakeResctrl(tmp_path / "resctrl")
    monkeypatch.setattr(os, "mkdir", fake.mkdir)
    monkeypatch.setattr(os, "rmdir", fake.rmdir)
    return fake


def groups(resctrl: FakeResctrl) -> list[str]:
    return sorted(entry.name for entry in resctrl.path.iterdir() if entry.is_dir())


def test_groups_are_made_joined_and_removed(resctrl: FakeResctrl) -> None:
    plan = compiled(str(resctrl.path), schemata=[L3], enableMonitoring=True)
    made = Resctrl.prepare(plan)
    made.create(plan)
    group = resctrl.path / "box"
    assert (group / "schemata").read_text().startswith(f"{L3}\n")
    made.join(42)
    assert (group / "tasks").read_text() == "42"
    assert (group / "mon_groups" / "box" / "tasks").read_text() == "42"
    Resctrl.from_state(made.to_state()).destroy()
    assert groups(resctrl) == ["info", "mon_groups"]
    made.destroy()  # what is gone already is no error


def test_only_the_monitoring_group_is_removed_of_a_named_one(resctrl: FakeResctrl) -> None:
    plan = compiled(str(resctrl.path), closID="gold", schemata=[L3], enableMonitoring=True)
    made = Resctrl.prepare(plan)
    made.create(plan)
    made.destroy()
    assert groups(resctrl) == ["gold", "info", "mon_groups"]
    assert list((resctrl.path / "gold" / "mon_groups").iterdir()) == []


def test_a_group_that_was_there_is_not_removed(resctrl: FakeResctrl) -> None:
    os.mkdir(f"{resctrl.path}/box")
    plan = compiled(str(resctrl.path))
    made = Resctrl.prepare(plan)
    made.create(plan)
    made.destroy()
    assert "box" in groups(resctrl)


def failure(plan: ResctrlPlan) -> HostError:
    with pytest.raises(HostError) as error:
        Resctrl.prepare(plan).create(plan)
    return error.value


def test_a_named_group_without_limits_must_exist(resctrl: FakeResctrl) -> None:
    error = failure(compiled(str(resctrl.path), closID="gold"))
    assert error.pointer == "/linux/intelRdt/closID"
    assert f"there is no {resctrl.path}/gold" in str(error)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"l3CacheSchema": "L3:0=7f0"}, None),
        ({"l3CacheSchema": "L3:1=1f;0=7f0", "memBwSchema": "MB:1=70"}, None),
        ({"l3CacheSchema": "L3:0=7f1"}, "/linux/intelRdt/l3CacheSchema"),
        ({"l3CacheSchema": "L3:9=1"}, "/linux/intelRdt/l3CacheSchema"),
        ({"memBwSchema": "MB:0=70"}, "/linux/intelRdt/memBwSchema"),
        ({"schemata": ["L3:0=1"]}, None),
    ],
)
def test_one_that_exists_must_have_the_limits(
    resctrl: FakeResctrl, fields: dict[str, Any], pointer: str | None
) -> None:
    os.mkdir(f"{resctrl.path}/gold")
    plan = compiled(str(resctrl.path), closID="gold", **fields)
    if pointer is None:
        Resctrl.prepare(plan).create(plan)
    else:
        assert failure(plan).pointer == pointer


def test_a_monitoring_group_is_for_one_container(resctrl: FakeResctrl) -> None:
    plan = compiled(str(resctrl.path), closID="/", enableMonitoring=True)
    Resctrl.prepare(plan).create(plan)
    assert failure(plan).pointer == "/linux/intelRdt/enableMonitoring"


def test_refusals_have_the_words_of_the_kernel(resctrl: FakeResctrl) -> None:
    resctrl.status.write_text("Unknown or unsupported resource name 'L9'\n")
    (resctrl.path / "schemata").unlink()
    error = failure(compiled(str(resctrl.path), closID="/", schemata=["L9:0=1"]))
    assert error.pointer == "/linux/intelRdt/schemata/0"
    assert "write 'L9:0=1'" in str(error)
    assert "unsupported resource name 'L9'" in str(error)


def test_statistics_in_the_shape_of_runc(resctrl: FakeResctrl) -> None:
    plan = compiled(str(resctrl.path), schemata=[L3], enableMonitoring=True)
    made = Resctrl.prepare(plan)
    made.create(plan)
    for name, files in {
        "info/L3": {"cbm_mask": "7ff\n", "min_cbm_bits": "1\n", "num_closids": "16\n"},
        "box/mon_groups/box/mon_data/mon_L3_00": {
            "llc_occupancy": "1000\n",
            "mbm_total_bytes": "2000\n",
            "mbm_local_bytes": "Unavailable\n",
        },
        "box/mon_groups/box/mon_data/mon_L3_01": {"llc_occupancy": "0\n"},
    }.items():
        resctrl.directories(name)
        for file, text in files.items():
            (resctrl.path / name / file).write_text(text)
    assert made.stats() == {
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=7f0;1=01f",
        "l3_cache_schema": L3,
        "mbm_stats": [{"mbm_total_bytes": 2000}],
        "cmt_stats": [{"llc_occupancy": 1000}, {"llc_occupancy": 0}],
    }
    # without a monitoring group what is counted is not the container's alone
    shared = compiled(str(resctrl.path), closID="/")
    assert "cmt_stats" not in Resctrl.prepare(shared).stats()
