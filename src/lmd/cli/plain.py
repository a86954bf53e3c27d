"""Text from files, fit for a terminal."""

__all__ = ["plain"]


def plain(text: str) -> str:
    r"""``text`` without line breaks and terminal codes, which a file may hide in the names of its tensors.

    >>> plain("conv\x1b[31m.weight")
    'conv\\x1b[31m.weight'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
