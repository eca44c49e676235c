"""The host: system calls and facts."""
