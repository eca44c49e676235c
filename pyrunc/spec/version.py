"""The version of the runtime specification that pyrunc implements, and which versions it
accepts."""

from __future__ import annotations

#: Written to state and to new configurations.
OCI_VERSION = "1.3.0"

#: The oldest version accepted.
OCI_VERSION_MIN = "1.0.0"
