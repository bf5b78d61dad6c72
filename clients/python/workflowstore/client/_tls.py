"""The only place that knows which files encrypt the connections of a client, and when they have changed."""

import logging
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc

_log = logging.getLogger("workflowstore")

_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Tls:
    """An encrypted connection, and the files (PEM) that make it.

    The files are looked at again at every call. When they have changed, new calls go over a new connection with what
    they hold then, and calls that run go on over the one that they have. What cannot be used is logged, and the
    connection stays as it is.
    """

    ca: str | os.PathLike[str] | None = None
    """Authorities, one of which the server's certificate has to be of. None = the public ones that gRPC has."""

    certificate: str | os.PathLike[str] | None = None
    """The certificate to show to a server that asks for one (mutual TLS), with its chain. None = none."""

    key: str | os.PathLike[str] | None = None
    """Private key of `certificate`, without a password. None = it lies in the same file."""

    server_name: str | None = None
    """The name that the server's certificate has to have. None = the host of the target."""


class Credentials:
    """What the files of a Tls hold, as gRPC takes it."""

    def __init__(self, tls: Tls) -> None:
        """Read them for the first time.

        Raises:
            OSError: A file cannot be read.
            ValueError: A file does not hold what it should; the error names it.
        """
        if tls.key is not None and tls.certificate is None:
            raise ValueError("Tls.key needs the certificate it belongs to: Tls.certificate")
        self._tls = tls
        self._files = [Path(file) for file in (tls.ca, tls.certificate, tls.key) if file is not None]
        self._stamp = self._stamp_now()
        self.current = self._read()

    def renew(self) -> bool:
        """Read the files if they have changed, and tell whether `current` is another one now."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return False
        # Taken before reading: what is written meanwhile is read at the next call. What is of no use is told once.
        self._stamp = stamp
        try:
            self.current = self._read()
        except (OSError, ValueError) as error:
            _log.warning("calls go on with the TLS files as they were: %s", error)
            return False
        return True

    def _stamp_now(self) -> _Stamp:
        """What tells whether files have changed, also behind links. A file that is not there has a stamp as well."""
        stamps = []
        for file in self._files:
            try:
                found = file.stat()
            except OSError:
                stamps.append((0, 0, 0))
            else:
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
        return tuple(stamps)

    def _read(self) -> grpc.ChannelCredentials:
        ca = certificate = key = None
        if self._tls.ca is not None:
            ca = _authorities(Path(self._tls.ca))
        if self._tls.certificate is not None:
            certificate_file = Path(self._tls.certificate)
            key_file = certificate_file if self._tls.key is None else Path(self._tls.key)
            certificate, key = _pair(certificate_file, key_file)
        return grpc.ssl_channel_credentials(ca, key, certificate)


def _authorities(file: Path) -> bytes:
    pem = file.read_bytes()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _checked(f"{file} has no certificates (PEM)", lambda: context.load_verify_locations(cadata=pem.decode("ascii")))
    return pem


def _pair(certificate_file: Path, key_file: Path) -> tuple[bytes, bytes]:
    def no_password() -> str:
        # Else OpenSSL would ask for it on the terminal.
        raise ValueError("it has a password; give one without")

    def read() -> tuple[bytes, bytes]:
        return certificate_file.read_bytes(), key_file.read_bytes()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    while True:
        pair = read()
        _checked(
            f"{certificate_file} is no certificate (PEM) to which the private key in {key_file} belongs",
            lambda: context.load_cert_chain(certificate_file, key_file, no_password),
        )
        # OpenSSL has read the files for itself. Whoever renews them may have come in between.
        if read() == pair:
            return pair


def _checked(wrong: str, load: Callable[[], None]) -> None:
    """Have OpenSSL read what gRPC would take without a word, and end the process for (a certificate without a key)."""
    try:
        load()
    except ssl.SSLError as error:
        raise ValueError(f"{wrong}: {error.reason or error}") from error
    except ValueError as error:
        raise ValueError(f"{wrong}: {error}") from error
