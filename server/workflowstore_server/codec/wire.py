"""The only place that knows what can be told of an encoded message before anything is made of it.

A field of two bytes becomes a message of 150, and objects of 500 more: as events, 16 MiB of them became 5 GiB, and took
a minute.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from google.protobuf.descriptor import Descriptor

Shape: TypeAlias = "Mapping[int, Shape]"
"""The fields of a message that are looked into, by number: those in which something can repeat."""

NUMBER_BYTES_MAX: Final = 10
"""Bytes of a number, which has 64 bits; decoders refuse longer ones, and to add them up takes the square of their
length. https://protobuf.dev/programming-guides/encoding/#varints"""


def shape_of(message: Descriptor) -> Shape:
    """Return what is looked into of a message, which contains itself nowhere."""
    fields = ((field.number, field.message_type) for field in message.fields if field.message_type is not None)
    return {number: shape_of(part) for number, part in fields if _repeats(part)}


def has_more_fields(data: bytes, shape: Shape, fields_max: int) -> bool:
    """Tell whether a message has more fields than so many, those counted of what is looked into.

    What is no message is counted as far as it can be read, as a decoder reads it before it refuses it.
    """
    parts = [(0, len(data), shape)]
    left = fields_max
    while parts:
        at, end, shape = parts.pop()
        try:
            while at < end:
                left -= 1
                if left < 0:
                    return True
                tag, at = _number(data, at)
                kind = tag & 7
                if kind == 2:
                    size, at = _number(data, at)
                    if (within := shape.get(tag >> 3)) is not None:
                        parts.append((at, min(at + size, end), within))
                    at += size
                elif kind == 0:
                    _, at = _number(data, at)
                else:
                    # A group's own fields follow its beginning.
                    at += {1: 8, 5: 4}.get(kind, 0)
        except IndexError:
            continue
    return False


def leading_text(data: bytes, number: int) -> str:
    """Return the text of this field of a message if it is the first that is there, else nothing."""
    try:
        tag, at = _number(data, 0)
        size, at = _number(data, at)
    except IndexError:
        return ""
    return data[at : at + size].decode(errors="replace") if tag == number << 3 | 2 else ""


def _repeats(message: Descriptor) -> bool:
    return any(
        field.is_repeated or (field.message_type is not None and _repeats(field.message_type))
        for field in message.fields
    )


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that stands at a place, and the place behind it.

    Raises: IndexError, when there is none.
    """
    number = data[at]
    at += 1
    if number < 0x80:
        return number, at
    number &= 0x7F
    for shift in range(7, 7 * NUMBER_BYTES_MAX, 7):
        part = data[at]
        at += 1
        number |= (part & 0x7F) << shift
        if part < 0x80:
            return number, at
    raise IndexError
