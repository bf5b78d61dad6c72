"""The only place that knows how a NATS connection is opened and replaced.

A lost connection is never repaired, always replaced: nats-py would keep what was being sent when the connection broke
and send it after the reconnect, long after its caller was told of the failure. A new client starts empty.
"""

import asyncio
import contextlib
import logging
import random
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import nats.errors
from nats.aio.client import Client

from workflowstore_server.store.figures import NatsFigures
from workflowstore_server.store.jetstream.link import Link, NotSentError

log = logging.getLogger(__name__)

INBOX_PREFIX: Final = "_INBOX_workflowstore"
"""What the subjects begin with to which NATS replies: one of ours, so that a permission can name it."""

REFUSAL: Final = re.compile(r'permissions violation for publish to "([^"]+)"')
INBOX_REFUSAL: Final = "permissions violation for subscription"
TOLD_MAX: Final = 1000
"""Refused subjects that the log has been told of and is not told of again; each key is one."""

DISPOSE_SECONDS_MAX: Final = 0.5
CHECK_SECONDS: Final = 0.25
"""How often a connection is looked at that has not told that it is closed."""


@dataclass(frozen=True, slots=True)
class NatsOptions:
    """How to reach NATS."""

    credentials_file: Path | None = None
    """A `.creds` file with a user JWT and its nkey seed. None = no such credential."""

    nkey_file: Path | None = None
    """A file with the seed of an nkey (`SU...`), which is another way than `credentials_file`. None = none."""

    user: str | None = None
    """User name, together with `password`. None = none."""

    password: str | None = None
    """Password of `user`. Never logged."""

    tls_ca_file: Path | None = None
    """Certificates (PEM) that the NATS server's certificate is checked with. None = the system's, if TLS is used."""

    tls_certificate_file: Path | None = None
    """This client's certificate (PEM), for a NATS server that verifies clients. None = none."""

    tls_key_file: Path | None = None
    """Private key (PEM) of `tls_certificate_file`. None = it lies in the same file."""

    request_timeout_seconds: float = 5.0
    """How long one request waits for its reply. It does not bound a call, which may make several."""

    connect_timeout_seconds: float = 2.0
    """How long one attempt to connect to one server may take. A server that refuses a connection is asked twice."""

    reconnect_wait_seconds_max: float = 1.0
    """Longest pause between two rounds of attempts; the first pause is 0.05 s and each next one doubles. A Watch goes
    on within 2 s of the return of NATS."""

    ping_interval_seconds: int = 5
    """How often a silent connection is checked. It is given up after two unanswered pings."""

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the TLS settings, or None when no file was named: a `tls://` address then uses the system's.

        Raises: OSError when a file cannot be read, ssl.SSLError when it does not hold what it should.
        """
        if self.tls_ca_file is None and self.tls_certificate_file is None:
            return None
        context = ssl.create_default_context(cafile=self.tls_ca_file)
        if self.tls_certificate_file is not None:
            context.load_cert_chain(self.tls_certificate_file, self.tls_key_file, _no_password)
        return context


class CannotConnect(ConnectionError):
    """No NATS server could be reached, or none took the credential; the text says which."""


class Connection(Protocol):
    """Where a store finds its link to NATS."""

    @property
    def link(self) -> Link:
        """The live link.

        Raises: NotSentError when there is none at the moment.
        """
        ...


class BorrowedConnection:
    """A link over somebody else's nats-py client, which stays open and keeps its own ways of reconnecting."""

    def __init__(self, client: Client) -> None:
        self.link = Link(client, NatsOptions().request_timeout_seconds, NatsFigures())


