"""The container state machine."""
