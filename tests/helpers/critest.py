"""critest, the validation suite of the CRI, and the images that it pulls, made by hand."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.bundle import BUSYBOX
from helpers.command import run_command
from helpers.cri import Cri
from helpers.images import Files, Image, layer_of, layer_with, static_program, write_images

_E2E = "registry.k8s.io/e2e-test-images"
_STAGING = "gcr.io/k8s-staging-cri-tools"
_ARCHITECTURE = "amd64"

_SERVER = """\
#!/bin/sh
# httpd of busybox behind the face of another server; its address is the second argument
trap 'kill $!; exit' TERM QUIT
echo $$ >/var/run/nginx.pid
echo "httpd is ready"
httpd -f -p "$2" -h /www &
wait
"""
_SETUID = """\
#include <stdio.h>
#include <unistd.h>

int main(void) { return printf("Effective uid: %d\\n", (int)geteuid()) < 0; }
"""


def images() -> list[Image]:
    """All that critest names, but for one that it names by a digest, which only the original has."""

    def server(address: str) -> list[str]:
        return ["/usr/sbin/nginx", "master process", address]

    def labelled(name: str) -> Image:
        return Image(name, Labels={"name": name})

    return [
        Image(f"{_E2E}/busybox:1.29-2"),
        Image(f"{_E2E}/nginx:1.14-2", Entrypoint=server("80"), Cmd=None),
        Image(f"{_E2E}/httpd:2.4.39-4", Entrypoint=server("80"), Labels={"of": "httpd"}, Cmd=None),
        Image(f"{_E2E}/nonewprivs:1.3", Entrypoint=["/nnp"], Cmd=None),
        Image(
            f"{_STAGING}/hostnet-nginx-{_ARCHITECTURE}:latest", Entrypoint=server("12003"), Cmd=None
        ),
        labelled(f"{_STAGING}/test-image-latest:latest"),
        labelled(f"{_STAGING}/test-image-tag:test"),
        labelled(f"{_STAGING}/test-image-tag:all"),
        *(labelled(f"{_STAGING}/test-image-{n}:latest") for n in (1, 2, 3)),
        Image(*(f"{_STAGING}/test-image-tags:{n}" for n in (1, 2, 3)), Labels={"name": "tags"}),
        Image(f"{_STAGING}/test-image-user-uid:latest", User="1002"),
        Image(f"{_STAGING}/test-image-user-username:latest", User="www-data"),
        Image(f"{_STAGING}/test-image-user-uid-group:latest", User="1003:users"),
        Image(f"{_STAGING}/test-image-user-username-group:latest", User="www-data:100"),
        Image(f"{_STAGING}/test-image-predefined-group:latest", User="1000"),
    ]


def files(directory: Path) -> Files:
    """What the images have beside busybox."""
    passwd = (
        "root:x:0:0:root:/root:/bin/sh\n"
        "www-data:x:33:33:www-data:/var/www:/bin/false\n"
        "default-user:x:1000:1000::/:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/bin/false\n"
    )
    group = (
        "root:x:0:\nwww-data:x:33:\nusers:x:100:\ndefault-user:x:1000:\n"
        "group-defined-in-image:x:50000:default-user\n"
    )
    return {
        "etc/passwd": (0o644, passwd.encode()),
        "etc/group": (0o644, group.encode()),
        "bin/ls": (0o755, BUSYBOX.read_bytes()),  # is masked, which must not mask all of busybox
        "usr/bin/pgrep": (0o755, b'#!/bin/sh\nexec pidof "$@"\n'),
        "usr/bin/ipcs": (0o755, b"#!/bin/sh\ncat /proc/sysvipc/shm\n"),
        "usr/sbin/nginx": (0o755, _SERVER.encode()),
        "var/run/.keep": (0o644, b""),
        "www/index.html": (0o644, b"main page\n"),
        "nnp": (0o4755, static_program(_SETUID, directory)),
    }


def fill_registry(cri: Cri, rootfs: Path) -> None:
    """Put the images into the registry that the CRI plugin pulls from."""
    made = images()
    layers = [layer_of(rootfs), layer_with(files(cri.directory))]
    archive = write_images(cri.directory / "critest.tar", made, layers)
    cri.push(archive, [name for image in made for name in image.names])
    archive.unlink()


class Verdicts:
    """What critest said of a runtime: names of its tests by verdict."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}

    def read(self, report: Path) -> None:
        """Add what is in a report that it writes with --ginkgo.json-report."""
        (suite,) = json.loads(report.read_text())
        for spec in suite["SpecReports"]:
            if spec["LeafNodeType"] != "It":
                continue
            name = " ".join([*(spec["ContainerHierarchyTexts"] or []), spec["LeafNodeText"]])
            message = spec.get("Failure", {}).get("Message", "")
            if spec["State"] == "passed":
                self.passed.add(name)
                self.failed.pop(name, None)  # at an earlier try
            elif spec["State"] in ("skipped", "pending"):
                if message:  # it was chosen, and found that it cannot run here
                    self.skipped[name] = message
            else:
                self.failed[name] = message


def critest(cri: Cri, program: Path, handler: str, *flags: str) -> Path:
    """Run those of critest's tests that `flags` choose, with a handler; returns its report."""
    endpoint = f"unix://{cri.daemon.socket}"
    report = cri.directory / f"{handler}.json"
    run_command(
        cri.island.inside(
            program,
            f"--runtime-endpoint={endpoint}",
            f"--image-endpoint={endpoint}",
            f"--runtime-handler={handler}",
            f"--ginkgo.json-report={report}",
            "--ginkgo.no-color",
            *flags,
        ),
        check=False,
        limit=600,
        cwd=cri.directory,
    )
    return report
