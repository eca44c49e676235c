"""pyrunc: an OCI container runtime, and a library for programs that run containers.

    import pyrunc

    runtime = pyrunc.Runtime()
    with runtime.create("box", "/srv/bundle", stdout=pyrunc.PIPE) as container:
        container.start()
        print(container.process.stdout.read(), container.wait())

`pyrunc.aio` has the same for asyncio.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.errors import (
        BundleError,
        CgroupError,
        ConfigError,
        ExistsError,
        HookError,
        HostError,
        NotFoundError,
        OperationError,
        PyruncError,
        StateError,
        TimeoutExpired,
        UsageError,
        Violation,
    )
    from pyrunc.library.bundle import Bundle
    from pyrunc.library.core import Event, Result
    from pyrunc.library.process import Process
    from pyrunc.library.runtime import Container, Runtime
    from pyrunc.library.stdio import DEVNULL, PIPE, STDOUT
    from pyrunc.plan.operation import Operation
    from pyrunc.plan.plan import Plan

__version__ = "0.1.0"

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "Bundle",
    "BundleError",
    "CgroupError",
    "ConfigError",
    "Container",
    "Event",
    "ExistsError",
    "HookError",
    "HostError",
    "NotFoundError",
    "Operation",
    "OperationError",
    "Plan",
    "Process",
    "PyruncError",
    "Result",
    "Runtime",
    "StateError",
    "TimeoutExpired",
    "UsageError",
    "Violation",
    "__version__",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # Lazily: the commands load nothing of the library.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pyrunc.library.names import find

        value = globals()[name] = find(name)
        return value
