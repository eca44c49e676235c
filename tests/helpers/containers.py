"""What tests of one aspect of a container do again and again."""

from __future__ import annotations

from helpers.bundle import Bundle
from helpers.runtime import Runtime


def output(runtime: Runtime, bundle: Bundle, container: str, script: str) -> str:
    """What a script of shell prints in the container."""
    return runtime.run(container, bundle.sh(script).path).stdout


def sleeping(runtime: Runtime, bundle: Bundle, container: str) -> int:
    """Start the container with a program that sleeps; its pid."""
    runtime.create(container, bundle.args("sleep", "1000").path)
    runtime("start", container)
    pid: int = runtime.state(container)["pid"]
    return pid


def refused(runtime: Runtime, bundle: Bundle, container: str) -> str:
    """What is said when the container cannot be created."""
    done = runtime.create(container, bundle.save().path, check=False)
    assert done.returncode == 1
    return done.stderr


def user_namespace(bundle: Bundle, uid: int = 100000, gid: int = 100000) -> None:
    """Ask for a user namespace whose ids begin at `uid` and `gid` of the host's."""
    for name, first in (("uidMappings", uid), ("gidMappings", gid)):
        ranges = [{"containerID": 0, "hostID": first, "size": 65536}]
        bundle.config["linux"][name] = ranges
    bundle.namespaces({"type": "user"})
