"""The only place that knows what Go's encoding/json (v1) forgives in a text that it reads into a struct."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u(?P<lone>[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""One escape in a string, a surrogate pair being one. Whole escapes, so that an escaped backslash begins none."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class _Name:
    """A member's name. Every one is a key of its own, so that a dict of members keeps duplicates, in their order."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_MEMBERS: Final = msgspec.json.Decoder(dict[_Name, msgspec.Raw], dec_hook=lambda _, text: _Name(text))
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def text_of(data: bytes) -> str:
    """Returns the text in which every byte that is no UTF-8, and every lone surrogate's escape, reads U+FFFD."""
    text = data.decode("utf-8", "surrogateescape")  # One surrogate for each wrong byte.
    text = _ESCAPE.sub(lambda escape: "\ufffd" if escape["lone"] else escape[0], text)
    return _SURROGATE.sub("\ufffd", text)


def folded_names(names: Iterable[str]) -> Mapping[str, str]:
    """Returns `names` by the form that `members` looks for."""
    return {_folded(name): name for name in names}


def members(text: str | bytes, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields exact name and value of the members of the object `text` that are among the folded `names`, in order.

    Go assigns them one after the other, so that the last of those with the same name counts.
    """
    for name, value in _MEMBERS.decode(text).items():
        exact = names.get(_folded(name.text))
        if exact is not None:
            yield exact, str(value, "utf-8")


def elements(text: str) -> list[str]:
    """Returns the elements of the array `text`."""
    return [str(element, "utf-8") for element in _ELEMENTS.decode(text)]


def _folded(name: str) -> str:
    # Two letters beyond ASCII fold to one in it: the long s, and the Kelvin sign, which lower() knows.
    return name.replace("\u017f", "s").lower()
