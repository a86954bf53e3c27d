"""Files and registrations agree; what is public is documented; what is promised on the front page is there."""

import inspect
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import lmd
import lmd.layers
from lmd.engines.local import Local
from lmd.findings.analysis import analyses
from lmd.layers import registry
from lmd.sources import formats
from lmd.testing import check_engine, layers_of
from tests.examples import FORMATS, KINDS, NETWORKS

ROOT = Path(__file__).resolve().parents[2]
NO_KINDS = {
    *("gain", "layer_matrix", "recurrence", "registry", "thin_product", "walk", "folding", "tied"),
    *("caches", "children", "choice", "circuits", "counts", "layouts", "norms", "positions", "projection", "settings"),
    *("comparison", "families", "remarks"),
    *("keras_words", "law", "usual"),
    *("fused", "omissions", "pieces", "probing", "stored", "trial"),
    *("convolution_maps", "feeding", "pooled"),
    *("against_base", "changed_layers", "differences", "grown", "kronecker", "live_settings", "matching", "multiplied"),
    *("replaced_rows", "setting", "shared_bases", "starts", "unpaired", "whole_update"),
    *("alignment", "pairs", "rounding_noise"),
    *("affine_folding", "bias", "complex_maps", "decays", "diagonal_states", "expert_rows", "parametrised_note"),
}
PROMISED_KINDS = [
    "dense",
    "embedding",
    "kernel_matrix",
    "conv_operator",
    "conv_symbol",
    "query",
    "key",
    "value",
    "attention_output",
    "query_key",
    "value_output",
    "gate",
    "diagonal",
    "adapter",
    "difference",
    "expert",
]


def kinds_of(module: str) -> set[str]:
    """Names of the kinds that a file registers."""
    return {function.__name__ for function in registry.registered() if function.__module__ == module}


FILES = [m.name for m in walk_packages(lmd.layers.__path__, "lmd.layers.") if not m.ispkg]


@pytest.mark.parametrize("file", [name for name in FILES if name.rpartition(".")[2] not in NO_KINDS])
def test_every_file_of_the_layers_registers_what_it_publishes(file):
    module = import_module(file)
    assert kinds_of(module.__name__) == set(module.__all__)


def test_every_promised_kind_has_an_example():
    found = {layer.kind for example in KINDS for layer in layers_of(example.module, example.input_shape).values()}
    assert found == set(PROMISED_KINDS)


def test_every_file_of_the_findings_registers_an_analysis():
    files = {p.stem for p in (ROOT / "src/lmd/findings").rglob("*/*.py") if p.stem != "__init__"}
    assert files == {chosen.function.__module__.rpartition(".")[2] for chosen in analyses().values()}


def test_every_format_has_a_writer_among_the_examples():
    for name in formats._OWN:
        import_module(f"lmd.sources.{name}")
    assert set(formats._formats) <= set(FORMATS)


def test_the_local_engine_is_an_engine():
    check_engine(Local(), NETWORKS["mlp"])


@pytest.mark.parametrize("name", lmd.__all__)
def test_public_names_are_there_and_documented(name):
    assert inspect.getdoc(getattr(lmd, name))
    assert f"`{name}" in (ROOT / "docs/python.md").read_text(), f"docs/python.md does not mention {name}"


def test_public_names_are_listed_once_and_in_order():
    assert lmd.__all__ == sorted(set(lmd.__all__))
    assert set(lmd._HOMES) == set(lmd.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lmd.nothing


def test_modules_say_what_they_publish():
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src/lmd").rglob("*.py")
        if path.name != "__init__.py" and "__all__" not in path.read_text()
    ]
    assert silent == []
