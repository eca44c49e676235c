"""What systemd says of its units."""

from __future__ import annotations

import subprocess


def show(unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit as systemctl shows them."""
    output = subprocess.check_output(
        ["systemctl", "show", unit, *(f"--property={name}" for name in names)], text=True
    )
    return dict(line.split("=", 1) for line in output.splitlines())
