"""Control groups: v1, v2 and systemd behind one interface."""
