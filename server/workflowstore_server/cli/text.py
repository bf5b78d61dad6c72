"""The only place that knows how text from elsewhere is made harmless to a terminal.

An id or an error message may hold escape sequences that recolour, retitle or rewrite the terminal, line breaks that
forge a line, or marks that turn the direction of what follows.
"""

import re
from typing import Final

_ACTING: Final = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What acts on terminals and JSON does not escape by itself: DEL, C1 controls, separators and marks of direction."""


def shown(text: str) -> str:
    r"""`text` in one line without anything that acts: every character that is not printable becomes \xNN or so."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def shown_json(text: str) -> str:
    r"""The same JSON value as `text`, with what would act on a terminal as \uNNNN."""
    return text if text.isascii() and "\x7f" not in text else _ACTING.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
