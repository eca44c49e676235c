"""The library for programs that block while they wait. Everything here may be used from many threads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from pyrunc.container import container as containers
from pyrunc.container.events import EventSource
from pyrunc.errors import TimeoutExpired
from pyrunc.host.waiting import block, finish
from pyrunc.library.bundle import Path
from pyrunc.library.core import (
    CheckpointWords,
    CoreContainer,
    CoreRuntime,
    CriuWords,
    Event,
    Pty,
    Result,
    Started,
)
from pyrunc.library.process import Process
from pyrunc.library.stdio import PIPE, Stdio
from pyrunc.spec import loader

Self = TypeVar("Self", bound="Container")


def _process(started: Started) -> Process:
    return Process(started.pid, started.pidfd, started.ends, started.terminal)


class Container(CoreContainer[Process]):
    """A container. `Runtime.create` and `Runtime.get` give it.

    A context manager: at its end the container is killed if it runs, and deleted.
    """

    def start(self) -> None:
        """Run its program. Returns when the program is executed, and the poststart hooks have ended.

        Raises:
            StateError: it is not created.
            OperationError: the program could not be executed; the container is stopped.
            HookError: a poststart hook failed; the container is stopped.
        """
        finish(self._fresh().starting())

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the container process has ended.

        Args:
            timeout: in seconds; None for no limit.

        Returns its exit code, or 128 plus the number of the signal that ended it.

        Raises:
            TimeoutExpired: it has not ended in time. It goes on.
            StateError: nobody can tell how it ended: this object did not create the container, and it had ended before,
                or Linux is older than 6.15.
        """
        return finish(self._waiting(timeout))

    def exec(
        self,
        args: Sequence[str] | None = None,
        *,
        process: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: tuple[int, int] | None = None,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        pty: Pty = None,
        pass_fds: Sequence[int] = (),
        ignore_paused: bool = False,
    ) -> Process:
        """Execute another process in the container. Returns when its program is executed.

        Args:
            args: the program and its arguments. All else is as for the container process, but for what is given here.
            process: instead of `args`, a whole process object (config.md, "Process").
            env: variables to add to the environment.
            cwd: working directory, in the container.
            user: user id and group id, in the container.
            stdin, stdout, stderr: PIPE, DEVNULL, a file or descriptor; None for those of this program; stderr may be
                STDOUT.
            pty: give it a terminal, in place of these; a tuple is its size, (rows, columns).
            pass_fds: descriptors that it gets as 3, 4 and so on.
            ignore_paused: in a paused container, have it wait for `resume`.

        Raises:
            StateError: the container is stopped, or paused.
            ConfigError: the process object is wrong.
            OperationError: it could not be executed.
        """
        whole = self._exec_process(args, process, env, cwd, user, pty)
        stdio = (stdin, stdout, stderr)
        return _process(finish(self._executing(whole, stdio, pass_fds, ignore_paused)))

    def pause(self) -> None:
        """Freeze all its processes.

        Raises:
            StateError: it is not running or created.
            CgroupError: they could not be frozen.
        """
        finish(self._fresh().pausing())

    def resume(self) -> None:
        """Let frozen processes go on. Raises StateError: it is not paused."""
        finish(self._fresh().resuming())

    def update(self, resources: Mapping[str, Any]) -> None:
        """Change limits, all or none.

        Args:
            resources: an object like `linux.resources` (config-linux.md, "Control groups"); what it does not name
                stays.

        Raises:
            ConfigError: it is wrong.
            StateError: the container is stopped.
            CgroupError: a limit was refused. Nothing is changed.
        """
        finish(self._updating(resources))

    def events(self, interval: float | None = 5.0) -> Iterator[Event]:
        """What happens to it, until it ends.

        Args:
            interval: time between statistics, in seconds; None for none of them.

        Raises, when the first one is asked for:
            StateError: it is stopped.
        """
        with EventSource(self._fresh(), interval) as source:
            while not source.ended:
                block(source.fileno(), source.due - time.monotonic())
                for kind, data in source.take():
                    yield Event(kind, self.id, data)

    def checkpoint(self, image_path: Path, **options: Unpack[CheckpointWords]) -> None:
        """Write the state of its processes to a directory, by CRIU; `Runtime.restore` has them go on from there.

        It is deleted then, unless it goes on.

        Args:
            image_path: the directory. It is made where it is missing.
            options: see `CheckpointWords`.

        Raises:
            StateError: it is not running, or paused.
            UsageError: an argument is wrong.
            HostError: there is no CRIU, or it lacks something.
            OperationError: CRIU failed. The container goes on.
        """
        finish(self._checkpointing(image_path, options))

    def delete(self, *, force: bool = False) -> None:
        """Delete it, with all that belongs to it, and then run its poststop hooks. The end of `process` is noted.

        Args:
            force: kill it first if it runs, and be content if it is gone.

        Raises:
            StateError: it is running.
            NotFoundError: it is gone.
            PyruncError: something could not be removed.
        """
        finish(self._deleting(force))

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.delete(force=True)
        finally:
            if self.process is not None:
                self.process.close()


