"""Layer Matrix Decomposition: what each layer's weight matrices encode (arXiv 2309.05968).

>>> import torch, lmd
>>> lmd.decompose(torch.nn.Linear(4, 3)).factors("weight").S.shape
torch.Size([3])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmd.atlas.atlas import Atlas
    from lmd.atlas.trajectory import Trajectory
    from lmd.data.errors import UnreadableDataError, UnsafeDataError
    from lmd.data.examples import Examples
    from lmd.data.open_data import open_data
    from lmd.factors.factors import Factors
    from lmd.factors.svd import factors_of, randomised_factors
    from lmd.factors.truncated import truncate
    from lmd.pipeline.checking.check import Checked, check
    from lmd.pipeline.comparing.compare import compare
    from lmd.pipeline.decompose import decompose
    from lmd.pipeline.weightwatcher import weightwatcher_rows
    from lmd.report.page import write_page
    from lmd.sources.errors import UnreadableModelError, UnsafeModelError
    from lmd.sources.open_network import open_network
    from lmd.sources.runnable import runnable
    from lmd.training.recorder import Recorder

__version__ = "0.1.0"

__all__ = [
    "Atlas",
    "Checked",
    "Examples",
    "Factors",
    "Recorder",
    "Trajectory",
    "UnreadableDataError",
    "UnreadableModelError",
    "UnsafeDataError",
    "UnsafeModelError",
    "check",
    "compare",
    "decompose",
    "factors_of",
    "open_data",
    "open_network",
    "randomised_factors",
    "runnable",
    "truncate",
    "weightwatcher_rows",
    "write_page",
]

_HOMES = {
    "Atlas": "lmd.atlas.atlas",
    "Checked": "lmd.pipeline.checking.check",
    "check": "lmd.pipeline.checking.check",
    "Examples": "lmd.data.examples",
    "Factors": "lmd.factors.factors",
    "Recorder": "lmd.training.recorder",
    "Trajectory": "lmd.atlas.trajectory",
    "UnreadableDataError": "lmd.data.errors",
    "UnsafeDataError": "lmd.data.errors",
    "open_data": "lmd.data.open_data",
    "UnreadableModelError": "lmd.sources.errors",
    "UnsafeModelError": "lmd.sources.errors",
    "compare": "lmd.pipeline.comparing.compare",
    "decompose": "lmd.pipeline.decompose",
    "factors_of": "lmd.factors.svd",
    "open_network": "lmd.sources.open_network",
    "randomised_factors": "lmd.factors.svd",
    "runnable": "lmd.sources.runnable",
    "truncate": "lmd.factors.truncated",
    "weightwatcher_rows": "lmd.pipeline.weightwatcher",
    "write_page": "lmd.report.page",
}


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: a name is fetched when it is used
    if name not in _HOMES:
        raise AttributeError(f"module 'lmd' has no attribute {name!r}; it has {', '.join(__all__)}.")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
