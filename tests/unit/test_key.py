"""The promises of workflowstore_server.codec.key."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workflowstore_server.codec.key import key_of, workflow_id_of

LEGAL_KEY = re.compile(r"[-/_=.a-zA-Z0-9]+", re.ASCII)

PLAIN = ["wf-1", "a", "-", "/", "a/b", "/a/", "a.b.c", "a=", "A_b-C/9.x=y", "x" * 1024]
ENCODED = {
    "": "=",
    "=": "=PQ",
    "=eA": "=PWVB",
    ".": "=Lg",
    ".a": "=LmE",
    "a.": "=YS4",
    "a..b": "=YS4uYg",
    "a b": "=YSBi",
    "a\n": "=YQo",
    "a*": "=YSo",
    ">": "=Pg",
    "order:1": "=b3JkZXI6MQ",
    "é": "=w6k",
    "😀": "=8J-YgA",
    "\u0664": "=2aQ",
}
NO_KEYS = {
    "": "neither a plain key nor an encoded one",
    "a b": "neither a plain key nor an encoded one",
    "a..b": "neither a plain key nor an encoded one",
    ".a": "neither a plain key nor an encoded one",
    "a\n": "neither a plain key nor an encoded one",
    "é": "neither a plain key nor an encoded one",
    "=é": "not base64url of UTF-8",
    "=e": "not base64url of UTF-8",
    "=_w": "not base64url of UTF-8",
    "=7aCA": "not base64url of UTF-8",
    "=eA": "not the key that its id has",  # x, which is its own key
    "=PR": "not the key that its id has",  # = with a surplus bit set
    "=PQ==": "not the key that its id has",
    "=YSBi !\n*": "not the key that its id has",  # "a b" with characters that the decoder skips
    "=8J+YgA": "not the key that its id has",  # base64, not base64url
}


@pytest.mark.parametrize("workflow_id", PLAIN)
def test_an_id_that_can_be_a_key_is_its_own_key(workflow_id):
    assert key_of(workflow_id) == workflow_id
    assert workflow_id_of(workflow_id) == workflow_id


@pytest.mark.parametrize(("workflow_id", "key"), ENCODED.items())
def test_any_other_id_is_encoded(workflow_id, key):
    assert key_of(workflow_id) == key
    assert workflow_id_of(key) == workflow_id


@pytest.mark.parametrize(("key", "reason"), NO_KEYS.items())
def test_a_key_of_no_id_is_refused_with_a_reason(key, reason):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        workflow_id_of(key)


@given(st.text(st.characters(codec="utf-8") | st.sampled_from(" .*>=/\n")))
@example("😀" * 256)
@example("." * 1024)
def test_every_id_has_a_key_of_its_own_that_jetstream_stores(workflow_id):
    key = key_of(workflow_id)
    assert LEGAL_KEY.fullmatch(key)
    assert all(key.split("."))
    assert workflow_id_of(key) == workflow_id


@given(st.text(st.sampled_from("=.-aAeQwZ09_/+ ")) | st.text())
def test_every_key_that_is_read_is_the_one_that_is_written(key):
    try:
        workflow_id = workflow_id_of(key)
    except ValueError:
        return
    assert key_of(workflow_id) == key