class OwnedConnection:
    """A connection that is replaced whenever it is lost, for ever.

    `addresses` is asked before every round of attempts, because an embedded server has a new port after a restart.
    """

    def __init__(self, options: NatsOptions, addresses: Callable[[], Sequence[str]], name: str) -> None:
        self._options = options
        self._addresses = addresses
        self._name = name
        self._link: Link | None = None
        self._client: Client | None = None
        self._lost = asyncio.Event()
        self._discovered: list[str] = []
        self._told: set[str] = set()
        self.figures = NatsFigures()
        """What is counted of it, over all the links that it has had."""

    @property
    def link(self) -> Link:
        if self._link is None:
            raise NotSentError("not connected to NATS")
        return self._link

    @property
    def connected(self) -> bool:
        """Whether there is a live link."""
        return self._link is not None

    async def open(self) -> None:
        """Connect for the first time.

        Raises: CannotConnect when no server can be reached or the credential is refused.
        """
        try:
            await self._connect()
        except CannotConnect as error:
            if not isinstance(error.__cause__, TimeoutError):
                raise
            # Standing still for a moment, here or there, is no reason not to start.
            log.warning("NATS has not answered in time and is asked again")
            await self._connect()

    async def keep(self) -> None:
        """Replace the connection whenever it is lost, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._lost.wait()
            # nats-py does not tell when it fails at what it had still to send.
            if self._client is not None and self._client.is_closed and not self._lost.is_set():
                await self._on_closed()
            if self._lost.is_set():
                await self._reconnect()

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            link, self._link = self._link, None
            if link is not None:
                await link.close()
            await self._client.close()

    async def _reconnect(self) -> None:
        wait = 0.05
        task = asyncio.current_task()
        # nats-py swallows a cancellation that meets it while it flushes; what asked for it must not wait for ever.
        while task is None or not task.cancelling():
            try:
                await self._connect()
            except CannotConnect as error:
                self.figures.attempts_failed += 1
                log.warning("cannot connect to NATS: %s", error)
                await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 (spreads load, hides nothing)
                wait = min(wait * 2, self._options.reconnect_wait_seconds_max)
            else:
                log.info("connected to NATS again")
                return
        raise asyncio.CancelledError

    async def _connect(self) -> None:
        addresses, proof = self._proof()
        servers = list(dict.fromkeys((*addresses, *self._discovered)))
        # One by one, because nats-py gives up all of them when one takes the connection and then says nothing.
        random.shuffle(servers)
        failures: list[CannotConnect] = []
        for server in servers:
            try:
                await self._connect_to(server, proof)
            except CannotConnect as error:
                failures.append(error)
            else:
                return
        # What was only not answered in time is what may be worth another attempt.
        causes = sorted((error.__cause__ for error in failures), key=lambda cause: not isinstance(cause, TimeoutError))
        raise CannotConnect("; ".join(dict.fromkeys(map(str, failures)))) from causes[0]

    async def _connect_to(self, server: str, proof: dict[str, Any]) -> None:
        options = self._options
        refusals: list[Exception] = []
        connecting = True

        async def hear(error: Exception) -> None:
            if connecting:
                refusals.append(error)
            else:
                self._hear(_words(error))

        client = Client()
        self._lost.clear()
        try:
            # nats-py has no bound of its own for some of its steps.
            async with asyncio.timeout(2 * options.connect_timeout_seconds):
                await client.connect(
                    servers=[server],
                    name=self._name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,  # applies to the first connect too; 0 would mean for ever
                    reconnect_time_wait=0,
                    connect_timeout=options.connect_timeout_seconds,  # type: ignore[arg-type]
                    ping_interval=options.ping_interval_seconds,
                    max_outstanding_pings=2,
                    pending_size=0,
                    inbox_prefix=INBOX_PREFIX,
                    error_cb=hear,
                    closed_cb=self._on_closed,
                    **proof,
                )
                link = Link(client, options.request_timeout_seconds, self.figures)
                await link.open()
                # What NATS has to say to that comes before its second answer; the first ping may overtake what nats-py
                # has still to send.
                await client.flush()
                await client.flush()
        except Exception as error:
            await _dispose(client)
            # "No servers" hides why each of them was not to be had, and a credentials file can fail in any way.
            hidden = isinstance(error, nats.errors.NoServersError) and refusals
            raise CannotConnect(_words(refusals[-1] if hidden else error)) from error
        except asyncio.CancelledError:
            await _dispose(client)
            raise
        if any(INBOX_REFUSAL in _words(refusal) for refusal in refusals):
            await _dispose(client)
            raise CannotConnect(f"NATS does not permit this server to subscribe to {INBOX_PREFIX}.>; see docs/nats.md")
        connecting = False
        self._client = client
        self._discovered = [address.geturl() for address in client.discovered_servers]
        self._link = link
        self.figures.connected = True
        self.figures.connections_made += 1

    def _proof(self) -> tuple[list[str], dict[str, Any]]:
        """Return the addresses, and how this client says who it is and knows whom it speaks to, as nats-py takes it.

        All files are read anew each time: they are renewed by being replaced.

        Raises: CannotConnect.
        """
        options = self._options
        _check_credentials(options.credentials_file)
        _check_nkey(options.nkey_file)
        addresses, credential = _split(self._addresses())
        if options.user is not None and options.password is not None:
            credential = {"user": options.user, "password": options.password}
        return addresses, {
            **credential,
            "user_credentials": str(options.credentials_file) if options.credentials_file else None,
            "nkeys_seed": str(options.nkey_file) if options.nkey_file else None,
            "tls": _tls_of(options),
        }

    def _hear(self, words: str) -> None:
        """Deal with the server's remark on what was sent."""
        refused = REFUSAL.search(words)
        if refused is not None and self._link is not None:
            words = f"publishing to {self._link.refuse(refused[1])} is not permitted; see docs/nats.md"
        if words not in self._told:
            if len(self._told) >= TOLD_MAX:
                self._told.clear()
            self._told.add(words)
            log.warning("NATS: %s", words)

    async def _on_closed(self) -> None:
        link, self._link = self._link, None
        self.figures.connected = False
        if link is not None:
            link.lost()
        self._lost.set()


