"""Fuzzers: of the init's decoder (libFuzzer), and of whatever reads what users and disks hand to Python (atheris)."""
