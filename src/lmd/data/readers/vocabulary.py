"""The tokenizer file of llama2.c: words with scores, joined pair by pair, the best score first."""

import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from lmd.data.errors import UnreadableDataError

__all__ = ["llama2c_encoder"]

_MOST_BYTES = 64 << 20
_FIRST_BYTE = 3
"""Before the 256 bytes stand unknown, begin and end."""


def llama2c_encoder(path: Path) -> Callable[[str], list[int]]:
    """From text to tokens, as SentencePiece's byte-pair encoding does it.

    Raises:
        UnreadableDataError: no such file.
    """
    words = _words(path)
    numbers = {word: number for number, (_, word) in reversed(list(enumerate(words)))}
    scores = [score for score, _ in words]

    def encode(text: str) -> list[int]:
        tokens: list[int] = []
        for letter in f" {text}" if text else "":
            raw = letter.encode()
            tokens += [numbers[raw]] if raw in numbers else [byte + _FIRST_BYTE for byte in raw]
        return _joined(tokens, [word for _, word in words], numbers, scores)

    return encode


def _joined(tokens: list[int], words: list[bytes], numbers: dict[bytes, int], scores: list[float]) -> list[int]:
    while True:
        pairs = (numbers.get(words[a] + words[b]) for a, b in pairwise(tokens))
        known = [(-scores[number], place, number) for place, number in enumerate(pairs) if number is not None]
        if not known:
            return tokens
        _, place, number = min(known)
        tokens = [*tokens[:place], number, *tokens[place + 2 :]]


def _words(path: Path) -> list[tuple[float, bytes]]:
    held = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b""
    words, place = [], 4
    try:
        while place < len(held):
            score, size = struct.unpack_from("<fi", held, place)
            if not 0 <= size <= len(held) - place - 8:
                raise struct.error("a word is longer than the file")
            words.append((score, held[place + 8 : place + 8 + size]))
            place += 8 + size
    except struct.error as fault:
        raise UnreadableDataError(f"{path.name} is no tokenizer of llama2.c: {fault}; give its tok*.bin.") from fault
    if len(words) < _FIRST_BYTE + 256:
        raise UnreadableDataError(
            f"{path.name} holds {len(words)} words, and a tokenizer of llama2.c at least 259; give its tok*.bin."
        )
    return words
