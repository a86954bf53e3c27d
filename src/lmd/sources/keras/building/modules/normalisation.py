"""Normalisations of torch along another axis than torch's."""

from torch import Tensor, nn

__all__ = ["KerasBatchNorm", "KerasGroupNorm", "KerasLayerNorm", "KerasRMSNorm"]


class KerasBatchNorm(nn.BatchNorm1d):
    """Of ``axis``, whatever the number of axes."""

    axis: int = -1

    def forward(self, x: Tensor) -> Tensor:
        """Normalise along the axis."""
        moved = x.movedim(self.axis, 1)
        shape = moved.shape
        flat = super().forward(moved.flatten(2) if moved.ndim > 3 else moved)
        return flat.reshape(shape).movedim(1, self.axis)


class KerasGroupNorm(nn.GroupNorm):
    """Groups of the entries along ``axis``."""

    axis: int = -1

    def forward(self, x: Tensor) -> Tensor:
        """Normalise along the axis."""
        return super().forward(x.movedim(self.axis, 1)).movedim(1, self.axis)


class KerasLayerNorm(nn.LayerNorm):
    """Of the last axes, of which ``axis`` is the last."""

    axis: int = -1

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each example, if the axes are the last ones."""
        _refuse_inner(self.axis, x)
        return super().forward(x)


class KerasRMSNorm(nn.RMSNorm):
    """Of the last axes, of which ``axis`` is the last."""

    axis: int = -1

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each example, if the axes are the last ones."""
        _refuse_inner(self.axis, x)
        return super().forward(x)


def _refuse_inner(axis: int, x: Tensor) -> None:
    if axis % x.ndim != x.ndim - 1:
        raise ValueError(f"the layer normalises along axis {axis} of {x.ndim}; only the last ones can be run.")
