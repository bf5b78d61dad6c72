"""The only place that knows what a bearer token is, and how a file says whose it is without holding it.

A token is 32 random bytes, so that one round of SHA-256 keeps it: nobody guesses it from its hash, and a slow hash,
which passwords need, would cost each call its time. It is found by its hash: how long that takes tells nothing of it.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

PREFIX: Final = "wst_"
"""Begins every token, for programs that look for secrets where none should be."""

TOKEN_BYTES: Final = 32
"""Random bytes of a token."""

ID_CHARACTERS: Final = 12
"""Characters of its hash by which people name a token: two of a million have the same once in 500 files."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
"""Names of identities that a token can be for."""

HASH_PREFIX: Final = "sha256:"
FORM: Final = "NAME sha256:HASH [EXPIRES]"


class WrongTokens(ValueError):
    """The file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token: not itself."""

    identity: str
    """Whose it is."""
    digest: bytes
    """Its SHA-256."""
    expires_at: datetime | None = None
    """From when on it is not known any more. None = never."""

    @property
    def id(self) -> str:
        """What people name it by."""
        return self.digest.hex()[:ID_CHARACTERS]

    @property
    def line(self) -> str:
        """Its line in the file."""
        expires = f" {self.expires_at.isoformat(timespec='seconds')}" if self.expires_at is not None else ""
        return f"{self.identity} {HASH_PREFIX}{self.digest.hex()}{expires}\n"


def new(identity: str, expires_at: datetime | None = None) -> tuple[str, Token]:
    """Make a token, and what is to be known of it.

    Raises: WrongTokens, when the name is none.
    """
    if not NAME.fullmatch(identity):
        raise WrongTokens(
            f"{identity!r} is no name: 1 to 128 letters, digits and any of ._:/@+-, a letter or digit first"
        )
    text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    return text, Token(identity, digest_of(text), expires_at)


def digest_of(text: str) -> bytes:
    """The hash of a token."""
    return hashlib.sha256(text.encode()).digest()


def parse(text: str) -> dict[bytes, Token]:
    """Read what a file says: the tokens by their hashes. Lines that are empty or begin with # say nothing.

    Raises: WrongTokens.
    """
    found: dict[bytes, Token] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        token = _token(words)
        if token is None:
            raise WrongTokens(f"line {number} is not {FORM}")
        if token.digest in found:
            raise WrongTokens(f"line {number} has a token that an earlier line has too")
        found[token.digest] = token
    return found


def read(file: Path) -> dict[bytes, Token]:
    """Read a file; one that is not there has no tokens.

    Raises: WrongTokens, OSError.
    """
    return parse(_text_of(file))


def add(file: Path, token: Token) -> None:
    """Add a token to a file, which is made if it is not there.

    Raises: WrongTokens, OSError.
    """
    with _replaced(file) as text:
        parse(text[0])
        text[0] += ("" if text[0].endswith("\n") or not text[0] else "\n") + token.line


def remove(file: Path, name: str) -> list[Token]:
    """Take out of a file the token with this id, or all of this identity, and return them. The rest stays as it is.

    Raises: WrongTokens, OSError.
    """
    with _replaced(file) as text:
        gone = [token for token in parse(text[0]).values() if name in (token.id, token.identity)]
        digests = {HASH_PREFIX + token.digest.hex() for token in gone}
        lines = text[0].splitlines(keepends=True)
        text[0] = "".join(line for line in lines if not digests & set(line.split()[1:2]))
    return gone


def _token(words: list[str]) -> Token | None:
    try:
        identity, hashed, *rest = words
        digest = bytes.fromhex(hashed.removeprefix(HASH_PREFIX))
        expires_at = datetime.fromisoformat(rest[0]) if rest else None
    except ValueError:
        return None
    if len(rest) > 1 or not hashed.startswith(HASH_PREFIX) or len(digest) != hashlib.sha256().digest_size:
        return None
    if not NAME.fullmatch(identity) or (expires_at is not None and expires_at.tzinfo is None):
        return None
    return Token(identity, digest, expires_at)


def _text_of(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise WrongTokens("it is no text") from None


@contextlib.contextmanager
def _replaced(file: Path) -> Iterator[list[str]]:
    """Yield a file's text, and put what becomes of it in its place: a server reads the one or the other, never a part.

    Others who do the same wait. Only its owner may read it.
    """
    # The lock is on the directory: the file itself is replaced.
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        text = [_text_of(file)]
        yield text
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "w") as written:
                written.write(text[0])
                written.flush()
                os.fsync(written.fileno())
            # mkstemp has made it readable by its owner alone.
            Path(name).replace(file)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
        os.fsync(directory)
    finally:
        os.close(directory)