class Runtime(CoreRuntime):
    """Makes containers, and finds them."""

    def create(
        self,
        id: str,
        bundle: loader.Bundle | Path,
        *,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        pty: Pty = None,
        pass_fds: Sequence[int] = (),
        pid_file: str = "",
        no_pivot: bool = False,
        no_new_keyring: bool = False,
    ) -> Container:
        """Create a container, which waits for `Container.start` (runtime.md, "Create").

        Args:
            id: names the container; letters, digits and _ + - . only.
            bundle: a `Bundle`, or the path of one.
            stdin, stdout, stderr: PIPE, DEVNULL, a file or descriptor; None for those of this program; stderr may be
                STDOUT.
            pty: give its process a terminal, in place of these, or none; a tuple is its size, (rows, columns). None
                does as the configuration says (`process.terminal`).
            pass_fds: descriptors that its process gets as 3, 4 and so on.
            pid_file: write its pid to this file.
            no_pivot: move the root filesystem over / instead of pivot_root(2), for a host that runs from an initramfs.
            no_new_keyring: keep the session keyring of this program.

        Raises:
            UsageError: an argument is wrong.
            BundleError: the bundle cannot be read, or is wrong.
            ExistsError: there is a container of this id.
            HostError: the host lacks what the configuration asks for.
            OperationError, HookError, CgroupError: a step failed; nothing is left of the container.
        """
        steps = self._creating(
            id,
            bundle,
            (stdin, stdout, stderr),
            pty,
            pass_fds,
            pid_file=pid_file,
            no_pivot=no_pivot,
            no_new_keyring=no_new_keyring,
        )
        created, started = finish(steps)
        return Container(created, _process(started), self._rootless)

    def run(
        self,
        id: str,
        bundle: loader.Bundle | Path,
        *,
        input: bytes | None = None,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        pty: Pty = None,
        pass_fds: Sequence[int] = (),
        timeout: float | None = None,
    ) -> Result:
        """Run a container to its end, and delete it.

        Args:
            input: what it reads from stdin.
            timeout: in seconds, after which it is killed; None for no limit.
            id, bundle, stdin, stdout, stderr, pty, pass_fds: as for `create`.

        Raises:
            TimeoutExpired: it did not end in time, and was killed. The error has what it wrote.
            PyruncError: as `create` and `Container.start` do. Nothing is left of the container.
        """
        if input is not None and stdin is None and not pty:
            stdin = PIPE
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.create(
            id, bundle, stdin=stdin, stdout=stdout, stderr=stderr, pty=pty, pass_fds=pass_fds
        ) as container:
            container.start()
            process = container.process
            assert process is not None
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                said, complained = process.communicate(input, left)
            except TimeoutExpired as error:
                raise error.of(f"container {id}", timeout) from None
            return Result(process.wait(), said, complained)

    def restore(
        self,
        id: str,
        bundle: loader.Bundle | Path,
        image_path: Path,
        *,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        **options: Unpack[CriuWords],
    ) -> Container:
        """Have a container go on from its checkpoint. It runs at once.

        Args:
            id: names the container; it may have had another name before.
            bundle: as it was created from: a `Bundle`, or the path of one.
            image_path: directory of the checkpoint.
            stdin, stdout, stderr: as for `create`; they replace the pipes and files that it had.
            options: see `CriuWords`.

        Raises:
            UsageError: an argument is wrong.
            BundleError: the bundle cannot be read, or is wrong.
            ExistsError: there is a container of this id.
            HostError: there is no CRIU, or it lacks something.
            OperationError: CRIU failed. Nothing is left of the container.
        """
        steps = self._restoring(id, bundle, image_path, (stdin, stdout, stderr), options)
        restored, started = finish(steps)
        return Container(restored, _process(started), self._rootless)

    def get(self, id: str) -> Container:
        """The container of this id, whoever created it.

        Raises:
            NotFoundError: there is none.
            StateError: its state is damaged.
        """
        return Container(self._load(id), None, self._rootless)

    def list(self) -> list[Container]:
        """All containers, in order of their ids. What cannot be read is logged, and left out.

        Raises:
            PyruncError: the directory of states cannot be read.
        """
        return [Container(found, None, self._rootless) for found in self._load_all()]

    def delete(self, id: str) -> None:
        """Delete a container by force, in whatever state it is, damaged or half made. None at all is no error.

        Raises:
            PyruncError: something could not be removed.
        """
        containers.delete_remains(self.root, id)
