"""What this installation is made of."""

import os
from importlib.metadata import PackageNotFoundError, version
from platform import platform, python_version
from typing import Any

__all__ = ["diagnosis"]

_CORE = ("torch", "numpy", "scipy", "safetensors", "scikit-learn", "plotly", "typer", "rich")
_EXTRAS = {
    "hf": ("transformers", "huggingface_hub", "tokenizers"),
    "onnx": ("onnx",),
    "keras": ("h5py",),
    "gguf": ("gguf",),
    "formats": ("msgpack", "flatbuffers", "tflite"),
    "data": ("pandas", "pyarrow", "pillow"),
    "knn": ("faiss-cpu",),
    "maps": ("pacmap",),
    "check": ("python-flint",),
    "dask": ("dask", "distributed"),
}


def diagnosis() -> dict[str, Any]:
    """Versions of what is installed, which extras are complete, and the threads that would be used."""
    import torch
    from threadpoolctl import threadpool_info

    return {
        "lmd": version("lmd"),
        "python": python_version(),
        "platform": platform(),
        "packages": {name: _version(name) for name in _CORE},
        "extras": {extra: {name: _version(name) for name in names} for extra, names in _EXTRAS.items()},
        "threads": {
            "cores": os.cpu_count(),
            "torch": torch.get_num_threads(),
            "blas": [{"library": i["internal_api"], "threads": i["num_threads"]} for i in threadpool_info()],
        },
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