def _check_credentials(file: Path | None) -> None:
    """Refuse a file that has no token: nats-py would read on at its end for ever."""
    try:
        if file is not None and b"BEGIN NATS USER JWT" not in file.read_bytes():
            raise CannotConnect(f"{file} is no credentials file: it has no user JWT")
    except OSError as error:
        raise CannotConnect(f"cannot read {file}: {error.strerror}") from error


def _check_nkey(file: Path | None) -> None:
    """Refuse a file that holds something else: the nkeys library says no more than that."""
    if file is None:
        return
    import nkeys

    try:
        nkeys.from_seed(bytearray(file.read_bytes().strip())).wipe()
    except OSError as error:
        raise CannotConnect(f"cannot read {file}: {error.strerror}") from error
    except Exception as error:
        # It also lets through what base64 and its own cryptography raise, with the seed in the words of some.
        raise CannotConnect(f"{file} is not the seed of an nkey, which is one line that begins with SU") from error


def _tls_of(options: NatsOptions) -> ssl.SSLContext | None:
    try:
        return options.tls_context()
    except OSError as error:  # ssl.SSLError is one
        files = (options.tls_ca_file, options.tls_certificate_file, options.tls_key_file)
        named = ", ".join(str(file) for file in files if file is not None)
        raise CannotConnect(f"cannot use {named} for TLS: {_words(error)}") from error


def _no_password() -> str:
    # Else OpenSSL would ask for it on the terminal.
    raise CannotConnect("the private key has a password; give one without")


async def _dispose(client: Client) -> None:
    """Close a client that did not connect. nats-py waits for ever for the end of a broken TLS handshake."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.close(), DISPOSE_SECONDS_MAX)


def _split(addresses: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Take the credential out of addresses, as arguments for nats-py.

    nats-py would send it as it is written there, percent signs and all, and to servers found through others not at all.
    """
    credential: dict[str, str] = {}
    plain = []
    for address in addresses:
        parts = urlsplit(address)
        if parts.username and parts.password is None:
            credential = {"token": unquote(parts.username)}
        elif parts.username:
            credential = {"user": unquote(parts.username), "password": unquote(parts.password or "")}
        plain.append(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    return plain, credential


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
