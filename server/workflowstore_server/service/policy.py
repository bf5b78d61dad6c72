"""The only place that knows what a policy file says: which identity has which access to what, and how much of it.

[[grant]]
identity = "billing"          # "*" = everybody who is known
bucket = "beluga_workflows"   # "*" = every bucket
prefix = "billing-"           # of the workflow ids; left out = all
access = "write"              # "read", "write" (and read) or "admin" (and write)

[[limit]]
identity = "*"                # for each identity that has no limit of its own
calls = 200
streams = 50
request_bytes_per_second = 10_000_000
"""

import enum
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from workflowstore_server.model.limits import WORKFLOW_ID_BYTES_MAX
from workflowstore_server.model.selection import outermost

EVERY: Final = "*"
"""Every identity, or every bucket."""

PREFIXES_MAX: Final = 64
"""Prefixes of one identity in one bucket: a List reads as many ranges of ids at once. SQLite takes 500."""

ALL: Final = ("",)
"""The prefixes of all workflow ids."""


class Access(enum.IntEnum):
    """What a grant allows, and whatever is below it."""

    READ = 0
    WRITE = 1
    ADMIN = 2


Reach = Mapping[str, tuple[tuple[str, ...], ...]]
"""By bucket, for each access the prefixes of the workflow ids, of which none begins with another."""

NOTHING: Final = ((),) * len(Access)
"""The reach in a bucket of those who have none."""


class WrongPolicy(ValueError):
    """The file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one identity may ask of one server. None = no limit but those of the server."""

    calls_max: int | None = None
    """Calls with one reply at once."""
    streams_max: int | None = None
    """Lists, histories, exports and watches at once."""
    request_bytes_per_second: int | None = None
    """Bytes of requests in a second, on average."""


_Count = Annotated[int, msgspec.Meta(ge=1)]


class _Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identity: str
    bucket: str
    access: Literal["read", "write", "admin"]
    prefix: str = ""


class _Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identity: str
    calls: _Count | None = None
    streams: _Count | None = None
    request_bytes_per_second: _Count | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    grant: list[_Grant] = []
    limit: list[_Limit] = []


class Policy:
    """Who may do what, on a server with these buckets."""

    def __init__(self, grants: Sequence[_Grant], limits: Sequence[_Limit], buckets: Sequence[str]) -> None:
        names = {grant.identity for grant in grants} | {EVERY}
        self._reach = {name: _reach_of(name, grants, buckets) for name in names}
        self._limits = {limit.identity: limit for limit in limits}
        self.unserved = sorted({grant.bucket for grant in grants} - {EVERY, *buckets})
        """Buckets of grants that this server does not serve."""

    def reach(self, identity: str) -> Reach:
        """What an identity may do."""
        return self._reach.get(identity, self._reach[EVERY])

    def limits(self, identity: str) -> Limits:
        """How much of it."""
        own, others = self._limits.get(identity, _Limit(identity)), self._limits.get(EVERY, _Limit(EVERY))
        return Limits(
            own.calls or others.calls,
            own.streams or others.streams,
            own.request_bytes_per_second or others.request_bytes_per_second,
        )


def parse(text: str, buckets: Sequence[str]) -> Policy:
    """Read what a file says to a server with these buckets.

    Raises: WrongPolicy.
    """
    try:
        found = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise WrongPolicy(f"it is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise WrongPolicy(str(error)) from None
    for number, grant in enumerate(found.grant, 1):
        if not grant.identity or not grant.bucket:
            raise WrongPolicy(f"grant {number} names no {'bucket' if grant.identity else 'identity'}; * is every one")
        if len(grant.prefix.encode()) > WORKFLOW_ID_BYTES_MAX:
            raise WrongPolicy(f"the prefix of grant {number} has more than {WORKFLOW_ID_BYTES_MAX} bytes")
    if len({limit.identity for limit in found.limit}) < len(found.limit):
        raise WrongPolicy("an identity has two limits; give each one")
    return Policy(found.grant, found.limit, buckets)


def _reach_of(identity: str, grants: Sequence[_Grant], buckets: Sequence[str]) -> Reach:
    own = [grant for grant in grants if grant.identity in (identity, EVERY)]
    reach: dict[str, tuple[tuple[str, ...], ...]] = {}
    for bucket in buckets:
        granted = [(Access[grant.access.upper()], grant.prefix) for grant in own if grant.bucket in (bucket, EVERY)]
        reach[bucket] = tuple(outermost(prefix for level, prefix in granted if level >= access) for access in Access)
        most = max(len(prefixes) for prefixes in reach[bucket])
        if most > PREFIXES_MAX:
            words = f"{identity} has {most} prefixes in bucket {bucket}, more than {PREFIXES_MAX}; grant shorter ones"
            raise WrongPolicy(words)
    return reach
