"""What a run is to compute."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lmd.activations.examples import InputShape
from lmd.linalg.rounding.steps import ROUNDINGS
from lmd.sources.wishes import Wishes

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """What to compute for each layer.

    Attributes:
        vectors: how many leading singular triples to keep; None keeps all, 0 none.
        rank: keep this many triples instead.
        energy: or as many as hold this share of the squared Frobenius norm, in (0, 1].
        error: or as many as leave at most this relative Frobenius error, in [0, 1).
        layers: glob of layer names; the others are left out.
        seed: of randomised decompositions.
        kinds: glob of module paths to kind, for files whose names and shapes allow several readings.
        parts: rows for parts of layers too: heads, circuits, operators, means and deviations of experts.
        distance: position of the query minus that of the key, for query-key forms with rotary positions.
        fold_bias: take ``[W b]``, the map of the input and a constant 1, where a layer has a bias.
        fold_norm: take ``W diag(gain)``, where a normalisation right before the layer scales its input.
        input_shape: shape of one example without the batch axis, ``(3, 32, 32)``, or of each input, see
            ``lmd.activations.examples``: convolutions are then taken as operators on inputs of the size they get. Data
            tell it too.
        rounding: the type whose rounding directions must survive to be named: ``stored``, ``float32``, ``float16``,
            ``bf16``, ``fp8`` (e4m3, one scale), ``int8`` (a scale for each row) or ``int4`` (one for each 32 inputs).
        power_law: fit a power law to the largest values of each spectrum.
        power_law_draws: samples for the p-value of that fit; 0 for none.
        pseudospectra: Kreiss constants and pseudospectra of recurrent maps, which take seconds each.
    """

    vectors: int | None = 32
    rank: int | None = None
    energy: float | None = None
    error: float | None = None
    layers: str = "*"
    seed: int = 0
    kinds: Mapping[str, str] = field(default_factory=dict)
    parts: bool = True
    distance: int = 0
    fold_bias: bool = False
    fold_norm: bool = False
    input_shape: InputShape | None = None
    rounding: str = "stored"
    pseudospectra: bool = False
    power_law: bool = False
    power_law_draws: int = 0

    def __post_init__(self) -> None:
        """Refuse what contradicts itself before any work is done."""
        self._refuse_types()
        rules = {k: getattr(self, k) for k in ("rank", "energy", "error") if getattr(self, k) is not None}
        if len(rules) > 1:
            raise ValueError(f"{' and '.join(rules)} exclude each other; choose one way to truncate.")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank={self.rank} must be at least 1; leave it out to keep the leading 32 triples.")
        if self.vectors is not None and self.vectors < 0:
            raise ValueError(f"vectors={self.vectors} must be 0 or more, or None for all.")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise ValueError(f"energy={self.energy} must be above 0 and at most 1: the share of ||W||_F^2 to keep.")
        if self.rounding != "stored" and self.rounding not in ROUNDINGS:
            known = ", ".join(("stored", *ROUNDINGS))
            raise ValueError(f"rounding={self.rounding!r} must be one of {known}; leave it out for the stored type.")
        self._refuse_draws()
        if self.error is not None and not 0 <= self.error < 1:
            raise ValueError(
                f"error={self.error} must be at least 0 and below 1: the relative Frobenius error to allow."
            )

    def _refuse_draws(self) -> None:
        draws = self.power_law_draws
        if draws < 0:
            raise ValueError(f"power_law_draws={draws} must be 0 or more; 0 makes no p-value of the fit.")
        if draws and not self.power_law:
            raise ValueError(
                f"power_law_draws={draws} is about a fit that was not asked for; add power_law=True "
                f"(--weightwatcher-columns)."
            )

    def _refuse_types(self) -> None:
        for name, otherwise in (("vectors", "None for all"), ("rank", "None for no rule")):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                kind = type(value).__name__
                raise TypeError(f"{name}={value!r} is of type {kind}; give a whole number, or {otherwise}.")
        if not isinstance(self.layers, str):
            kind = type(self.layers).__name__
            raise TypeError(f"layers={self.layers!r} is of type {kind}; give one glob of layer names, such as 'h.*'.")

    def truncation(self, full: int) -> dict[str, Any]:
        """The arguments ``factors_of`` takes for a layer of this full rank; ``rank`` is a ceiling."""
        if self.rank is not None:
            return {"rank": min(self.rank, full)}
        rules = {k: getattr(self, k) for k in ("energy", "error") if getattr(self, k) is not None}
        return rules or {"vectors": self.vectors}

    @property
    def wishes(self) -> Wishes:
        """What the layers need to know of them."""
        return Wishes(self.parts, self.distance, self.fold_bias, self.fold_norm)
