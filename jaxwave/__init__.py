"""jaxwave: differentiable wave propagation for JAX."""

from jaxwave import grid, inversion, io, resample, storage, wavelets
from jaxwave.call import Boundary, Callbacks, Grid
from jaxwave.derivatives import (
    BornResult,
    acoustic_born,
    born,
    elastic_born,
    gauss_newton_product,
    hessian_product,
    scalar_born,
)
from jaxwave.dispatch import compiler_options
from jaxwave.equations.acoustic import Acoustic
from jaxwave.equations.base import Equation, Model, model
from jaxwave.equations.elastic import Elastic
from jaxwave.equations.leapfrog import LeapfrogEquation
from jaxwave.equations.scalar import Scalar
from jaxwave.equations.scheme import Scheme, Source, Term
from jaxwave.interpolation import Hicks
from jaxwave.jax_internals import CompatibilityWarning
from jaxwave.memory import MemoryEstimate, estimate_memory, plan
from jaxwave.moduli import lambmubuoyancy_to_vpvsrho, vpvsrho_to_lambmubuoyancy
from jaxwave.notices import (
    DispersionWarning,
    NoEffectWarning,
    PmlFrequencyWarning,
    SilentReceiverWarning,
    SpeedWarning,
    SubstepWarning,
    UnitWarning,
)
from jaxwave.observe import CallbackState
from jaxwave.planning import BudgetError, StoragePlan
from jaxwave.propagators import acoustic, elastic, scalar
from jaxwave.results import (
    AcousticResult,
    AcousticState,
    ElasticResult,
    ElasticState,
    LastSources,
    Result,
    RunInfo,
    ScalarResult,
    State,
    WaveState,
)
from jaxwave.simulation import simulate
from jaxwave.storage import StorageError
from jaxwave.survey import IGNORE_LOCATION

__version__ = "0.1.0"

__all__ = [
    "IGNORE_LOCATION",
    "Acoustic",
    "AcousticResult",
    "AcousticState",
    "BornResult",
    "Boundary",
    "BudgetError",
    "CallbackState",
    "Callbacks",
    "CompatibilityWarning",
    "DispersionWarning",
    "Elastic",
    "ElasticResult",
    "ElasticState",
    "Equation",
    "Grid",
    "Hicks",
    "LastSources",
    "LeapfrogEquation",
    "MemoryEstimate",
    "Model",
    "NoEffectWarning",
    "PmlFrequencyWarning",
    "Result",
    "RunInfo",
    "Scalar",
    "ScalarResult",
    "Scheme",
    "SilentReceiverWarning",
    "Source",
    "SpeedWarning",
    "State",
    "StorageError",
    "StoragePlan",
    "SubstepWarning",
    "Term",
    "UnitWarning",
    "WaveState",
    "acoustic",
    "acoustic_born",
    "born",
    "compiler_options",
    "elastic",
    "elastic_born",
    "estimate_memory",
    "gauss_newton_product",
    "grid",
    "hessian_product",
    "inversion",
    "io",
    "lambmubuoyancy_to_vpvsrho",
    "model",
    "plan",
    "resample",
    "scalar",
    "scalar_born",
    "simulate",
    "storage",
    "vpvsrho_to_lambmubuoyancy",
    "wavelets",
]
