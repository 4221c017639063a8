"""Every check of what a user passed, and its message: what was wrong, what was got, the limit and the remedy."""

from jaxwave._setup.validate.arrays import (
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
    same_model,
    same_substeps,
    shots,
    source_goes_on,
    state,
)
from jaxwave._setup.validate.faces import REFLECTING, boundary_kinds, reaches_faces, reflecting, room_at_faces
from jaxwave._setup.validate.grid import accuracy, multiaxial, per_face, region_choice, spacing, steps
from jaxwave._setup.validate.models import RULES, speed
from jaxwave._setup.validate.survey import (
    SILENT_REMEDY,
    inside,
    no_silent_sources,
    positive_around,
    silent_points,
    sources,
    where_silent,
)
from jaxwave._setup.validate.values import (
    arguments,
    at_least,
    at_most,
    callbacks,
    concrete,
    finite,
    flag,
    fraction,
    instance,
    mapping,
    number,
    once,
    pair,
    path,
    positive,
    surely_false,
    whole,
    wholes,
)
