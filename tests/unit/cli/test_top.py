"""What `top` makes of the figures of a cgroup."""

from __future__ import annotations

from pyrunc.cli.top import Sample


def test_block_io_without_a_value_is_none() -> None:
    """Members that are 0 are left out of the figures."""
    entries = [
        {"major": 8, "op": "Read", "value": 4096},
        {"major": 8, "op": "Write"},
        {"major": 9, "op": "read", "value": 1},
        {"major": 9, "op": "Total", "value": 9},
    ]
    sample = Sample({"blkio": {"ioServiceBytesRecursive": entries}}, "running", 0.0)
    assert (sample.read, sample.written) == (4097, 0)


def test_no_figures_at_all() -> None:
    sample = Sample({}, "running", 0.0)
    assert (sample.cpu, sample.memory, sample.pids, sample.read, sample.written) == (0, 0, 0, 0, 0)
