"""Draw what the geometry of a map looks like when it is high and when it is low.

python docs/pictures/geometry.py
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
SIDE, GAP = 150, 20
BLUE, GREY = "#2b6cb0", "#999999"

Panel = tuple[str, str]


def circle_image(W: NDArray[np.float64]) -> str:
    """The unit circle in grey and what the map makes of it, with a mark that shows the turn."""
    angles = np.linspace(0, 2 * np.pi, 61)
    ring = np.stack([np.cos(angles), np.sin(angles)])
    image = W @ ring
    return _line(ring, GREY) + _line(image, BLUE) + _line(np.stack([np.zeros(2), image[:, 0]], axis=1), BLUE)


def eigenvalues(W: NDArray[np.float64]) -> str:
    """Eigenvalues, and the disc that those of a random matrix fill."""
    found = np.linalg.eigvals(W)
    size = max(np.abs(found).max(), np.linalg.norm(W) / len(W) ** 0.5)
    disc = 60 * np.linalg.norm(W) / len(W) ** 0.5 / size
    marks = "".join(f'<circle cx="{60 * z.real / size:.1f}" cy="{-60 * z.imag / size:.1f}" r="2"/>' for z in found)
    return f'<circle r="{disc:.1f}" fill="none" stroke="{GREY}"/><g fill="{BLUE}">{marks}</g>'


def bars(values: Iterable[float], mark: float | None = None) -> str:
    """Bars from the bottom, scaled to the highest; a grey line at chance."""
    heights = np.abs(np.array(list(values)))
    top, width = heights.max(), 130 / len(heights)
    drawn = "".join(
        f'<rect x="{-65 + i * width:.1f}" y="{60 - 120 * h / top:.1f}" width="{width * 0.8:.1f}" '
        f'height="{120 * h / top:.1f}"/>'
        for i, h in enumerate(heights)
    )
    line = "" if mark is None else f'<path d="M-65 {60 - 120 * mark / top:.1f}h130" stroke="{GREY}"/>'
    return f'<g fill="{BLUE}">{drawn}</g>{line}'


def _line(points: NDArray[np.float64], colour: str) -> str:
    path = " ".join(f"{30 * x:.1f},{-30 * y:.1f}" for x, y in points.T)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def write(name: str, panels: Iterable[Panel]) -> None:
    """Panels side by side, each with its caption."""
    drawn = list(panels)
    width, height = len(drawn) * (SIDE + GAP), SIDE + 24
    body = "".join(
        f'<g transform="translate({(SIDE + GAP) * i + SIDE / 2} {SIDE / 2})">{picture}'
        f'<text y="{SIDE / 2 + 14}" text-anchor="middle" font-family="sans-serif" font-size="10">{caption}</text></g>'
        for i, (caption, picture) in enumerate(drawn)
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
    (HERE / f"{name}.svg").write_text(f'{head}<rect width="100%" height="100%" fill="white"/>{body}</svg>\n')


def _turn(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _response(taps: list[float]) -> list[float]:
    return np.abs(np.fft.rfft(taps, 48)).tolist()


def _growth(W: NDArray[np.float64]) -> list[float]:
    return [float(np.linalg.norm(np.linalg.matrix_power(W, k), 2)) for k in range(24)]


def main() -> None:
    """Every picture."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((40, 40))
    write(
        "polar",
        [
            ("isometry: distance 0", circle_image(1.5 * _turn(0.7))),
            ("stretched: 0.2", circle_image(_turn(0.7) @ np.diag([2.0, 0.67]))),
            ("flattened: 0.5", circle_image(_turn(0.7) @ np.diag([2.0, 0.02]))),
        ],
    )
    write(
        "square_map",
        [
            ("random: copying 0", eigenvalues(noise)),
            ("copies: copying 1", eigenvalues(noise @ noise.T)),
            ("rotation: departure 0", eigenvalues(np.linalg.qr(noise)[0])),
            ("far from normal: 0.99", eigenvalues(np.triu(noise, 1) + 0.3 * np.eye(40))),
        ],
    )
    even = random.standard_normal(40)
    spiked = 0.1 * random.standard_normal(40)
    spiked[11] = 1.0
    write("localisation", [("spread: 3/n", bars(even)), ("on one unit: near 1", bars(spiked))])
    falling, close = 0.6 ** np.arange(8), np.array([1.0, 0.97, 0.94, 0.5, 0.48, 0.47, 0.46, 0.2])
    write("identifiability", [("far apart: each alone", bars(falling)), ("close: two blocks, one alone", bars(close))])
    norms = np.sqrt(random.chisquare(200, 40) / 200)
    far = norms.copy()
    far[11] *= 4
    write("outlier_units", [("none: norms alike", bars(norms, 1.0)), ("one outlier unit", bars(far, 1.0))])
    write(
        "pass_bands",
        [
            ("low-pass", bars(_response([1, 2, 1]))),
            ("band-pass", bars(_response([1, 0, -1]))),
            ("high-pass", bars(_response([-1, 2, -1]))),
        ],
    )
    shear = 0.8 * np.eye(4) + np.diag([1.0] * 3, 1)
    write(
        "transient", [("normal: fades at once", bars(_growth(0.8 * np.eye(4)))), ("grows first", bars(_growth(shear)))]
    )
    written = np.linalg.qr(random.standard_normal((40, 8)))[0]
    reading = [np.linalg.qr(written + near * random.standard_normal((40, 8)))[0] for near in (0.03, 100.0)]
    cosines = [np.linalg.svd(one.T @ written, compute_uv=False) for one in reading]
    chance = (8 / 40) ** 0.5
    write(
        "coupling",
        [
            ("coupled: cosines near 1", bars(cosines[0], chance)),
            ("chance: root of k/n", bars(cosines[1], chance)),
        ],
    )


if __name__ == "__main__":
    main()
