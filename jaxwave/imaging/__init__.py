"""Imaging: reverse-time migration, least-squares migration, gathers, illumination, and filters around them.

All is built on the derivative of a prediction that you write, ``predict(models, survey)``: from models (a pytree, such
as a speed, an equation, or unknowns of your own that models are made of) and a survey (a pytree of arrays [shot, ...],
such as amplitudes and locations) to records (an array [shot, receiver, nt], or a pytree of them)::

    def predict(v, survey):
        return jaxwave.scalar(v, 10.0, 1e-3, **survey, max_vel=4500.0, pml_freq=15.0).receiver_amplitudes

With L its derivative with respect to the models at the background, L dm are the records of Born modelling, L^T d is
the image of reverse-time migration, and L^T L the matrix of Gauss-Newton. So all of it is exact for the discrete scheme
of any equation, in every storage mode. Shots are taken in batches, each with a history of its own, one at a time.

Call the functions eagerly: they compile what takes time themselves.
"""

from jaxwave.imaging.diagonal import illumination, source_illumination
from jaxwave.imaging.filters import UpDown, laplacian, offsets, top_mute, up_down
from jaxwave.imaging.gathers import offset_gathers, time_lag_gathers
from jaxwave.imaging.inverse import LeastSquaresImage, least_squares
from jaxwave.imaging.migration import migrate, scattered

__all__ = [
    "LeastSquaresImage", "UpDown", "illumination", "laplacian", "least_squares", "migrate", "offset_gathers",
    "offsets", "scattered", "source_illumination", "time_lag_gathers", "top_mute", "up_down",
]  # fmt: skip
