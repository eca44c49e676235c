"""Runs the validation programs of opencontainers/runtime-tools against pyrunc, beside runc."""
