"""An unprivileged user, as whom root runs a runtime; tests that are not run by root use their own user."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

from helpers.runtime import Runtime

#: Of the user that root becomes: nobody that a system knows.
USER_ID = 61234
#: The first of the 65536 ids that are subordinate to that user.
SUBORDINATE = 1_000_000
COUNT = 65536


class User:
    """An unprivileged user.

    Attributes:
        uid: also the group id.
        directory: a directory of the user's own.
        runtime_directory: $XDG_RUNTIME_DIR.
        subordinate: first subordinate user and group id; 0 if there are none.
    """

    def __init__(self, directory: Path, *, subordinate: bool = False) -> None:
        """Make the directories in `directory`, of which all parents can be searched.

        Args:
            subordinate: give the user subordinate ids, where it can be done: as root.
        """
        self.is_other = os.geteuid() == 0
        self.uid = USER_ID if self.is_other else os.geteuid()
        self.directory = directory
        self.runtime_directory = directory / "runtime"
        for path in (directory, self.runtime_directory):
            path.mkdir()
            os.chown(path, self.uid, self.uid)
            path.chmod(0o755 if path == directory else 0o700)
        self._start = 'exec "$@"'
        self.subordinate = 0
        if not self.is_other:
            self.subordinate = own_subordinate_ids()
        elif subordinate:
            self.subordinate = SUBORDINATE
            self._start = f"{self._mounts()}\n{self._start}"

    def _mounts(self) -> str:
        """What makes the user known to newuidmap(1): files over those of /etc, in a mount namespace."""
        ids = f"{self.uid}:{SUBORDINATE}:{COUNT}\n"
        entry = f"pyrunctester:x:{self.uid}:{self.uid}::/:/bin/sh\n"
        commands = ["set -e"]
        for name, text in (("passwd", entry), ("subuid", ids), ("subgid", ids)):
            file = self.directory.parent / f"{self.directory.name}.{name}"
            shutil.copy(f"/etc/{name}", file)
            with file.open("a") as stream:
                stream.write(text)
            commands.append(f"mount --bind {shlex.quote(str(file))} /etc/{name}")
        return "\n".join(commands)

    def environment(self, **variables: str) -> list[str]:
        """The environment of the user's commands, as words of env(1)."""
        values = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "XDG_RUNTIME_DIR": str(self.runtime_directory),
        } | variables
        return ["env", "-i", *(f"{name}={value}" for name, value in values.items())]

    def command(self, *words: str, cgroups: tuple[Path, ...] = (), **variables: str) -> list[str]:
        """The command line that runs `words` as this user.

        Args:
            cgroups: directories of cgroups to start it in, as root.
            variables: added to its environment; an empty one is taken away.
        """
        line = self.environment(**variables)
        for name, value in variables.items():
            if not value:
                line.remove(f"{name}=")
        line += words
        if not self.is_other:
            return line
        become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        enter = "".join(f"echo 0 >{shlex.quote(str(path / 'cgroup.procs'))}\n" for path in cgroups)
        if cgroups or self.subordinate:
            start = ["unshare", "--mount", "sh", "-c", enter + self._start, "sh"]
            return [*start, *become, *line]
        return [*become, *line]

    def own(self, path: Path) -> None:
        """Give everything below a directory to the user, but not what it has by hard links."""
        if not self.is_other:
            return
        for parent, _, names in os.walk(path):
            os.chown(parent, self.uid, self.uid)
            for name in names:
                entry = os.path.join(parent, name)
                if os.lstat(entry).st_nlink == 1:
                    os.lchown(entry, self.uid, self.uid)


@cache
def own_subordinate_ids() -> int:
    """The first of the subordinate user and group ids of this user; 0 if there are none."""
    done = subprocess.run(["getsubids", _own_name()], capture_output=True, text=True, check=False)
    # "0: NAME FIRST COUNT", a line for each range
    return int(done.stdout.split()[2]) if done.returncode == 0 else 0


def _own_name() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


class UserRuntime(Runtime):
    """A runtime as the user runs it.

    Attributes:
        cgroups: where it is started, by root.
        variables: see `User.command`.
    """

    def __init__(self, binary: Path, root: Path, user: User) -> None:
        super().__init__(binary, root)
        self.user = user
        self.cgroups: tuple[Path, ...] = ()
        self.variables: dict[str, str] = {}

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of one operation."""
        words = [str(self.binary), *map(str, arguments)]
        if str(self.root) not in ("", "."):
            words[1:1] = ["--root", str(self.root)]
        return self.user.command(*words, cgroups=self.cgroups, **self.variables)
