"""What this host is."""

from __future__ import annotations

import os
import re


def kernel() -> tuple[int, int]:
    """Major and minor number of the kernel."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    assert found is not None
    return int(found[1]), int(found[2])
