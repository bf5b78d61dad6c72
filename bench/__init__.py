"""Measures a server beside the floors under it: `python -m bench`, or `make bench`."""

import os

# Processes are started while channels are open. They run another program at once, so gRPC need not prepare for the
# fork, and would remark that it cannot. It reads this when it is imported.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
