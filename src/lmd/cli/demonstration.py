"""``lmd demo``: train, decompose, draw."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import typer

from lmd.atlas.folder import write_bytes
from lmd.demo import digits, train
from lmd.pipeline.decompose import decompose
from lmd.report.page import write_page

if TYPE_CHECKING:
    from lmd.atlas.atlas import Atlas

__all__ = ["run_demo"]


def run_demo(out: Path, seed: int, *, quiet: bool) -> "tuple[Atlas, Path]":
    """Train on scikit-learn's digits and write model, atlas and page into ``out``; an earlier demo is replaced.

    Raises:
        FileExistsError: ``out`` holds something that is no demo.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "digits.pt").exists())):
        raise FileExistsError(f"{out} holds something else than a demo; choose another folder with --out.")
    out.mkdir(parents=True, exist_ok=True)
    if not quiet:
        typer.echo("training 64-128-64-10 on scikit-learn's digits ...", err=True)
    data = digits(seed)
    model, training = train(data, seed)
    _save(model, out / "digits.pt")
    atlas = decompose(
        model,
        data.train_inputs,
        targets=data.train_labels,
        out=out / "atlas",
        force=True,
        name="digits 64-128-64-10",
        facts={"training": training},
        picture=(8, 8),
        vectors=None,
        seed=seed,
    )
    return atlas, write_page(atlas.document(), atlas.arrays, out / "report.html")


def _save(model: torch.nn.Module, path: Path) -> None:
    import io

    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    write_bytes(path, buffer.getvalue())
