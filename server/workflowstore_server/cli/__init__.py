"""The only place that knows how the process of the `workflowstore` command starts and leaves."""

import sys
from typing import Final

NEEDS_CLI: Final = 'workflowstore: the command line is not installed; install it with: pip install "workflowstore[cli]"'


def main() -> None:
    """Run the command of this process's arguments and leave with its exit code."""
    try:
        from workflowstore_server.cli.commands import run

        code = run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"click", "rich", "grpc_health", "msgspec"}:
            raise
        sys.stderr.write(NEEDS_CLI + "\n")
        code = 1
    except KeyboardInterrupt:
        # While Python was still loading the command.
        code = 130
    sys.exit(code)
