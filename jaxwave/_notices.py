"""Warnings: what they are, and at whose line of code they point."""

from __future__ import annotations

import os
import sys
import warnings

import jax

_INSIDE = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in (__file__, jax.__file__))


class SubstepWarning(UserWarning):
    """The time step was divided, because it is above the stability limit."""


class UnitWarning(UserWarning):
    """A time step was divided into so many that its unit, or that of a length or a speed, is probably another one."""


class SpeedWarning(UserWarning):
    """``max_vel`` is below the speed that the models need."""


class NoEffectWarning(UserWarning):
    """An argument was given that does nothing."""


class PmlFrequencyWarning(UserWarning):
    """``pml_freq`` was not given and could not be found from the sources."""


class DispersionWarning(UserWarning):
    """The sources have wavelengths that the grid does not carry."""


class SilentReceiverWarning(UserWarning):
    """A receiver lies where nothing moves, so that its record is zero."""


def warn(category: type[Warning], message: str) -> None:
    """Warns at the line of the innermost function that is neither of this package nor of JAX: the user's.

    It may be several calls away, as in Born modelling, where JAX calls the propagator.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
