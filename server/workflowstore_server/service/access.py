"""The only place that knows who calls, and whether they may do what they ask for (docs/access.md)."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import grpc

from workflowstore_server.model.errors import IdentityLimitReached, PermissionDenied, StoreError, Unauthenticated
from workflowstore_server.model.selection import WorkflowFilter, narrowed
from workflowstore_server.service import policy, tokens
from workflowstore_server.service.policy import ALL, NOTHING, Access, Limits, Policy, Reach, WrongPolicy
from workflowstore_server.service.rules import RULES
from workflowstore_server.service.tokens import Token, WrongTokens

log = logging.getLogger(__name__)

READ_SECONDS: Final = 0.5
"""How often the files are read again, and running streams looked at for whether they may go on. What has changed is
taken when it is found the second time: who writes into a file leaves it empty for a moment, which as a policy is
access for nobody, and as tokens that all are revoked."""

FILE_BYTES_MAX: Final = 1024 * 1024
"""Bytes of a file: 9,000 tokens, of which the event loop makes something in 50 to 80 ms when they change."""

TOLD_CHARACTERS_MAX: Final = 256
"""Characters of a name in a request, of whatever length, that a refusal repeats: clients take 8 KiB of trailers."""

BURST_SECONDS: Final = 1.0
"""For how long an identity that has sent nothing may send more than its rate."""

HEADER: Final = "authorization"
SCHEME: Final = "bearer "

CERTIFICATE_NAMES: Final = ("x509_common_name", "x509_subject_alternative_name")
"""Properties of a connection whose client has shown a certificate; the first name that there is names its identity."""

Context = grpc.aio.ServicerContext[Any, Any]


class CannotReadAccess(Exception):
    """The files with tokens and policy cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """Where it stands who may do what. Both files are read again when they change."""

    policy_file: Path
    tokens_file: Path | None = None
    """None = only client certificates tell who calls."""


class _Allowance:
    """How many bytes an identity may send now. A request may be larger: the next ones wait the longer."""

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._at = -math.inf
        self._bytes = 0.0

    def take(self, size_bytes: int, rate: int, now: float) -> float:
        """Take so many and return 0, or return how many seconds to wait."""
        self._bytes = min(rate * BURST_SECONDS, self._bytes + (now - self._at) * rate)
        self._at = now
        if self._bytes <= 0:
            return (1 - self._bytes) / rate
        self._bytes -= size_bytes
        return 0.0


@dataclass(slots=True)
class Caller:
    """Who calls: an identity, by a token or a certificate, and what it may do by the files as they were read last."""

    identity: str
    digest: bytes | None
    """Of the token. None = it was a certificate."""
    expires_at: float
    """In seconds since 1970. Infinite = never."""
    reach: Reach
    limits: Limits
    allowance: _Allowance
    share: str
    """What its share of the places is counted under."""


@dataclass(slots=True)
class Permit:
    """That a call may be answered, and for what."""

    caller: Caller
    bucket: str
    access: Access
    prefixes: tuple[str, ...]
    """Of the workflows that the caller may have this access to."""
    about: tuple[str, ...]
    """The workflows that the call is about, or prefixes of theirs."""
    within: tuple[str, ...] = ()
    """What a filter selects from. Empty = from all."""


Lost = Callable[[Permit], StoreError | None]
"""Why a call may not go on, None if it may."""


_permit: Final[ContextVar[Permit | None]] = ContextVar("permit", default=None)
"""That of the call which is answered. None = the server does not ask who calls."""


def confined(wanted: WorkflowFilter) -> WorkflowFilter:
    """The filter of the call that is answered, within what its caller may know of."""
    permit = _permit.get()
    return replace(wanted, within=permit.within) if permit is not None and permit.within else wanted


def visible(buckets: Collection[str]) -> list[str]:
    """Those of the buckets that the caller may read anything in."""
    permit = _permit.get()
    return [name for name in buckets if permit is None or permit.caller.reach[name][Access.READ]]


def sees_all_of_the_bucket() -> bool:
    """Whether the caller may read whatever is in the bucket."""
    permit = _permit.get()
    return permit is None or permit.prefixes == ALL


def own(request_id: str) -> str:
    """A request id that is no other caller's, for writes that are not known by the workflow that they are to."""
    permit = _permit.get()
    return request_id if permit is None or not request_id else f"{permit.caller.identity}\0{request_id}"


