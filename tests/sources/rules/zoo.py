"""Small random networks of common architectures, named and ordered as the code that people publish writes them."""

from collections.abc import Callable, Mapping

from torch import nn

from tests.sources.rules.zoo_generators import GENERATORS
from tests.sources.rules.zoo_language import LANGUAGE
from tests.sources.rules.zoo_signals import SIGNALS
from tests.sources.rules.zoo_vision import VISION

__all__ = ["ZOO"]

ZOO: Mapping[str, Callable[[], nn.Module]] = {**LANGUAGE, **GENERATORS, **SIGNALS, **VISION}
"""Name to maker."""
