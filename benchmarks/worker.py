"""A child process that does one task on a loaded model, as often as it is asked to.

It runs under either interpreter: ours, or that of WeightWatcher's own virtual environment. Lines come on stdin; for
each the task runs once and one JSON line goes to stdout. Nothing here is imported by the process that measures.
"""

import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import torch

Task = Callable[[Any], Any]


def matrices(model: torch.nn.Module) -> list[torch.Tensor]:
    """The matrices that both sides decompose: two axes, at least 8 singular values (WeightWatcher's own limit)."""
    return [p.detach() for p in model.parameters() if p.ndim == 2 and min(p.shape) >= 8]


def lmd_task(vectors: int) -> Task:
    """Every layer, every finding, and this many triples; no heads, which the others do not look at."""
    import lmd

    return lambda model: lmd.decompose(model, vectors=vectors, parts=False)


def svdvals_task() -> Task:
    """What a careful user writes in one line."""
    return lambda model: [torch.linalg.svdvals(W.double()) for W in matrices(model)]


def gram_task() -> Task:
    """The least work that gives values this way: no errors, no findings, nothing refined."""
    from scipy.linalg import blas, eigvalsh

    def eigenvalues(W: torch.Tensor) -> Any:
        A = W.double().numpy()
        tall = A if A.shape[0] >= A.shape[1] else A.T
        # BLAS wants Fortran order and would copy: a C-ordered array goes in transposed
        fortran = tall.flags.f_contiguous
        G = blas.dsyrk(1.0, tall if fortran else tall.T, trans=int(fortran), lower=1)
        return eigvalsh(G, lower=True, overwrite_a=True, check_finite=False)

    return lambda model: [eigenvalues(W) for W in matrices(model)]


def weightwatcher_task() -> Task:
    """The default analysis of WeightWatcher."""
    import weightwatcher

    logging.disable(logging.CRITICAL)
    return lambda model: weightwatcher.WeightWatcher(model=model).analyze()


@cache
def circuits(model: torch.nn.Module) -> list[Any]:
    """Each head's two circuits; found once, since only their decomposition is timed."""
    from lmd.layers.walk import walk
    from lmd.sources.torch_module import from_module

    return [layer for layer in walk(from_module(model)).layers if layer.kind in ("query_key", "value_output")]


def circuits_task() -> Task:
    """Every singular triple of every circuit in float64, by two thin QRs."""
    from lmd.linalg.singular.thin_products import product_svd

    return lambda model: [product_svd(*layer.thin()) for layer in circuits(model)]


def checked_circuits_task() -> Task:
    """The same with the residual and the orthogonality of each measured, as the product keeps them."""
    from lmd.factors.svd import factors_of

    return lambda model: [factors_of(layer, vectors=None) for layer in circuits(model)]


def three_svds_task() -> Task:
    """An SVD of each factor and one of what is between, in the stored float32."""

    def triples(L: torch.Tensor, R: torch.Tensor) -> tuple[torch.Tensor, ...]:
        Ul, Sl, Vl = torch.linalg.svd(L, full_matrices=False)
        Ur, Sr, Vr = torch.linalg.svd(R, full_matrices=False)
        U, S, V = torch.linalg.svd(Sl[:, None] * (Vl @ Ur) * Sr, full_matrices=False)
        return Ul @ U, S, V @ Vr

    return lambda model: [triples(*(factor.float() for factor in layer.thin())) for layer in circuits(model)]


def dense_circuits_task() -> Task:
    """The product formed and decomposed as any matrix, in float64; every twelfth, since each takes long."""
    return lambda model: [torch.linalg.svd(layer.load(), full_matrices=False) for layer in circuits(model)[::12]]


def circuits_agree(model: torch.nn.Module) -> dict[str, Any]:
    """The largest difference from the SVD of the dense product, as a share of its largest value."""
    from lmd.factors.svd import factors_of

    values, products, left_out = 0.0, 0.0, 0.0
    for layer in circuits(model):
        W, found = layer.load(), factors_of(layer, vectors=None)
        S = torch.linalg.svdvals(W)
        values = max(values, ((S[: layer.inner] - found.S).abs().max() / S[0]).item())
        left_out = max(left_out, (S[layer.inner :].max() / S[0]).item())
        product = (found.U * found.S) @ found.Vh
        products = max(products, (torch.linalg.matrix_norm(product - W, 2) / S[0]).item())
    return {"values": values, "products": products, "left_out": left_out, "rows": len(circuits(model))}


TASKS: dict[str, Callable[[], Task]] = {
    "lmd values": lambda: lmd_task(0),
    "lmd 32 triples": lambda: lmd_task(32),
    "svdvals": svdvals_task,
    "gram floor": gram_task,
    "weightwatcher": weightwatcher_task,
    "circuits": circuits_task,
    "circuits, checked": checked_circuits_task,
    "circuits, three SVDs float32": three_svds_task,
    "circuits, dense": dense_circuits_task,
}


def loaded(folder: str) -> torch.nn.Module:
    """The model in float32, in memory of its own: mapped pages would count for whoever touches them first."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval().float()
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def resident(field: str = "VmRSS") -> int:
    """Bytes of this process in memory: now, or at most so far (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def peak_of(work: Callable[[], Any]) -> dict[str, Any]:
    """How far memory rises above where it is."""
    gc.collect()
    # 5 sets the high-water mark back to what is resident now
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, clock = resident(), time.process_time()
    result = work()
    seconds = time.process_time() - clock
    return {"bytes": resident("VmHWM") - before, "cpu_s": seconds, "rows": rows_in(result)}


def rows_in(result: Any) -> int:
    """Number of layers a task gave results for."""
    return len(getattr(result, "layers", result))


def answer(out: TextIO, value: dict[str, Any]) -> None:
    """One JSON line."""
    out.write(json.dumps(value) + "\n")
    out.flush()


def serve(task: Task, model: torch.nn.Module, out: TextIO) -> None:
    """Run the task once for each line on stdin."""
    task(model)
    answer(out, {"ready": True})
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        result = task(model)
        seconds = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
        answer(out, {**seconds, "rows": rows_in(result)})


def file_memory(path: str, glob: str) -> dict[str, Any]:
    """Memory to decompose a file, values only, above the process after its imports."""
    import lmd

    lmd.decompose(str(Path(path).with_name("tiny" + Path(path).suffix)), vectors=0)
    return peak_of(lambda: lmd.decompose(path, vectors=0, layers=glob))


def main(mode: str, what: str, model: str) -> None:
    """``time TASK FOLDER``, ``memory TASK FOLDER``, ``agree circuits FOLDER`` or ``file GLOB PATH``."""
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    # what libraries print must not get between the answers
    os.dup2(2, 1)
    torch.set_num_threads(1)
    if mode == "file":
        answer(out, file_memory(model, what))
        return
    if mode == "agree":
        answer(out, circuits_agree(loaded(model)))
        return
    network, task = loaded(model), TASKS[what]()
    if mode == "memory":
        task(torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.Linear(16, 16)))
        answer(out, peak_of(lambda: task(network)))
    else:
        serve(task, network, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
