import pytest

from lmd.report.figures.localisation import draw_participation_in, draw_participation_out

CURVE = {"value": [0.5, 0.25, 0.1], "baseline": [0.03] * 3}


@pytest.mark.parametrize(
    ("draw", "key"), [(draw_participation_in, "participation_in"), (draw_participation_out, "participation_out")]
)
def test_every_direction_is_drawn_beside_chance(draw, key) -> None:
    drawing = draw({"findings": {key: CURVE}}, {}, 120)
    assert drawing == {"x": [1, 2, 3], **CURVE}


def test_nothing_to_draw_is_no_drawing() -> None:
    assert draw_participation_in({"findings": {}}, {}, 120) is None
    assert draw_participation_in({"kind": "diagonal", "findings": {"participation_in": CURVE}}, {}, 120) is None
