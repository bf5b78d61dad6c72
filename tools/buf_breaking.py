"""Compare the .proto files with those of a git branch, by buf's rules for breaking changes.

The branch may be absent (a detached clone) or may not have the API yet; then there is nothing to break.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sys.executable).with_name("buf")


def has_api(reference: str) -> bool:
    tree = ["git", "cat-file", "-e", f"{reference}:proto/workflowstore/v1/workflow_store.proto"]
    return subprocess.run(tree, cwd=ROOT, stderr=subprocess.DEVNULL, check=False).returncode == 0


branch = sys.argv[1]
for reference in (f"origin/{branch}", branch):
    if has_api(reference):
        against = f".git#ref={reference}"
        sys.exit(subprocess.run([BUF, "breaking", "--against", against], cwd=ROOT, check=False).returncode)
print(f"buf breaking: {branch} has no API yet, nothing to compare with")
