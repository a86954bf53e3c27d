"""The types a GGUF file stores numbers in: how many numbers a block holds, in how many bytes. Needs no torch."""

from dataclasses import dataclass

__all__ = ["NOT_READ", "TYPES", "BlockType"]


@dataclass(frozen=True, slots=True)
class BlockType:
    """One type.

    Attributes:
        name: in capitals, as the gguf package has it.
        elements: numbers in a block; 1 for plain numbers.
        bytes: of a block.
        dtype: torch's word for plain numbers, else the type's own name in small letters.
        swapped: ``(place, width)`` of the words inside a block whose bytes a big-endian file has in the other order;
            None where it is not known.
    """

    name: str
    elements: int
    bytes: int
    dtype: str
    swapped: tuple[tuple[int, int], ...] | None = None

    @property
    def plain(self) -> bool:
        """Whether each element is a number of its own."""
        return self.elements == 1


def _plain(name: str, dtype: str, width: int) -> BlockType:
    return BlockType(name, 1, width, dtype, ((0, width),))


def _blocks(name: str, elements: int, size: int, swapped: tuple[tuple[int, int], ...] | None = None) -> BlockType:
    return BlockType(name, elements, size, name.lower(), swapped)


TYPES = {
    0: _plain("F32", "float32", 4),
    1: _plain("F16", "float16", 2),
    2: _blocks("Q4_0", 32, 18, ((0, 2),)),
    3: _blocks("Q4_1", 32, 20, ((0, 2), (2, 2))),
    6: _blocks("Q5_0", 32, 22),
    7: _blocks("Q5_1", 32, 24),
    8: _blocks("Q8_0", 32, 34, ((0, 2),)),
    10: _blocks("Q2_K", 256, 84, ((80, 2), (82, 2))),
    11: _blocks("Q3_K", 256, 110, ((108, 2),)),
    12: _blocks("Q4_K", 256, 144, ((0, 2), (2, 2))),
    13: _blocks("Q5_K", 256, 176, ((0, 2), (2, 2))),
    14: _blocks("Q6_K", 256, 210, ((208, 2),)),
    15: _blocks("Q8_K", 256, 292, ((0, 4), *((260 + 2 * place, 2) for place in range(16)))),
    16: _blocks("IQ2_XXS", 256, 66),
    17: _blocks("IQ2_XS", 256, 74),
    18: _blocks("IQ3_XXS", 256, 98),
    19: _blocks("IQ1_S", 256, 50),
    20: _blocks("IQ4_NL", 32, 18, ((0, 2),)),
    21: _blocks("IQ3_S", 256, 110, ((0, 2),)),
    22: _blocks("IQ2_S", 256, 82, ((0, 2),)),
    23: _blocks("IQ4_XS", 256, 136, ((0, 2), (2, 2))),
    24: _plain("I8", "int8", 1),
    25: _plain("I16", "int16", 2),
    26: _plain("I32", "int32", 4),
    27: _plain("I64", "int64", 8),
    28: _plain("F64", "float64", 8),
    29: _blocks("IQ1_M", 256, 56),
    30: _plain("BF16", "bfloat16", 2),
    34: _blocks("TQ1_0", 256, 54, ((52, 2),)),
    35: _blocks("TQ2_0", 256, 66, ((64, 2),)),
    39: _blocks("MXFP4", 32, 17, ()),
    40: _blocks("NVFP4", 64, 36, ()),
    41: _blocks("Q1_0", 128, 18, ((0, 2),)),
}
"""By the number that stands in the file."""

_PACKED = "blocks are packed for one processor, and ggml has dropped them"
NOT_READ = {
    **{number: f"{name} blocks have been dropped by ggml" for number, name in ((4, "Q4_2"), (5, "Q4_3"))},
    9: "Q8_1 blocks are made for activations, and have two layouts that a file does not tell apart",
    **{31 + place: f"Q4_0_{sizes} {_PACKED}" for place, sizes in enumerate(("4_4", "4_8", "8_8"))},
    **{36 + place: f"IQ4_NL_{sizes} {_PACKED}" for place, sizes in enumerate(("4_4", "4_8", "8_8"))},
}
"""Why other types that there are or were are not read."""
