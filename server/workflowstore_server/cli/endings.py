"""The only place that knows how a command can end: the exit codes, and the words of each failure."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from workflowstore_server.cli.text import shown

if TYPE_CHECKING:
    from workflowstore.client.errors import WorkflowStoreError


class ExitCode(IntEnum):
    """What the process leaves with. Users script against these numbers: they never change."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    MALFORMED = 6
    FULL = 7
    DENIED = 8
    INTERRUPTED = 130
    PIPE_CLOSED = 141


MEANINGS: Final = {
    ExitCode.OK: "done; `delete` also when there was nothing to delete",
    ExitCode.FAILURE: "failed otherwise, for example by an internal error of the server",
    ExitCode.USAGE: "the command line, a document or the request is wrong; that was not sent or not applied",
    ExitCode.NOT_FOUND: "there is no such workflow (or no such service to ask the health of)",
    ExitCode.CONFLICT: "conflict: it exists already, is at another revision, or others kept changing it",
    ExitCode.UNAVAILABLE: "the server or its storage is unavailable, or did not answer in time",
    ExitCode.MALFORMED: "stored documents are malformed; what could be read was printed",
    ExitCode.FULL: "the state is too large, or the storage is full",
    ExitCode.DENIED: "the server does not know who calls, or does not allow that",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.PIPE_CLOSED: "the reader of standard output closed it, as `head` does",
}

EPILOG: Final = "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {words}" for code, words in MEANINGS.items())

_CODES: Final = {
    "INVALID_ARGUMENT": ExitCode.USAGE,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "ALREADY_EXISTS": ExitCode.CONFLICT,
    "ABORTED": ExitCode.CONFLICT,
    "UNAVAILABLE": ExitCode.UNAVAILABLE,
    "DEADLINE_EXCEEDED": ExitCode.UNAVAILABLE,
    "DATA_LOSS": ExitCode.MALFORMED,
    "RESOURCE_EXHAUSTED": ExitCode.FULL,
    "OUT_OF_RANGE": ExitCode.USAGE,
    "UNAUTHENTICATED": ExitCode.DENIED,
    "PERMISSION_DENIED": ExitCode.DENIED,
}

_REASONS: Final = {
    "ERROR_REASON_TOO_MANY_CALLS": ExitCode.UNAVAILABLE,
    "ERROR_REASON_IDENTITY_LIMIT_REACHED": ExitCode.UNAVAILABLE,
}
"""Reasons that mean something else than most with their code."""

_OUTCOMES: Final = {
    "not_applied": "nothing was written",
    "unknown": "whether this was applied is not known; load the workflow to find out",
}


class CommandFailed(Exception):
    """The command ends with `code`; standard error gets a line of words and one for each of the details."""

    def __init__(self, code: ExitCode, words: str, *details: str) -> None:
        super().__init__(code, words, *details)
        self.code = code
        self.lines = (words, *details)

    def __str__(self) -> str:
        """What is printed. What would act on a terminal is escaped: servers and documents are quoted."""
        return "\n  ".join(shown(line) for line in self.lines)


def failure_of(error: "WorkflowStoreError", address: str, timeout_seconds: float | None) -> CommandFailed:
    """How the command ends when a call to the server failed."""
    from workflowstore.client.errors import TlsError

    code = _REASONS.get(error.reason or "", _CODES.get(error.code, ExitCode.FAILURE))
    violations = getattr(error, "violations", ())
    if violations:
        return CommandFailed(
            code,
            "the request is invalid:",
            *(f"{violation.field}: {violation.description}" for violation in violations),
        )
    words = error.message
    # Without a reason the answer is not the service's: words of gRPC, which never heard of addresses and options.
    if error.reason is None and isinstance(error, TlsError):
        words = f"no connection to {address}: {words}"
    elif error.reason is None and error.code == "UNAVAILABLE":
        words = f"no server answers at {address}: {words}"
    elif error.reason is None and error.code == "DEADLINE_EXCEEDED" and timeout_seconds is not None:
        words = f"the server at {address} did not finish within {timeout_seconds:g} s; give it more with --timeout"
    elif error.reason is None and error.code != "INVALID_ARGUMENT":
        words = f"{words} ({error.code} from {address})"
    if error.outcome is not None and _OUTCOMES[error.outcome] not in words:
        words += f" ({_OUTCOMES[error.outcome]})"
    return CommandFailed(code, words)


@contextmanager
def unsendable() -> Iterator[None]:
    """Around a call of the client: what it refuses to send is the user's mistake."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise CommandFailed(ExitCode.USAGE, f"{error}; nothing was sent") from error
