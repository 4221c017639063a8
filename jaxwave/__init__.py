"""jaxwave: differentiable wave propagation for JAX."""

from jaxwave import grid, inversion, io, resample, storage, wavelets
from jaxwave.derivatives import BornResult, gauss_newton_product, hessian_product, scalar_born
from jaxwave.dispatch import compiler_options
from jaxwave.interpolation import Hicks
from jaxwave.memory import MemoryEstimate, estimate_memory, plan
from jaxwave.moduli import lambmubuoyancy_to_vpvsrho, vpvsrho_to_lambmubuoyancy
from jaxwave.notices import (
    DispersionWarning,
    PmlFrequencyWarning,
    SilentReceiverWarning,
    SubstepWarning,
    UnitWarning,
)
from jaxwave.observe import CallbackState
from jaxwave.planning import BudgetError, StoragePlan
from jaxwave.propagators import acoustic, elastic, scalar
from jaxwave.results import AcousticResult, AcousticState, ElasticResult, ElasticState, RunInfo, ScalarResult, WaveState
from jaxwave.storage import StorageError
from jaxwave.survey import IGNORE_LOCATION

__version__ = "0.1.0"

__all__ = [
    "IGNORE_LOCATION",
    "AcousticResult",
    "AcousticState",
    "BornResult",
    "BudgetError",
    "CallbackState",
    "DispersionWarning",
    "ElasticResult",
    "ElasticState",
    "Hicks",
    "MemoryEstimate",
    "PmlFrequencyWarning",
    "RunInfo",
    "ScalarResult",
    "SilentReceiverWarning",
    "StorageError",
    "StoragePlan",
    "SubstepWarning",
    "UnitWarning",
    "WaveState",
    "acoustic",
    "compiler_options",
    "elastic",
    "estimate_memory",
    "gauss_newton_product",
    "grid",
    "hessian_product",
    "inversion",
    "io",
    "lambmubuoyancy_to_vpvsrho",
    "plan",
    "resample",
    "scalar",
    "scalar_born",
    "storage",
    "vpvsrho_to_lambmubuoyancy",
    "wavelets",
]
