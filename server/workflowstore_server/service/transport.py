"""The only place that knows how the listener is encrypted, and when it takes certificates that are newer."""

import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import grpc

log = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 0.2
"""How long ago the last handshake must have begun when certificates change. gRPC frees what it made of the old ones
while another thread may be about to use that for a handshake (grpc/grpc#36693), which ends the process. It is about to
for microseconds, or for as long as the system keeps it from running: twice the period of the kernel's limit on
processor time. No other thread comes so far meanwhile, because gRPC asks for certificates under a lock."""

_KEPT: Final[list[grpc.ServerCredentials]] = []
"""Credentials are never freed: gRPC has a bare pointer to them, which it may follow while a server stops."""

_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


class CertificatesUnusable(Exception):
    """A file cannot be used for TLS; the text names it, says why and what to do."""


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How the listener is encrypted. TLS 1.2 at least, which is gRPC's own floor."""

    certificate_file: Path
    """The server's certificate and those between it and its authority (PEM). Read anew when it changes, as all three
    are: connections that are made from then on get the new one, those that there are stay as they are."""

    key_file: Path | None = None
    """Private key (PEM, without a password) of `certificate_file`. None = it lies in the same file."""

    client_ca_file: Path | None = None
    """Authorities (PEM), one of which a client's certificate has to be of. None = clients are not asked for one."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that there are, the certificate's first."""
        named = (self.certificate_file, self.key_file, self.client_ca_file)
        return tuple(file for file in named if file is not None)


class Certificates:
    """The certificates of a listener, which are looked at again before every handshake."""

    def __init__(self, options: TlsOptions) -> None:
        """Read them for the first time.

        Raises: CertificatesUnusable.
        """
        self._options = options
        self._stamp, self._first = self._read()
        self._asked_at = time.monotonic()

    def credentials(self) -> grpc.ServerCredentials:
        """The credentials of a listener, for one port."""
        mutual = self._options.client_ca_file is not None
        # None is what gRPC takes for no change, of which its type says nothing.
        made = grpc.dynamic_ssl_server_credentials(self._first, self._renewed, mutual)  # type: ignore[arg-type]
        _KEPT.append(made)
        return made

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The certificates, if the files have changed. None = what there was goes on.

        gRPC asks on its own threads, one at a time, before every handshake. Looking costs a few microseconds.
        """
        renewed = self._look()
        if renewed is not None:
            time.sleep(max(0.0, self._asked_at + SETTLE_SECONDS - time.monotonic()))
        self._asked_at = time.monotonic()
        return renewed

    def _look(self) -> grpc.ServerCertificateConfiguration | None:
        stamp = _stamp_of(self._options.files)
        if stamp == self._stamp:
            return None
        # Also what cannot be used is told once, and not at every handshake.
        self._stamp = stamp
        try:
            self._stamp, renewed = self._read()
        except CertificatesUnusable as error:
            log.error("TLS goes on with the certificate that it has: %s", error)
            return None
        log.info("TLS: new connections get the certificate that is now in %s", self._options.certificate_file)
        return renewed

    def _read(self) -> tuple[_Stamp, grpc.ServerCertificateConfiguration]:
        options = self._options
        # Taken first: what is written while it is read has another stamp afterwards, and is read again.
        stamp = _stamp_of(options.files)
        certificate, key = _pair(options.certificate_file, options.key_file or options.certificate_file)
        authorities = _authorities(options.client_ca_file) if options.client_ca_file is not None else None
        return stamp, grpc.ssl_server_certificate_configuration([(key, certificate)], authorities)


def _stamp_of(files: tuple[Path, ...]) -> _Stamp:
    """What tells whether files have changed, also behind links. A file that is not there has a stamp as well."""
    stamps = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            stamps.append((0, 0, 0))
        else:
            stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(stamps)


def _pem(file: Path, what: str, mark: bytes) -> bytes:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise CertificatesUnusable(f"cannot read {file}: {error.strerror}") from error
    if mark not in text:
        raise CertificatesUnusable(f"{file} has no {what.partition(' ')[2]}; give {what} as PEM")
    return text


def _pair(certificate_file: Path, key_file: Path) -> tuple[bytes, bytes]:
    def read() -> tuple[bytes, bytes]:
        certificate = _pem(certificate_file, "a certificate", b"CERTIFICATE-----")
        return certificate, _pem(key_file, "a private key", b"PRIVATE KEY-----")

    def load() -> None:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate_file, key_file, no_password)

    def no_password() -> str:
        # Else OpenSSL would ask for it on the terminal.
        raise CertificatesUnusable(f"the private key in {key_file} has a password; give one without")

    where = certificate_file if certificate_file == key_file else f"{certificate_file} with the key in {key_file}"
    while True:
        pair = read()
        _checked(where, load)
        # OpenSSL has read the files for itself. Whoever renews them may have come in between.
        if read() == pair:
            return pair


def _authorities(file: Path) -> bytes:
    pem = _pem(file, "a certificate", b"CERTIFICATE-----")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _checked(file, lambda: context.load_verify_locations(cadata=pem.decode("ascii", "replace")))
    return pem


def _checked(where: Path | str, load: Callable[[], None]) -> None:
    """Have OpenSSL read what gRPC would refuse without a word of why."""
    try:
        load()
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificatesUnusable(f"{where} cannot be used: the key is not that of the certificate") from error
        raise CertificatesUnusable(f"{where} cannot be used: {error.reason or error}") from error
    except OSError as error:
        raise CertificatesUnusable(f"cannot read {where}: {error.strerror}") from error
