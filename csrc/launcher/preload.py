# ruff: noqa: F401
"""What the image of the interpreter holds from the start: what engines call, and all that these commands import.

Not that which needs a compiled module of its own file, or `os`, whose copy of the environment would be that of the
build: such a module is imported when it is needed.
"""

import _socket
import errno
import fcntl
import pwd
import select
import stat
import sys
import time

import pyrunc_resume

import pyrunc
import pyrunc.cgroups
import pyrunc.cgroups.bpf
import pyrunc.cgroups.bus
import pyrunc.cgroups.cgroup
import pyrunc.cgroups.devices
import pyrunc.cgroups.explain
import pyrunc.cgroups.files
import pyrunc.cgroups.filters
import pyrunc.cgroups.gvariant
import pyrunc.cgroups.oom
import pyrunc.cgroups.paths
import pyrunc.cgroups.plan
import pyrunc.cgroups.resources
import pyrunc.cgroups.resources_v1
import pyrunc.cgroups.resources_v2
import pyrunc.cgroups.signals
import pyrunc.cgroups.stats
import pyrunc.cgroups.stats_v1
import pyrunc.cgroups.stats_v2
import pyrunc.cgroups.systemd
import pyrunc.cgroups.tree
import pyrunc.cgroups.unit
import pyrunc.cgroups.update
import pyrunc.cgroups.v1
import pyrunc.cgroups.v2
import pyrunc.cli
import pyrunc.cli.commands
import pyrunc.cli.create
import pyrunc.cli.delete
import pyrunc.cli.events
import pyrunc.cli.exec
import pyrunc.cli.flags
import pyrunc.cli.help
import pyrunc.cli.kill
import pyrunc.cli.list
import pyrunc.cli.main
import pyrunc.cli.parser
import pyrunc.cli.pause
import pyrunc.cli.ps
import pyrunc.cli.resume
import pyrunc.cli.run
import pyrunc.cli.settings
import pyrunc.cli.spec
import pyrunc.cli.start
import pyrunc.cli.state
import pyrunc.cli.update
import pyrunc.cli.version
import pyrunc.container
import pyrunc.container.channel
import pyrunc.container.container
import pyrunc.container.creation
import pyrunc.container.events
import pyrunc.container.execute
import pyrunc.container.hooks
import pyrunc.container.idmap
import pyrunc.container.members
import pyrunc.container.notify
import pyrunc.container.options
import pyrunc.container.running
import pyrunc.container.session
import pyrunc.container.shape
import pyrunc.container.start
import pyrunc.container.store
import pyrunc.container.supervise
import pyrunc.container.update
import pyrunc.errors
import pyrunc.host
import pyrunc.host.children
import pyrunc.host.facts
import pyrunc.host.files
import pyrunc.host.lean_os
import pyrunc.host.procfs
import pyrunc.host.program
import pyrunc.host.shim
import pyrunc.host.signal_names
import pyrunc.host.signals
import pyrunc.host.waiting
import pyrunc.log
import pyrunc.plan
import pyrunc.plan.compiler
import pyrunc.plan.context
import pyrunc.plan.live
import pyrunc.plan.mounts
import pyrunc.plan.namespaces
import pyrunc.plan.operation
import pyrunc.plan.operations
import pyrunc.plan.plan
import pyrunc.plan.process
import pyrunc.plan.propagation
import pyrunc.plan.rootfs
import pyrunc.plan.seccomp
import pyrunc.plan.seccomp_cache
import pyrunc.spec
import pyrunc.spec._check
import pyrunc.spec.annotations
import pyrunc.spec.json
import pyrunc.spec.loader
import pyrunc.spec.rules
import pyrunc.spec.rules_linux
import pyrunc.spec.rules_resources
import pyrunc.spec.tables
import pyrunc.spec.texts
import pyrunc.spec.version
import pyrunc.spec.words

# last, so that what few commands use lies by itself
try:
    import jeepney.low_level
    import jeepney.wrappers
except ModuleNotFoundError:  # it is not installed where this is built
    pass

for _name in ("os", "pyrunc.host._shim", "_json", "_cffi_backend"):
    if _name in sys.modules:
        raise ImportError(f"{_name} cannot be part of the image")