class Gate:
    """Knows callers, and lets pass what they may do."""

    def __init__(self, options: AccessOptions, buckets: Sequence[str]) -> None:
        """Read the files.

        Raises: CannotReadAccess.
        """
        self._options = options
        self._buckets = buckets
        self._default = buckets[0]
        self._texts: list[bytes] = []
        self._policy: Policy
        self._by_digest: dict[bytes, Caller] = {}
        self._by_token: dict[str, Caller] = {}
        """Those who have called: to make the hash of a token each time would take a fiftieth of a Load."""
        self._allowances: dict[str, _Allowance] = {}
        self._take(self._read_files())

    def caller(self, context: Context) -> Caller:
        """Who makes a call. A token names the caller even where the connection has a certificate.

        Raises: Unauthenticated.
        """
        values = [value for key, value in context.invocation_metadata() or () if key == HEADER]
        if not values:
            return self._by_certificate(context.auth_context())
        # Two would leave it to chance which of them counts.
        value = values[0] if len(values) == 1 else ""
        if not isinstance(value, str) or value[: len(SCHEME)].lower() != SCHEME:
            raise Unauthenticated
        token = value[len(SCHEME) :].strip()
        caller = self._by_token.get(token)
        if caller is not None and time.time() < caller.expires_at:
            return caller
        caller = self._by_token[token] = self._known(tokens.digest_of(token))
        return caller

    def admit(self, caller: Caller, rpc: str, request: Any) -> Permit:
        """Let a call be answered: whatever it then asks `confined` and its kin is told for its caller.

        Raises: PermissionDenied, and Unauthenticated where the token has been revoked since the call came.
        """
        caller = self._current(caller)
        rule = RULES[rpc]
        access = rule.access(request)
        bucket = request.bucket or self._default
        prefixes = caller.reach.get(bucket, NOTHING)[access]
        outside: str | None = None
        about: tuple[str, ...] = ()
        within: tuple[str, ...] = ()
        if rule.selects(request):
            asked = request.filter.workflow_id_prefix
            about = (asked,) if prefixes == ALL else narrowed(asked, prefixes)
            within = () if prefixes == ALL else about
            allowed = bool(about)
        elif rule.workflow_ids is None:
            allowed = bool(prefixes)
        else:
            about = tuple(rule.workflow_ids(request))
            outside = next((workflow_id for workflow_id in about if not workflow_id.startswith(prefixes)), None)
            allowed = bool(prefixes) and outside is None
        if not allowed:
            names = (request.bucket[:TOLD_CHARACTERS_MAX], (outside or "")[:TOLD_CHARACTERS_MAX])
            raise PermissionDenied(caller.identity, access.name.lower(), *names)
        permit = Permit(caller, bucket, access, prefixes, about, within)
        _permit.set(permit)
        return permit

    def take_bytes(self, caller: Caller, size_bytes: int) -> None:
        """Count the bytes of a request. Raises: IdentityLimitReached."""
        rate = caller.limits.request_bytes_per_second
        if rate is None:
            return
        wait_seconds = caller.allowance.take(size_bytes, rate, time.monotonic())
        if wait_seconds:
            raise IdentityLimitReached(caller.identity, "request bytes a second", rate, wait_seconds)

    def buckets_of(self, context: Context) -> list[str]:
        """The buckets that the caller may read anything in; none, if it is not known."""
        try:
            caller = self.caller(context)
        except Unauthenticated:
            return []
        return [name for name in self._buckets if caller.reach[name][Access.READ]]

    async def watch_over(self, end_lost: Callable[[Lost], None]) -> None:
        """Read the files again when they change, and have streams ended that may not go on, until cancelled."""
        told = ""
        texts = self._texts
        while True:
            await asyncio.sleep(READ_SECONDS)
            try:
                before, texts = texts, await asyncio.to_thread(self._read_files)
                if texts != self._texts and texts == before:
                    self._take(texts)
                    log.info("what may be done by whom was read again: %d tokens are known", len(self._by_digest))
                told = ""
            except CannotReadAccess as error:
                if str(error) != told:
                    told = str(error)
                    log.error("%s; what was read before holds", told)
            except Exception:
                # Whatever it is, streams go on being looked at, and the files read.
                log.exception("what may be done by whom was not read again; what was read before holds")
            end_lost(self._lost)

    def _read_files(self) -> list[bytes]:
        return [_bytes_of(file) for file in (self._options.policy_file, self._options.tokens_file) if file is not None]

    def _take(self, texts: list[bytes]) -> None:
        """Raises: CannotReadAccess, and then nothing has changed."""
        file = self._options.policy_file
        try:
            found = policy.parse(texts[0].decode(), self._buckets)
            file = self._options.tokens_file or file
            known = tokens.parse(texts[1].decode()) if self._options.tokens_file is not None else {}
        except (WrongPolicy, WrongTokens, UnicodeDecodeError) as error:
            raise CannotReadAccess(f"{file} cannot be used: {error}") from error
        for bucket in found.unserved:
            log.warning("%s grants access to bucket %s, which is not served here", self._options.policy_file, bucket)
        self._texts, self._policy = texts, found
        self._by_digest = {digest: self._caller(token.identity, token) for digest, token in known.items()}
        self._by_token = {}

    def _caller(self, identity: str, token: Token | None = None) -> Caller:
        expires_at = token.expires_at.timestamp() if token is not None and token.expires_at is not None else math.inf
        return Caller(
            identity,
            token.digest if token is not None else None,
            expires_at,
            self._policy.reach(identity),
            self._policy.limits(identity),
            self._allowances.setdefault(identity, _Allowance()),
            f"identity {identity}",
        )

    def _current(self, caller: Caller) -> Caller:
        """The caller as it is known now. Raises: Unauthenticated."""
        return self._caller(caller.identity) if caller.digest is None else self._known(caller.digest)

    def _known(self, digest: bytes) -> Caller:
        caller = self._by_digest.get(digest)
        if caller is None or time.time() >= caller.expires_at:
            raise Unauthenticated
        return caller

    def _by_certificate(self, connection: Mapping[str, Iterable[bytes]]) -> Caller:
        for name in CERTIFICATE_NAMES:
            for value in connection.get(name, ()):
                if value:
                    return self._caller(value.decode(errors="backslashreplace"))
        raise Unauthenticated

    def _lost(self, permit: Permit) -> StoreError | None:
        """Why a stream may not go on by what is known now, None if it may."""
        caller = permit.caller
        try:
            now = self._current(caller)
        except Unauthenticated as error:
            return error
        if now is caller:
            return None
        prefixes = now.reach[permit.bucket][permit.access]
        if prefixes and all(text.startswith(prefixes) for text in permit.about):
            permit.caller = now
            return None
        return PermissionDenied(caller.identity, permit.access.name.lower(), permit.bucket, "")


def _bytes_of(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            found = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise CannotReadAccess(f"cannot read {file}: {error.strerror}") from error
    if len(found) > FILE_BYTES_MAX:
        raise CannotReadAccess(f"{file} has more than {FILE_BYTES_MAX} bytes")
    return found
