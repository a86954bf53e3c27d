"""Pictures in a folder; the names of its folders are the classes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy
import torch

from lmd.data.errors import UnreadableDataError, UnsafeDataError
from lmd.data.table import Piece, Table

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ENDINGS", "from_pictures"]

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_MOST_PIXELS = 64_000_000
_GREY = ("1", "L", "LA", "I;16", "I;16B", "I")


def from_pictures(path: Path) -> Table:
    """Pictures as whole numbers 0..255, ``(C, H, W)``: one channel if all of them are grey, else three.

    Raises:
        UnreadableDataError: no picture, a damaged one, or pictures of different sizes.
        UnsafeDataError: a picture of more pixels than any that a network takes.
        ImportError: pillow is missing.
    """
    files, classes = _files(path)
    heads = [_head(file) for file in files]
    sizes = {size for size, _ in heads}
    if len(sizes) > 1:
        some = ", ".join(f"{w} x {h}" for w, h in sorted(sizes)[:3])
        raise UnreadableDataError(
            f"the pictures in {path.name} differ in size ({some}); a batch needs one size: resize or crop them first."
        )
    mode = "L" if all(grey for _, grey in heads) else "RGB"
    width, height = heads[0][0]

    def pieces(size: int) -> Iterator[Piece]:
        for start in range(0, len(files), size):
            part = files[start : start + size]
            pictures = torch.stack([_picture(file, mode) for file in part])
            names = torch.tensor([classes.index(file.parent.name) for file in part]) if classes else None
            yield pictures, names

    shape = (1 if mode == "L" else 3, height, width)
    listed = tuple(str(file) for file in files)
    return Table(path.name, len(files), shape, pieces, bool(classes), tuple(classes), "pictures", listed)


def _files(path: Path) -> tuple[list[Path], list[str]]:
    if path.is_file():
        return [path], []
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    loose = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS)
    inside = [p for folder in folders for p in sorted(folder.iterdir()) if p.suffix.lower() in ENDINGS]
    if loose and inside:
        raise UnreadableDataError(
            f"{path.name} holds pictures beside folders of pictures; put all into folders named after their classes, "
            f"or none."
        )
    if not loose and not inside:
        raise UnreadableDataError(f"{path.name} holds no picture; give files such as {', '.join(ENDINGS[:4])}.")
    return (loose, []) if loose else (inside, sorted({p.parent.name for p in inside}))


def _head(file: Path) -> tuple[tuple[int, int], bool]:
    with _opened(file) as picture:
        return picture.size, picture.mode in _GREY


def _opened(file: Path) -> "Image.Image":
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as missing:
        raise ImportError("pictures need pillow; install it with: pip install 'lmd[data]'.") from missing
    try:
        picture = Image.open(file, formats=_FORMATS)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as fault:
        if isinstance(fault, Image.DecompressionBombError):
            raise UnsafeDataError(f"{file.name}: {fault}; leave it out.") from fault
        raise UnreadableDataError(f"{file.name} is no picture that can be read: {fault}; leave it out.") from fault
    if picture.width * picture.height > _MOST_PIXELS:
        picture.close()
        raise UnsafeDataError(
            f"{file.name} has {picture.width:,} x {picture.height:,} pixels, more than {_MOST_PIXELS:,}; leave it out "
            f"or make it smaller."
        )
    return picture


def _picture(file: Path, mode: str) -> torch.Tensor:
    with _opened(file) as picture:
        try:
            if picture.mode.startswith("I"):
                # 16 bits to 8, so that all pictures are of one range
                array = (numpy.asarray(picture, numpy.uint16) >> 8).astype(numpy.uint8)
                array = array if mode == "L" else numpy.repeat(array[..., None], 3, axis=-1)
            else:
                array = numpy.array(picture.convert(mode), numpy.uint8)
        except (OSError, ValueError, SyntaxError) as fault:
            raise UnreadableDataError(f"{file.name} is damaged: {fault}; leave it out.") from fault
    tensor = torch.from_numpy(array)
    return tensor[None] if mode == "L" else tensor.permute(2, 0, 1)
