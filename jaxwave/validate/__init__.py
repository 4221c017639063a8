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
    shots,
    state,
)
from jaxwave.validate.faces import REFLECTING, boundary_kinds, reaches_faces, room_at_faces
from jaxwave.validate.grid import accuracy, divides, per_face, region_choice, spacing, steps
from jaxwave.validate.models import RULES, speed
from jaxwave.validate.survey import (
    SILENT_REMEDY,
    inside,
    no_silent_sources,
    positive_around,
    silent_points,
    sources,
    where_silent,
)
from jaxwave.validate.values import (
    callbacks,
    concrete,
    finite,
    flag,
    fraction,
    mapping,
    named,
    once,
    pair,
    path,
    positive,
    surely_false,
    whole,
)
