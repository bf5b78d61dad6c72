"""The only place that knows how the certificates of a test are made: private authorities, and what they certify."""

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Certified:
    """A certificate and its key, in files of their own."""

    certificate: Path
    key: Path

    def replace(self, other: "Certified") -> None:
        """Put another pair into these files, one after the other, as most who renew certificates do."""
        self.certificate.write_bytes(other.certificate.read_bytes())
        self.key.write_bytes(other.key.read_bytes())


class Authority:
    """A private authority, in the file `certificate`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._authority = trustme.CA()
        self.certificate = folder / f"{name}.pem"
        self._authority.cert_pem.write_to_path(str(self.certificate))

    def certify(self, *names: str, file: str, expired: bool = False) -> Certified:
        """A certificate for these names, in files that begin with `file`."""
        leaf = self._authority.issue_cert(*names, not_after=LONG_AGO if expired else None)
        made = Certified(self._folder / f"{file}.pem", self._folder / f"{file}.key")
        made.certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(made.key))
        return made
