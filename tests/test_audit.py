"""An audit fails when a package is vulnerable or the audit itself is broken, and says so when nobody could be asked."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

TRACEBACK = """Traceback (most recent call last):
  File "pip_audit/_service/osv.py", line 70, in query
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='osv.example', port=443): Max retries exceeded
"""


def audited(folder: Path, code: int, output: str = "", error: str = "") -> subprocess.CompletedProcess[str]:
    """The audit by a pip-audit that ends like this, and that tells what it was given."""
    python = folder / "python"
    python.symlink_to(sys.executable)
    program = folder / "pip-audit"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nprint({output!r}, *sys.argv)\nsys.stderr.write({error!r})\nsys.exit({code})\n"
    )
    program.chmod(0o755)
    return subprocess.run([python, ROOT / "tools/audit.py"], capture_output=True, text=True)


def test_every_lock_is_audited(tmp_path: Path) -> None:
    audit = audited(tmp_path, 0, "No known vulnerabilities found")
    assert audit.returncode == 0
    assert "NOT AUDITED" not in audit.stdout
    for lock in ROOT.glob("requirements/*.txt"):
        assert f"--requirement {lock}" in audit.stdout


def test_a_vulnerable_package_fails_it(tmp_path: Path) -> None:
    audit = audited(tmp_path, 1, "grpcio 1.0.0 CVE-2023-33953", "Found 1 known vulnerability in 1 package")
    assert audit.returncode == 1
    assert "CVE-2023-33953" in audit.stdout


def test_that_nobody_could_be_asked_is_said_and_fails_nothing(tmp_path: Path) -> None:
    audit = audited(tmp_path, 1, "", TRACEBACK)
    assert audit.returncode == 0
    assert audit.stdout.startswith("NOT AUDITED: requests.exceptions.ConnectionError: ")


def test_a_broken_audit_fails(tmp_path: Path) -> None:
    assert audited(tmp_path, 2, "", "pip-audit: error: unrecognized arguments").returncode == 2
