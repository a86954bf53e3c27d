"""Ways to damage a file, drawn by a seeded generator."""

import random
from collections.abc import Callable

__all__ = ["mutated"]

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
Mutation = Callable[[random.Random, bytearray, bytes], None]


def mutated(draw: random.Random, seed: bytes, other: bytes) -> bytes:
    """One to eight random damages of ``seed``; some take pieces of another file of the format."""
    data = bytearray(seed)
    for _ in range(draw.choice((1, 1, 2, 3, 5, 8))):
        draw.choice(_MUTATIONS)(draw, data, other)
        if not data:
            break
    return bytes(data)


def _place(draw: random.Random, data: bytearray) -> int:
    # descriptions stand at the beginning or at the end of most formats; numbers in between hurt nobody
    size = len(data)
    low, high = draw.choice(((0, 64), (0, 4096), (0, size), (0, size), (size - 4096, size), (size - 64, size)))
    return draw.randrange(max(low, 0), max(min(high, size), 1))


def _flip_bit(draw: random.Random, data: bytearray, other: bytes) -> None:
    data[_place(draw, data)] ^= 1 << draw.randrange(8)


def _set_byte(draw: random.Random, data: bytearray, other: bytes) -> None:
    data[_place(draw, data)] = draw.randrange(256)


def _set_number(draw: random.Random, data: bytearray, other: bytes) -> None:
    width, place = draw.choice((1, 2, 4, 8)), _place(draw, data)
    number = draw.choice(_EXTREMES) % 256**width
    data[place : place + width] = number.to_bytes(width, draw.choice(("little", "big")))


def _add_to_number(draw: random.Random, data: bytearray, other: bytes) -> None:
    width, place = draw.choice((1, 2, 4, 8)), _place(draw, data)
    number = int.from_bytes(data[place : place + width], "little") + draw.choice((-16, -8, -1, 1, 8, 16, 1 << 20))
    data[place : place + width] = (number % 256**width).to_bytes(width, "little")


def _cut_off(draw: random.Random, data: bytearray, other: bytes) -> None:
    del data[_place(draw, data) :]


def _take_out(draw: random.Random, data: bytearray, other: bytes) -> None:
    place = _place(draw, data)
    del data[place : place + draw.choice((1, 2, 4, 16, 256))]


def _put_twice(draw: random.Random, data: bytearray, other: bytes) -> None:
    place, length = _place(draw, data), draw.choice((1, 4, 16, 64, 1024))
    data[place:place] = data[place : place + length] * draw.choice((1, 1, 2, 50))


def _put_noise(draw: random.Random, data: bytearray, other: bytes) -> None:
    place, length = _place(draw, data), draw.choice((1, 4, 16, 64))
    data[place : place + length] = draw.randbytes(length)


def _put_from_other(draw: random.Random, data: bytearray, other: bytes) -> None:
    place, length = _place(draw, data), draw.choice((4, 16, 64, 512))
    start = draw.randrange(max(len(other), 1))
    data[place : place + length] = other[start : start + length]


def _swap(draw: random.Random, data: bytearray, other: bytes) -> None:
    first, second, length = _place(draw, data), _place(draw, data), draw.choice((1, 4, 8, 32))
    one, two = data[first : first + length], data[second : second + length]
    data[first : first + length], data[second : second + length] = two, one


_MUTATIONS: tuple[Mutation, ...] = (
    _flip_bit,
    _flip_bit,
    _set_byte,
    _set_number,
    _set_number,
    _add_to_number,
    _cut_off,
    _take_out,
    _put_twice,
    _put_noise,
    _put_from_other,
    _swap,
)
