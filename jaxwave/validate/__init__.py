"""Every check of what a user passed, and its message: what was wrong, what was got, the limit and the remedy."""

from jaxwave.validate.arrays import (
    FEWER,
    RAGGED,
    amplitudes,
    array,
    conversion,
    dimensions,
    field_names,
    field_ranks,
    kinds,
    least_dimensions,
    locations,
    model_shots,
    numpy_values,
    old_state,
    real_array,
    real_arrays,
    same_dtype,
    same_substeps,
    shots,
    source_goes_on,
    state,
)
from jaxwave.validate.faces import REFLECTING, boundary_kinds, reaches_faces, room_at_faces
from jaxwave.validate.grid import accuracy, per_face, region_choice, spacing, steps
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
    at_least,
    at_most,
    callbacks,
    concrete,
    finite,
    flag,
    fraction,
    instance,
    mapping,
    named,
    number,
    once,
    pair,
    path,
    positive,
    surely_false,
    whole,
    wholes,
)
