"""The only place that knows how a workflow state is written down: its key, its document, its times and its payloads."""
