"""The only place that knows what NATS knows its users by: nkeys, alone or signed for by an operator (its ADR-14)."""

import base64
import hashlib
import json
import os
from typing import Any

import nkeys

CREDS = """-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


def _key(kind: int) -> nkeys.KeyPair:
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), kind))


def _name(key: nkeys.KeyPair) -> str:
    return key.public_key.decode()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _jwt(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, name: str, **nats: Any) -> str:
    claims: dict[str, Any] = {
        "iat": 1_700_000_000,
        "iss": _name(issuer),
        "name": name,
        "sub": _name(subject),
        "nats": {"version": 2, **nats},
    }
    digest = hashlib.new("sha512_256", json.dumps(claims, sort_keys=True).encode()).digest()
    claims["jti"] = base64.b32encode(digest).rstrip(b"=").decode()
    parts = ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)
    body = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{body}.{_base64(issuer.sign(body.encode()))}"


class Nkey:
    """An nkey of a user: the seed, and the public half that NATS knows it by."""

    def __init__(self) -> None:
        key = _key(nkeys.PREFIX_BYTE_USER)
        self.seed, self.public = key.seed.decode(), _name(key)


class Operator:
    """An operator with one account, which may use JetStream, and the server configuration that knows both."""

    def __init__(self) -> None:
        unlimited = {"subs": -1, "data": -1, "payload": -1}
        operator, self._account, system = (
            _key(kind) for kind in (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_ACCOUNT)
        )
        account_limits = {**unlimited, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
        storage_limits = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
        account = _jwt(operator, self._account, "A", type="account", limits={**account_limits, **storage_limits})
        self.configuration = {
            "operator": _jwt(operator, operator, "O", type="operator", system_account=_name(system)),
            "resolver": "MEMORY",
            "resolver_preload": {
                _name(self._account): account,
                _name(system): _jwt(operator, system, "SYS", type="account", limits=account_limits),
            },
            "system_account": _name(system),
        }
        self._user_limits = unlimited

    def credentials(self, name: str) -> str:
        """The text of a `.creds` file of a user of the account."""
        user = _key(nkeys.PREFIX_BYTE_USER)
        jwt = _jwt(self._account, user, name, type="user", **self._user_limits)
        return CREDS.format(jwt=jwt, seed=user.seed.decode())
