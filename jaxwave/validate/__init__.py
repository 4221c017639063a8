"""Every check of what a user passed, and its message: what was wrong, what was got, the limit and the remedy."""

from jaxwave.validate.arrays import (
    dimensions,
    field_names,
    field_ranks,
    kinds,
    least_dimensions,
    locations,
    model_shots,
    real_array,
    same_dtype,
    same_substeps,
    shots,
    source_goes_on,
    state,
)
from jaxwave.validate.faces import REFLECTING, boundary_kinds, reaches_faces, room_at_faces
from jaxwave.validate.grid import accuracy, per_face, region_choice, spacing, steps
from jaxwave.validate.models import RULES, speed
from jaxwave.validate.survey import inside, positive_around, sources
from jaxwave.validate.values import (
    callbacks,
    concrete,
    finite,
    flag,
    fraction,
    mapping,
    once,
    pair,
    path,
    positive,
    surely_false,
    whole,
)
