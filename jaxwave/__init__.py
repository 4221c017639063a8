"""jaxwave: differentiable wave propagation for JAX."""

from jaxwave import grid, inversion, io, resample, storage, wavelets
from jaxwave.derivatives import BornResult, gauss_newton_product, hessian_product, scalar_born
from jaxwave.dispatch import compiler_options
from jaxwave.interpolation import Hicks
from jaxwave.memory import MemoryEstimate, estimate_memory
from jaxwave.observe import CallbackState
from jaxwave.problem import PmlFrequencyWarning, SubstepWarning
from jaxwave.propagators import scalar
from jaxwave.results import RunInfo, ScalarResult, WaveState
from jaxwave.storage import StorageError
from jaxwave.survey import IGNORE_LOCATION

__version__ = "0.1.0"

__all__ = [
    "IGNORE_LOCATION",
    "BornResult",
    "CallbackState",
    "Hicks",
    "MemoryEstimate",
    "PmlFrequencyWarning",
    "RunInfo",
    "ScalarResult",
    "StorageError",
    "SubstepWarning",
    "WaveState",
    "compiler_options",
    "estimate_memory",
    "gauss_newton_product",
    "grid",
    "hessian_product",
    "inversion",
    "io",
    "resample",
    "scalar",
    "scalar_born",
    "storage",
    "wavelets",
]
