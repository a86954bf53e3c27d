"""What a file that is not the expected one turns out to be."""

import os

__all__ = ["first_bytes", "known_as", "looks_like"]

_SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer, not the weights; fetch them with `git lfs pull`"),
    (b"<!doctype", "a web page; the download went wrong, fetch the file again"),
    (b"<html", "a web page; the download went wrong, fetch the file again"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, perhaps of Keras under another name; rename it to .h5"),
    (b"GGUF", "a GGUF file; give it the ending .gguf"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x93NUMPY", "a NumPy array; save the model as safetensors or as a PyTorch state_dict"),
    (b"PK\x03\x04", "a zip archive, perhaps a PyTorch checkpoint under another name; rename it to .pt"),
)
_TAR_SIGNATURE_AT = 257


def first_bytes(path: str, count: int = 512) -> bytes:
    """The first ``count`` bytes of a file.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(count)


def known_as(head: bytes) -> str:
    """What a file with these first bytes is, and what to do with it; '' if nothing tells."""
    text = head.lstrip().lower()
    found = (words for signature, words in _SIGNATURES if head.startswith(signature) or text.startswith(signature))
    return next(found, "")


def looks_like(path: str) -> str:
    """Say what a file is and what to do with it, for the end of an error message."""
    head = first_bytes(path)
    if not head:
        return "an empty file; fetch or save it again"
    words = known_as(head)
    if words:
        return words
    if head[_TAR_SIGNATURE_AT : _TAR_SIGNATURE_AT + 5] == b"ustar":
        return "a tar archive; unpack it, or load it with an old PyTorch and save its state_dict again"
    size = os.path.getsize(path)
    return f"{size} bytes starting with {head[:8]!r}, cut short or of another kind; fetch or save it again"
