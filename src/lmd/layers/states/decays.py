"""The ways in which libraries store how fast a state forgets."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lmd.sources.reading import Confidence

__all__ = ["DECAYS", "STEPS", "DecayForm", "decay_form", "of_one_step"]

_GRIFFIN = 8.0
"""De et al. 2024 raise the decay to this power times the gate."""


def _real(A: Tensor) -> Tensor:
    return A.double()


def _negative_exponential(A_log: Tensor) -> Tensor:
    return -torch.exp(A_log.double())


def _exponential_and_imaginary(log_real: Tensor, imaginary: Tensor) -> Tensor:
    return torch.complex(-torch.exp(log_real.double()), imaginary.double().expand(log_real.shape))


def _two_exponentials(log_real: Tensor, log_imaginary: Tensor) -> Tensor:
    return _exponential_and_imaginary(log_real, torch.exp(log_imaginary.double()))


def _as_stored(real: Tensor, imaginary: Tensor) -> Tensor:
    return torch.complex(real.double(), imaginary.double())


def _pairs(values: Tensor) -> Tensor:
    if values.is_complex():
        return values.to(torch.complex128)
    return torch.view_as_complex(values.double().contiguous())


def _modulus_and_phase(nu_log: Tensor, theta_log: Tensor) -> Tensor:
    return torch.exp(torch.complex(-torch.exp(nu_log.double()), torch.exp(theta_log.double())))


def _exponential_of_exponential(rate_log: Tensor) -> Tensor:
    return torch.exp(-torch.exp(rate_log.double()))


def _open_gate(parameter: Tensor) -> Tensor:
    return torch.exp(-_GRIFFIN * softplus(parameter.double()))


@dataclass(frozen=True, slots=True)
class DecayForm:
    """One way to store eigenvalues.

    Attributes:
        names: of the tensors, in the order of the function's arguments.
        function: from these tensors to the eigenvalues, in float64 or complex128, as many axes as stored.
        formula: the same in words.
        per_step: whether it is the factor of one step; else the rate per unit of time.
        confidence: whether the names say it, or several libraries use them in different ways.
        is_complex: whether the eigenvalues are.
        conjugates: whether the states stand for themselves and their conjugates: twice the real part is read.
    """

    names: tuple[str, ...]
    function: Callable[..., Tensor]
    formula: str
    per_step: bool = False
    confidence: Confidence = "declared"
    is_complex: bool = True
    conjugates: bool = False


_EXP = "A = -exp({}) + i {}"
DECAYS: tuple[DecayForm, ...] = (
    DecayForm(("A_log",), _negative_exponential, "A = -exp(A_log)", is_complex=False),
    DecayForm(
        ("log_A_real", "A_imag"), _exponential_and_imaginary, _EXP.format("log_A_real", "A_imag"), conjugates=True
    ),
    *(
        # an exponential unless its settings name another transformation, which no file keeps
        DecayForm(names, _exponential_and_imaginary, _EXP.format(*names), confidence="guess", conjugates=True)
        for names in (("inv_A_real", "A_imag"), ("inv_w_real", "w_imag"))
    ),
    DecayForm(
        ("Lambda_log_neg_re", "Lambda_im"), _exponential_and_imaginary, _EXP.format("Lambda_log_neg_re", "Lambda_im")
    ),
    DecayForm(
        ("Lambda_log_neg_re", "Lambda_log_im"), _two_exponentials, "A = -exp(Lambda_log_neg_re) + i exp(Lambda_log_im)"
    ),
    *(
        DecayForm(names, _as_stored, f"A = {names[0]} + i {names[1]}, as stored", confidence="guess")
        for names in (
            *(("A_re", "A_im"), ("A_real", "A_imag"), ("Lambda_re", "Lambda_im"), ("Lambda_real", "Lambda_imag")),
            *(("w_re", "w_im"), ("w_real", "w_imag")),
        )
    ),
    DecayForm(("Lambda",), _pairs, "Lambda as stored, real and imaginary parts side by side", confidence="guess"),
    DecayForm(
        ("nu_log", "theta_log"), _modulus_and_phase, "exp(-exp(nu_log) + i exp(theta_log)) for each step", per_step=True
    ),
    DecayForm(
        ("nu_log",), _exponential_of_exponential, "exp(-exp(nu_log)) for each step", per_step=True, is_complex=False
    ),
    *(
        DecayForm(
            (name,),
            _open_gate,
            f"exp(-8 softplus({name})) for each step with the recurrent gate open; a gate r takes it to the power r",
            per_step=True,
            is_complex=False,
        )
        for name in ("recurrent_param", "a_param")
    ),
    DecayForm(
        ("time_decay",),
        _exponential_of_exponential,
        "exp(-exp(time_decay)) for each step",
        per_step=True,
        is_complex=False,
    ),
)
"""Asked in this order."""

STEPS = ("log_dt", "log_step")
"""Logarithms of the length of a step."""


def decay_form(own: Collection[str]) -> DecayForm | None:
    """The first form whose tensors a module has."""
    return next((form for form in DECAYS if set(form.names) <= set(own)), None)


def of_one_step(*tensors: Tensor, form: DecayForm, each_state: bool) -> Tensor:
    """``exp(dt A)``, from the tensors of ``form`` and the logarithm of ``dt``: one for each state or each channel."""
    *stored, log_dt = tensors
    dt = torch.exp(log_dt.double()).flatten()
    return torch.exp(form.function(*stored) * (dt if each_state else dt[:, None]))
