"""A policy grants what it says, to whom it says, and one that says something else is refused."""

import pytest

from workflowstore_server.service import policy
from workflowstore_server.service.policy import ALL, NOTHING, Access, Limits, WrongPolicy

BUCKETS = ("one", "two")


def grant(identity: str = "a", bucket: str = "one", access: str = "read", prefix: str = "") -> str:
    return f'[[grant]]\nidentity = "{identity}"\nbucket = "{bucket}"\naccess = "{access}"\nprefix = "{prefix}"\n'


def test_an_access_includes_those_below_it() -> None:
    found = policy.parse(grant("r") + grant("w", access="write") + grant("a", access="admin"), BUCKETS)

    assert found.reach("r") == {"one": (ALL, (), ()), "two": NOTHING}
    assert found.reach("w") == {"one": (ALL, ALL, ()), "two": NOTHING}
    assert found.reach("a") == {"one": (ALL, ALL, ALL), "two": NOTHING}
    assert found.reach("nobody") == {"one": NOTHING, "two": NOTHING}


def test_grants_add_up_and_a_prefix_within_another_adds_nothing() -> None:
    text = "".join(grant(prefix=prefix) for prefix in ("b-", "a-", "b-1", "b-")) + grant(access="write", prefix="b-2")
    reach = policy.parse(text, BUCKETS).reach("a")

    assert reach["one"][Access.READ] == ("a-", "b-")
    assert reach["one"][Access.WRITE] == ("b-2",)


def test_a_star_is_every_identity_that_is_known_or_every_bucket() -> None:
    found = policy.parse(grant("*", prefix="public-") + grant("a", "*", prefix="a-"), BUCKETS)

    assert found.reach("b") == {"one": (("public-",), (), ()), "two": NOTHING}
    assert found.reach("a") == {"one": (("a-", "public-"), (), ()), "two": (("a-",), (), ())}


def test_an_identity_has_its_own_limits_and_for_the_rest_those_of_all() -> None:
    text = '[[limit]]\nidentity = "*"\ncalls = 2\nstreams = 3\n[[limit]]\nidentity = "a"\ncalls = 9\n'
    found = policy.parse(text, BUCKETS)

    assert found.limits("a") == Limits(9, 3, None)
    assert found.limits("b") == Limits(2, 3, None)
    assert policy.parse("", BUCKETS).limits("b") == Limits()


def test_buckets_that_are_not_served_are_named() -> None:
    assert policy.parse(grant(bucket="three") + grant(bucket="*") + grant(), BUCKETS).unserved == ["three"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[grant", "TOML"),
        ("a = " + "[" * 10_000, "TOML"),
        (grant(access="own"), "access"),
        (grant(identity=""), "identity"),
        (grant(bucket=""), "bucket"),
        (grant(prefix="x" * 1025), "1024"),
        (grant() + "expires = 1\n", "expires"),
        ('[[grant]]\nidentity = "a"\n', "bucket"),
        ("[[grants]]\n", "grants"),
        ('[[limit]]\nidentity = "a"\ncalls = 0\n', "1"),
        ('[[limit]]\nidentity = "a"\n' * 2, "two limits"),
        ("".join(grant(prefix=f"{number:03d}-") for number in range(65)), "64"),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused_with_words_that_help(text: str, words: str) -> None:
    with pytest.raises(WrongPolicy, match=words):
        policy.parse(text, BUCKETS)
