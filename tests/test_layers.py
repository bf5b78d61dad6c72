"""The layers of the house, and the one home of each outside library, as pyproject.toml draws them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_imports_point_down_and_stay_in_their_homes() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    # The number, because a contract that is lost by accident would be kept too.
    assert "Contracts: 9 kept, 0 broken." in found.stdout, found.stdout
    assert found.returncode == 0
