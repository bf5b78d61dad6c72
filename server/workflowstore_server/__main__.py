"""`python -m workflowstore_server`: the same as the `workflowstore` command."""

from workflowstore_server.cli import main

main()
