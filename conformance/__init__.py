"""Runs the validation programs of opencontainers/runtime-tools against pyrunc and beside it runc."""
