"""A container that overwrites the runtime (CVE-2019-5736)."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import NewId
from helpers.attacker import Attackers
from helpers.bundle import Bundle
from helpers.command import wait_until
from helpers.runtime import Runtime

pytestmark = pytest.mark.root

SCRIPT = "#!/proc/self/exe\n"


def digest(directory: Path) -> dict[Path, str]:
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def attack(attackers: Attackers, bundle: Bundle) -> Bundle:
    """A container that waits to overwrite whoever enters it."""
    capabilities = ["CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_PTRACE"]
    for name in ("bounding", "effective", "permitted"):
        bundle.config["process"]["capabilities"][name] = capabilities
    entered = bundle.rootfs / "bin" / "entered"
    entered.write_text(SCRIPT)
    entered.chmod(0o755)
    return bundle.args(attackers.install("overwrite", bundle.rootfs))


@pytest.mark.parametrize("program", ["/bin/entered", "/bin/true"])
def test_by_entering_it(
    program: str, attack: Bundle, copied_runtime: Runtime, container_id: str
) -> None:
    before = digest(copied_runtime.binary.parent.parent)
    output = attack.path / "output"
    copied_runtime.detached("run", container_id, attack.path, "--detach")
    wait_until(lambda: "waiting" in output.read_text(), "the attacker")
    for _ in range(20):
        copied_runtime("exec", container_id, program, check=False)
    assert "overwritten" not in output.read_text()
    assert digest(copied_runtime.binary.parent.parent) == before
    assert copied_runtime.status(container_id) == "running"


def test_by_being_its_first_program(attack: Bundle, copied_runtime: Runtime, new_id: NewId) -> None:
    """A container whose program is the runtime's init once more: it is only a sealed copy."""
    before = digest(copied_runtime.binary.parent.parent)
    for script in (SCRIPT, "#!/proc/self/exe 3\n", "#!/proc/1/exe\n"):
        (attack.rootfs / "bin" / "entered").write_text(script)
        attack.args("/bin/entered", "3")
        copied_runtime.run(new_id(), attack.path, check=False)
    assert digest(copied_runtime.binary.parent.parent) == before


def test_the_attack_works_on_a_runtime_without_defence(
    attackers: Attackers, attack: Bundle, runtime: Runtime, workspace: Path, container_id: str
) -> None:
    naive = workspace / "naive-runtime"
    shutil.copy(attackers.path("naive"), naive)
    output = attack.path / "output"
    runtime.detached("run", container_id, attack.path, "--detach")
    wait_until(lambda: "waiting" in output.read_text(), "the attacker")
    subprocess.run(
        [naive, str(runtime.state(container_id)["pid"]), "/bin/entered"], check=True, timeout=60
    )
    wait_until(lambda: "overwritten" in output.read_text(), "the attack")
    assert naive.read_bytes().startswith(b"overwritten")
