"""The only place that knows the forms of the server's log, and what of others' has no place in it."""

import json
import logging
import sys
import time
from datetime import UTC, datetime

from workflowstore_server.cli.text import shown
from workflowstore_server.model import current_call

log = logging.getLogger(__name__)


class HumanFormatter(logging.Formatter):
    """Time in UTC, level, message and the call it is about, in one line; a traceback follows below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the name is logging's)
        # Messages quote what clients and NATS said.
        record.message = shown(record.message)
        call_id = current_call.call_id()
        return super().formatMessage(record) + (f" [call {call_id}]" if call_id else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger and message.

    Beside them `call_id` of what was done for a call, what is said of one that has ended, and `exception` of an error.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if call_id := current_call.call_id():
            line["call_id"] = call_id
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        # ASCII: whatever the encoding of standard error is, and nothing in it acts on a terminal.
        return json.dumps(line)


def _is_not_unsent(record: logging.LogRecord) -> bool:
    """Keep as a line for debugging what grpc.aio says as an error, with a traceback, of a reply that was not sent.

    Its client went away in just that moment, as 8 of 20,000 did that reset their connections under load; nobody should
    be woken for it. What was asked for has been done, and the access log has the call.
    """
    unsent = record.exc_info is not None and getattr(record.exc_info[0], "__name__", "") == "ExecuteBatchError"
    if unsent:
        log.debug("a reply was not sent, its client has gone: %s", record.getMessage())
    return not unsent


def set_up(form: str, level: str) -> None:
    """Log to standard error in a form (human or json) whatever has at least a level (debug to error)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else HumanFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_not_unsent)
