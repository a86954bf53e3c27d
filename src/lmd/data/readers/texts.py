"""A text as rows of tokens, by the tokenizer that the model was trained with."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from lmd.data.errors import UnreadableDataError, UnsafeDataError
from lmd.data.readers.vocabulary import llama2c_encoder
from lmd.data.table import Piece, Table

__all__ = ["from_text"]

Encode = Callable[[str], list[int]]
_LONGEST_LINE = 4 << 20


def from_text(path: Path, tokenizer: str | Path | None, length: int) -> Table:
    """Rows of ``length`` tokens, one after another; the targets are the tokens that follow each.

    Args:
        path: a text in UTF-8.
        tokenizer: a Hugging Face folder or its tokenizer.json, or the tokenizer of llama2.c (``tok512.bin``).
        length: tokens of one example; what is left at the end is left out.

    Raises:
        UnreadableDataError: no UTF-8, or fewer tokens than one row needs.
        ImportError: the library of the tokenizer is missing.
        ValueError: no tokenizer.
    """
    if tokenizer is None:
        raise ValueError(f"{path.name} is a text; tell the model's tokenizer: a folder, tokenizer.json or tok*.bin.")
    encode = _encoder(Path(tokenizer))
    count = sum(1 for _ in _rows(path, encode, length))
    if count == 0:
        raise UnreadableDataError(
            f"{path.name} has fewer than {length + 1} tokens, which one example needs; give a longer text, or a "
            f"shorter length."
        )

    def pieces(size: int) -> Iterator[Piece]:
        held: list[list[int]] = []
        for row in _rows(path, encode, length):
            held.append(row)
            if len(held) == size:
                yield _pair(held)
                held = []
        if held:
            yield _pair(held)

    return Table(path.name, count, (length,), pieces, targets=True, form="text", files=(str(path),))


def _pair(rows: list[list[int]]) -> Piece:
    tokens = torch.tensor(rows)
    return tokens[:, :-1], tokens[:, 1:]


def _rows(path: Path, encode: Encode, length: int) -> Iterator[list[int]]:
    waiting: list[int] = []
    for line in _lines(path):
        waiting += encode(line)
        while len(waiting) > length:
            yield waiting[: length + 1]
            waiting = waiting[length:]


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            while line := file.readline(_LONGEST_LINE + 1):
                if len(line) > _LONGEST_LINE:
                    raise UnsafeDataError(
                        f"{path.name} has a line of more than {_LONGEST_LINE >> 20} million characters; break it up."
                    )
                yield line
    except UnicodeDecodeError as fault:
        raise UnreadableDataError(f"{path.name} is no text in UTF-8: {fault}; save it as UTF-8.") from fault


def _encoder(source: Path) -> Encode:
    if source.suffix == ".bin" and source.is_file():
        return llama2c_encoder(source)
    file = source / "tokenizer.json" if source.is_dir() else source
    if not file.is_file():
        return _from_library(source)
    try:
        from tokenizers import Tokenizer
    except ImportError as missing:
        raise ImportError("tokenizer.json needs tokenizers; install it with: pip install 'lmd[hf]'.") from missing
    tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def _from_library(source: Path) -> Encode:
    if not source.is_dir():
        raise UnreadableDataError(
            f"{source} is no tokenizer; give a Hugging Face folder, a tokenizer.json, or the tok*.bin of llama2.c."
        )
    try:
        from transformers import AutoTokenizer
    except ImportError as missing:
        raise ImportError("this tokenizer needs transformers; install it with: pip install 'lmd[hf]'.") from missing
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as fault:
        raise UnreadableDataError(
            f"{source.name} holds no tokenizer that can be read: {str(fault).splitlines()[0]}; give --tokenizer."
        ) from fault
    return lambda text: tokenizer.encode(text, add_special_tokens=False)
