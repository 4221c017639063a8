"""jaxwave: differentiable wave propagation for JAX."""

from jaxwave import (
    anisotropy,
    attenuation,
    das,
    devices,
    grid,
    imaging,
    inversion,
    io,
    loop,
    misfits,
    models,
    optimization,
    resample,
    segy,
    sources,
    storage,
    wavelets,
)
from jaxwave._autotune.memory import MemoryEstimate, estimate_memory, plan
from jaxwave._autotune.planning import BudgetError, StorageOption, StoragePlan
from jaxwave._derivatives import (
    BornResult,
    acoustic_born,
    born,
    elastic_born,
    gauss_newton_product,
    hessian_product,
    scalar_born,
)
from jaxwave._interpolation import Hicks
from jaxwave._jax_internals import CompatibilityWarning
from jaxwave._moduli import lambmubuoyancy_to_vpvsrho, vpvsrho_to_lambmubuoyancy
from jaxwave._notices import (
    DispersionWarning,
    NoEffectWarning,
    PmlFrequencyWarning,
    SilentReceiverWarning,
    SpeedWarning,
    SubstepWarning,
    UnitWarning,
)
from jaxwave._propagators import acoustic, elastic, scalar
from jaxwave._results import (
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
from jaxwave._setup.call import Boundary, Callbacks, Grid
from jaxwave._setup.decomposition import Decomposition
from jaxwave._setup.survey import IGNORE_LOCATION
from jaxwave._simulation import simulate
from jaxwave._timeloop.dispatch import compiler_options
from jaxwave._timeloop.observe import CallbackState
from jaxwave.equations.acoustic import Acoustic
from jaxwave.equations.acoustic_tti import AcousticTTI
from jaxwave.equations.acoustic_vti import AcousticVTI
from jaxwave.equations.anisotropic import ElasticOrthorhombic, ElasticVTI
from jaxwave.equations.base import Equation, Model, model
from jaxwave.equations.elastic import Elastic
from jaxwave.equations.elastic_tti import ElasticTTI
from jaxwave.equations.leapfrog import LeapfrogEquation
from jaxwave.equations.scalar import Scalar
from jaxwave.equations.scheme import Scheme, Source, Term
from jaxwave.equations.viscoacoustic import Viscoacoustic
from jaxwave.equations.viscoelastic import Viscoelastic
from jaxwave.storage import StorageError

__version__ = "0.1.0"

__all__ = [
    "IGNORE_LOCATION",
    "Acoustic",
    "AcousticResult",
    "AcousticState",
    "AcousticTTI",
    "AcousticVTI",
    "BornResult",
    "Boundary",
    "BudgetError",
    "CallbackState",
    "Callbacks",
    "CompatibilityWarning",
    "Decomposition",
    "DispersionWarning",
    "Elastic",
    "ElasticOrthorhombic",
    "ElasticResult",
    "ElasticState",
    "ElasticTTI",
    "ElasticVTI",
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
    "StorageOption",
    "StoragePlan",
    "SubstepWarning",
    "Term",
    "UnitWarning",
    "Viscoacoustic",
    "Viscoelastic",
    "WaveState",
    "acoustic",
    "acoustic_born",
    "anisotropy",
    "attenuation",
    "born",
    "compiler_options",
    "das",
    "devices",
    "elastic",
    "elastic_born",
    "estimate_memory",
    "gauss_newton_product",
    "grid",
    "hessian_product",
    "imaging",
    "inversion",
    "io",
    "lambmubuoyancy_to_vpvsrho",
    "loop",
    "misfits",
    "model",
    "models",
    "optimization",
    "plan",
    "resample",
    "scalar",
    "scalar_born",
    "segy",
    "simulate",
    "sources",
    "storage",
    "vpvsrho_to_lambmubuoyancy",
    "wavelets",
]
