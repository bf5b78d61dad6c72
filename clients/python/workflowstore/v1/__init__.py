"""The only place that knows the generated messages and stubs of `workflowstore.v1`: `from workflowstore.v1 import ...`."""
