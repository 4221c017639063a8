"""All equations, by the name of the function in :mod:`jaxwave._propagators`. The contract tests run over them."""

from jaxwave.equations.acoustic import Acoustic
from jaxwave.equations.elastic import Elastic
from jaxwave.equations.scalar import Scalar

EQUATIONS = {"scalar": Scalar(None), "acoustic": Acoustic(None, None), "elastic": Elastic(None, None, None)}
