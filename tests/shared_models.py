"""Trained models that lie beside a developer's checkout and are no part of the project."""

from pathlib import Path

import pytest

__all__ = ["shared_model"]

_MODELS = Path(__file__).resolve().parents[2] / "shared" / "models"


def shared_model(file: str) -> Path:
    """The path of a file or folder; the test is skipped where it is not there, as in CI."""
    path = _MODELS / file
    if not path.exists():
        pytest.skip("shared models are not beside this checkout")
    return path
