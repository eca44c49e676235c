"""The long forms of the tests that try to break the runtime."""
