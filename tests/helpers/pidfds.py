"""Who is sent the pidfd of a process."""

from __future__ import annotations

import array
import os
import re
import socket
from pathlib import Path


class PidfdSocket:
    """The socket that --pidfd-socket names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(1)
        self._socket.settimeout(60)

    def pid(self) -> int:
        """The process that the descriptor, which has been sent, is of."""
        connection, _ = self._socket.accept()
        fds = array.array("i")
        with connection:
            _, control, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(fds.itemsize))
        ((_, _, data),) = control
        fds.frombytes(data)
        (fd,) = fds
        info = Path(f"/proc/self/fdinfo/{fd}").read_text()
        os.close(fd)
        self._socket.close()
        return int(dict(re.findall(r"(\w+):\s+(\S+)", info))["Pid"])
