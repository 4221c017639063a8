"""All equations, by the name of the function in :mod:`jaxwave.propagators`. The contract tests run over them."""

from jaxwave.equations.acoustic import AcousticEquation
from jaxwave.equations.elastic import ElasticEquation
from jaxwave.equations.scalar import ScalarEquation

EQUATIONS = {"scalar": ScalarEquation, "acoustic": AcousticEquation, "elastic": ElasticEquation}
