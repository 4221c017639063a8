"""All equations by name, with what of them is static; the contract tests run over them.

The first three are those of the functions in :mod:`jaxwave._propagators`, of the same names.
"""

from jaxwave.attenuation import ConstantQ
from jaxwave.equations.acoustic import Acoustic
from jaxwave.equations.acoustic_tti import AcousticTTI
from jaxwave.equations.acoustic_vti import AcousticVTI
from jaxwave.equations.anisotropic import ElasticOrthorhombic, ElasticVTI
from jaxwave.equations.base import Equation
from jaxwave.equations.elastic import Elastic
from jaxwave.equations.elastic_tti import ElasticTTI
from jaxwave.equations.scalar import Scalar
from jaxwave.equations.viscoacoustic import Viscoacoustic
from jaxwave.equations.viscoelastic import Viscoelastic

EQUATIONS: dict[str, Equation] = {
    "scalar": Scalar(),
    "acoustic": Acoustic(),
    "elastic": Elastic(),
    "acoustic_vti": AcousticVTI(),
    "acoustic_tti": AcousticTTI(),
    "elastic_vti": ElasticVTI(),
    "elastic_tti": ElasticTTI(),
    "elastic_orthorhombic": ElasticOrthorhombic(),
    "viscoacoustic": Viscoacoustic(relaxation=ConstantQ((10.0, 100.0), 2)),
    "viscoelastic": Viscoelastic(relaxation=ConstantQ((10.0, 100.0), 2)),
}
