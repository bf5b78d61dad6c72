"""The only place that knows how to call the service. Its public names are what `workflowstore` exports."""
