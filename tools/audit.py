"""Ask whether any locked package is known to be vulnerable, and say so plainly when nobody could be asked."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP_AUDIT = Path(sys.executable).with_name("pip-audit")
OPTIONS = (
    # The locks name every package with its hashes, so nothing has to be resolved.
    "--disable-pip", "--require-hashes", "--vulnerability-service=osv", "--progress-spinner=off", "--timeout=15",
)  # fmt: skip
OUT_OF_REACH = ("requests.exceptions.ConnectionError", "requests.exceptions.ConnectTimeout", "pip_audit._service")
"""How the line of pip-audit's error begins when its service did not answer. Everything else fails the audit."""


def main() -> int:
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    requirements = [argument for lock in locks for argument in ("--requirement", str(lock))]
    audited = subprocess.run([PIP_AUDIT, *requirements, *OPTIONS], capture_output=True, text=True)
    error = audited.stderr.strip().rpartition("\n")[2]
    if audited.returncode and error.startswith(OUT_OF_REACH):
        print(f"NOT AUDITED: {error}")
        return 0
    print(audited.stdout + audited.stderr, end="")
    return audited.returncode


if __name__ == "__main__":
    sys.exit(main())
