"""Draws null_models.svg: python docs/pictures/null_models.py."""

from pathlib import Path

import torch

from lmd.linalg.chance.shuffles import quick_values, shuffles

_WIDTH, _HEIGHT, _GAP = 220, 130, 20


def _line(values: torch.Tensor, left: int, largest: float, style: str) -> str:
    x = torch.linspace(0, _WIDTH - 2 * _GAP, len(values))
    points = zip((left + x).tolist(), (_HEIGHT - 100 * values / largest).tolist(), strict=True)
    return f'<polyline fill="none" {style} points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>'


def _panel(title: str, W: torch.Tensor, left: int) -> str:
    own, mixed = quick_values(W), quick_values(dict(shuffles(W))["entries"])
    largest = max(own[0].item(), mixed[0].item())
    return (
        f'<text x="{left}" y="16" font-family="sans-serif" font-size="12" fill="#777">{title}</text>'
        + _line(mixed[:32], left, largest, 'stroke="#999" stroke-width="2" stroke-dasharray="4 3"')
        + _line(own[:32], left, largest, 'stroke="#2a6fdb" stroke-width="2"')
    )


def main() -> None:
    """Three panels: the layer (blue) and its weights in random order (dashed)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(128, 128, generator=generator)
    direction = torch.randn(128, 1, generator=generator) @ torch.randn(1, 128, generator=generator)
    huge = noise.clone()
    huge[[5, 60, 100], [7, 70, 17]] = torch.tensor([40.0, 50.0, 60.0])
    panels = [("chance", noise), ("a common direction", noise + 0.4 * direction), ("three huge weights", huge)]
    drawn = "".join(_panel(title, W, _GAP + index * _WIDTH) for index, (title, W) in enumerate(panels))
    size = f"0 0 {3 * _WIDTH} {_HEIGHT + 10}"
    text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}">{drawn}</svg>\n'
    Path(__file__).with_suffix(".svg").write_text(text)


if __name__ == "__main__":
    main()
