"""What an update that failed writes to have the old values back."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrunc.cgroups.files import CgroupWrite
from pyrunc.cgroups.update import former_value, restoring, write_or_restore
from pyrunc.errors import CgroupError


@pytest.mark.parametrize(
    ("name", "now", "value", "expected"),
    [
        ("memory.limit_in_bytes", "4096\n", "8192", "4096"),
        ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n", "0", "1"),
        ("blkio.throttle.read_bps_device", "8:0 5\n8:16 7\n", "8:16 9", "8:16 7"),
        ("blkio.throttle.read_bps_device", "8:0 5\n", "8:16 9", "8:16 0"),
        ("blkio.throttle.read_bps_device", "", "8:16 9", "8:16 0"),
        ("net_prio.ifpriomap", "lo 0\neth0 5\n", "eth0 7", "eth0 5"),
        (
            "rdma.max",
            "mlx hca_handle=3 hca_object=max\n",
            "mlx hca_handle=4",
            "mlx hca_handle=3 hca_object=max",
        ),
        ("io.max", "", "8:0 rbps=5", "8:0 rbps=max wbps=max riops=max wiops=max"),
        (
            "io.max",
            "8:0 rbps=1 wbps=max riops=max wiops=max\n",
            "8:0 rbps=5",
            "8:0 rbps=1 wbps=max riops=max wiops=max",
        ),
        ("io.weight", "default 100\n8:0 50\n", "default 7", "default 100"),
        ("io.weight", "default 100\n8:0 50\n", "7", "default 100"),
        ("io.weight", "default 100\n", "8:0 7", "8:0 default"),
        ("cpu.max", "max 100000\n", "5 10", "max 100000"),
        ("no.such.file", "", "5", None),
    ],
)
def test_former_value(name: str, now: str, value: str, expected: str | None) -> None:
    assert former_value(name, now, value) == expected


@pytest.mark.parametrize(
    ("name", "value", "opposite"),
    [
        ("devices.allow", "c 1:3 r", "devices.deny"),
        ("devices.deny", "c 1:3 r", "devices.allow"),
    ],
)
def test_device_entries_are_taken_back(name: str, value: str, opposite: str) -> None:
    undo = restoring(CgroupWrite(f"/cg/{name}", value, None))
    assert undo is not None
    assert (undo.path, undo.value) == (f"/cg/{opposite}", value)


def test_values_are_set_back(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1111")
    (tmp_path / "b").write_text("2222")
    writes = [
        CgroupWrite(f"{tmp_path}/a", "3333", "/a"),
        CgroupWrite(f"{tmp_path}/missing", "5", "/missing"),
        CgroupWrite(f"{tmp_path}/b", "4444", "/b"),
    ]
    with pytest.raises(CgroupError, match="this kernel does not have it") as caught:
        write_or_restore(writes)
    assert caught.value.pointer == "/missing"
    assert [(tmp_path / name).read_text() for name in "ab"] == ["1111", "2222"]


def test_optional_file_and_fallback(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("1")
    instead = CgroupWrite(f"{tmp_path}/b", "8", None)
    write_or_restore(
        [
            CgroupWrite(f"{tmp_path}/missing", "5", None, optional=True),
            CgroupWrite(f"{tmp_path}/a", "7", None, otherwise=instead),
        ]
    )
    assert (tmp_path / "b").read_text() == "8"
