"""Sources and receivers between the cells, by Kaiser-windowed sinc interpolation.

A field without wavenumbers above pi per cell is the sum of its samples times sincs; a Kaiser window makes the sinc as
short as ``half_width`` cells on each side. The value at a point x of one axis is then

::

    u(x) = sum over n of u[n] w(n - x),      w(d) = sinc(d) I0(beta sqrt(1 - (d / half_width)^2)) / I0(beta)

and the derivative there has sinc' in the place of sinc. In more dimensions the weights are products. A source is the
transpose: it puts its amplitude times w(n - x) into the cells.

Reference: G. J. Hicks, "Arbitrary source and receiver positioning in finite-difference schemes using Kaiser windowed
sinc functions", Geophysics 67 (2002).
"""

from jaxwave._interpolation.hicks import Hicks

__all__ = ["Hicks"]
