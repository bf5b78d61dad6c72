"""A token is known by its hash alone, and the file of hashes is replaced as a whole."""

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workflowstore_server.service import tokens
from workflowstore_server.service.tokens import WrongTokens

HASH = "sha256:" + "ab" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_a_token_is_found_by_its_hash_and_stands_nowhere(file: Path) -> None:
    text, made = tokens.new("billing")
    tokens.add(file, made)

    assert tokens.read(file) == {tokens.digest_of(text): made}
    assert text.startswith("wst_")
    assert len(text) > 40
    assert text not in file.read_text()
    assert text not in repr(made)
    assert tokens.new("billing")[0] != text


def test_only_its_owner_reads_the_file(file: Path) -> None:
    for name in ("one", "two"):
        tokens.add(file, tokens.new(name)[1])
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_added_at_once_is_all_there(file: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: tokens.add(file, tokens.new(f"n{number}")[1]), range(40)))

    assert {token.identity for token in tokens.read(file).values()} == {f"n{number}" for number in range(40)}
    assert [path.name for path in file.parent.iterdir()] == ["tokens"]


def test_a_token_is_revoked_by_its_id_or_all_of_a_name_and_the_rest_stays_as_it_is(file: Path) -> None:
    made = [tokens.new(name)[1] for name in ("a", "b", "b", "c")]
    file.write_text("# ours\n\n" + "".join(token.line for token in made[:3]) + made[3].line.rstrip())

    assert tokens.remove(file, made[0].id) == [made[0]]
    assert tokens.remove(file, "b") == made[1:3]
    assert tokens.remove(file, "b") == []
    assert file.read_text() == "# ours\n\n" + made[3].line.rstrip()
    tokens.add(file, made[0])
    assert set(tokens.read(file).values()) == {made[0], made[3]}


def test_a_token_may_end_by_itself(file: Path) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)
    tokens.add(file, tokens.new("a", end)[1])

    assert [token.expires_at for token in tokens.read(file).values()] == [end]


@pytest.mark.parametrize(
    "text",
    [
        "a",
        f"{HASH} a",
        f"a {HASH[7:]}",
        "a sha256:abcd",
        f"a {HASH[:-1]}g",
        f"a {HASH} tomorrow",
        f"a {HASH} 2027-01-01T00:00:00",
        f"a {HASH} 2027-01-01T00:00:00Z more",
        f"-a {HASH}",
        f"a {HASH}\nb {HASH}",
    ],
)
def test_a_line_that_says_something_else_is_refused_and_nothing_is_written(file: Path, text: str) -> None:
    file.write_text(text)

    with pytest.raises(WrongTokens, match="line"):
        tokens.add(file, tokens.new("a")[1])
    assert file.read_text() == text


@pytest.mark.parametrize("name", ["", "a b", "\u00e9", "-a", "*", "a\nb", "x" * 129])
def test_a_name_that_cannot_be_written_in_a_line_is_refused(name: str) -> None:
    with pytest.raises(WrongTokens, match="name"):
        tokens.new(name)
