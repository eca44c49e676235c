"""Measures pyrunc beside runc, crun and the bare kernel: `make bench`."""
