"""What the propagators are held against: a naive discrete solution, differentiable by JAX alone, and analytic ones.

Nothing here shares code with the package except the interpolation of sources, which has tests of its own.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import special

from jaxwave._setup.substeps import interpolate

# ---- the discrete scalar equation on whole arrays ----


def weights(derivative: int, accuracy: int) -> np.ndarray:
    """Weights at the cells -r..r, r = accuracy / 2, that differentiate the powers 0..2r exactly (unit spacing)."""
    r = accuracy // 2
    offsets = np.arange(-r, r + 1, dtype=float)
    powers = np.arange(2 * r + 1)
    moments = np.where(powers == derivative, math.factorial(derivative), 0.0)
    return np.linalg.solve(offsets[None, :] ** powers[:, None], moments)


def difference(x, axis: int, derivative: int, accuracy: int, spacing: float):
    """A difference along one axis of the whole array, which is zero beyond its edges."""
    r, n = accuracy // 2, x.shape[axis]
    padded = jnp.pad(x, [(r, r) if a == axis else (0, 0) for a in range(x.ndim)])
    shifted = [lax.slice_in_dim(padded, k, k + n, axis=axis) for k in range(2 * r + 1)]
    return sum(w * part for w, part in zip(weights(derivative, accuracy), shifted, strict=True)) / spacing**derivative


def profiles(n: int, widths, spacing: float, dt: float, max_vel: float, pml_freq: float):
    """a and b of the convolutional PML at all ``n`` cells of an axis; zero outside the layers."""
    a, b = np.zeros(n), np.zeros(n)
    for cell in range(n):
        for distance, width in ((cell, widths[0]), (n - 1 - cell, widths[1])):  # from the outermost cell
            if distance < width:
                depth = 1 - distance / width
                sigma = 3 * max_vel * math.log(1000) / (2 * width * spacing) * depth**2
                alpha = math.pi * pml_freq * (1 - depth)
                b[cell] = math.exp(-(sigma + alpha) * dt)
                a[cell] = sigma / (sigma + alpha) * (b[cell] - 1)
    return a, b


def split_faces(x, axis: int, widths):
    """The parts of a memory variable [shot, *interior] in the layers of an axis, as a propagator returns them."""
    n = x.shape[axis + 1]
    spans = [(0, widths[0]), (n - widths[1], n)]
    return [lax.slice_in_dim(x, lo, hi, axis=axis + 1) for (lo, hi), width in zip(spans, widths, strict=True) if width]


def join_faces(parts, faces, interior, n_shots: int, dtype):
    """Memory variables on whole arrays, one per axis, from those of the layers; the inverse of ``split_faces``."""
    parts, whole = list(parts), []
    for axis, widths in enumerate(faces):
        x = jnp.zeros((n_shots, *interior), dtype)
        for side, width in enumerate(widths):
            if width:
                start = 0 if side == 0 else interior[axis] - width
                x = lax.dynamic_update_slice_in_dim(x, parts.pop(0), start, axis + 1)
        whole.append(x)
    return whole


def step_ratio_of(dt: float, max_vel: float, spacing) -> int:
    return max(1, math.ceil(dt * max_vel * math.sqrt(sum(1 / h**2 for h in spacing)) / 0.6))


def scalar(
    v, grid_spacing, dt, *, max_vel, pml_freq, pml_width, accuracy=4,
    source_amplitudes=None, source_locations=None, receiver_locations=None, nt=None,
    wavefield_0=None, wavefield_m1=None, psi=None, zeta=None, last_samples=None,
):  # fmt: skip
    """The scheme of ``jaxwave.scalar``, array by array; a ``grid_spacing`` per axis, a ``pml_width`` per face.

    Wavefields cover the layers too. With ``last_samples`` [shot, source, sample] the state is of an earlier run with
    sub-steps. Returns a dict of ``wavefield_0``, ``wavefield_m1``, ``psi``, ``zeta`` and
    ``receiver_amplitudes``.
    """
    v = jnp.asarray(v)
    ndim = len(grid_spacing)
    faces = list(zip(pml_width[::2], pml_width[1::2], strict=True))
    shape = v.shape[-ndim:]
    interior = tuple(n + lo + hi for n, (lo, hi) in zip(shape, faces, strict=True))
    leading = [x for x in (source_amplitudes, receiver_locations, wavefield_0, wavefield_m1) if x is not None]
    n_shots = leading[0].shape[0]
    ratio = step_ratio_of(dt, max_vel, grid_spacing)
    h = dt / ratio

    models = jnp.broadcast_to(v if v.ndim == ndim + 1 else v[None], (n_shots, *shape))
    c = h**2 * jnp.pad(models, [(0, 0), *faces], mode="edge") ** 2
    lines = [profiles(interior[i], faces[i], grid_spacing[i], h, max_vel, pml_freq) for i in range(ndim)]

    def along(line, axis):
        return jnp.asarray(line, v.dtype).reshape([-1 if i == axis + 1 else 1 for i in range(ndim + 1)])

    def cells(locations):
        moved = np.asarray(locations) + np.asarray([lo for lo, _ in faces])[None, None, :]
        return (np.arange(n_shots)[:, None], *(moved[..., axis] for axis in range(ndim)))

    joined = source_amplitudes
    if last_samples is not None:
        joined = jnp.concatenate([last_samples, source_amplitudes], axis=-1)
    if source_amplitudes is None:
        amplitudes = jnp.zeros(((nt - 1) * ratio + 1, n_shots, 0), v.dtype)
    else:
        by_time = [None if x is None else jnp.moveaxis(x, 2, 0) for x in (source_amplitudes, last_samples)]
        amplitudes = -c[cells(source_locations)][None] * (by_time[0] if ratio == 1 else interpolate(*by_time, ratio))
    first = 0 if last_samples is None else ratio - 1

    def step(state, s):
        u, u_previous, psi, zeta = state
        recorded = u[cells(receiver_locations)] if receiver_locations is not None else jnp.zeros((n_shots, 0), v.dtype)
        new_psi, new_zeta, total = [], [], jnp.zeros_like(u)
        for axis in range(ndim):
            a, b = (along(line, axis) for line in lines[axis])

            def d(x, k, axis=axis):
                return difference(x, axis + 1, k, accuracy, grid_spacing[axis])

            new_psi.append(b * psi[axis] + a * d(u, 1))
            stretched = d(u, 2) + d(new_psi[axis], 1)
            new_zeta.append(b * zeta[axis] + a * stretched)
            total = total + stretched + new_zeta[axis]
        u_next = 2 * u - u_previous + c * total
        if source_locations is not None:
            u_next = u_next.at[cells(source_locations)].add(s)
        return (u_next, u, new_psi, new_zeta), recorded

    nothing = jnp.zeros((n_shots, *interior), v.dtype)
    memory = [
        [nothing] * ndim if parts is None else join_faces(parts, faces, interior, n_shots, v.dtype)
        for parts in (psi, zeta)
    ]
    fields = [nothing if x is None else jnp.asarray(x) for x in (wavefield_0, wavefield_m1)]
    (u, u_previous, psi, zeta), data = lax.scan(step, (*fields, *memory), amplitudes)

    def layers(whole):
        return tuple(part for i in range(ndim) for part in split_faces(whole[i], i, faces[i]))

    return {
        "wavefield_0": u,
        "wavefield_m1": u_previous,
        "psi": layers(psi),
        "zeta": layers(zeta),
        **({} if ratio == 1 else {"last_samples": joined[..., -7:]}),
        "receiver_amplitudes": jnp.moveaxis(data[first::ratio], 0, 2),
    }


def leapfrog_energy(u, u_previous, v, grid_spacing, dt, accuracy):
    """The quadratic form that leapfrog conserves exactly where the Laplacian is symmetric: [shot].

    E = sum over cells of ((u - u_previous) / (v dt))^2 - u laplacian(u_previous); positive below the stability limit.
    """
    laplacian = sum(difference(u_previous, i + 1, 2, accuracy, h) for i, h in enumerate(grid_spacing))
    density = ((u - u_previous) / (v * dt)) ** 2 - u * laplacian
    return density.sum(axis=tuple(range(1, u.ndim)))


# ---- analytic solutions of laplacian(u) - u_tt / v^2 = f(t) delta(x), v constant, f = 0 for t < 0 ----
#
# A source cell of a grid is a delta function of strength 1 / (cell volume): multiply these by the volume of a cell.


def _integrate(function, low, high, n: int = 256):
    """Gauss-Legendre quadrature; ``low`` and ``high`` are arrays of the same shape. Exact for smooth integrands."""
    nodes, w = np.polynomial.legendre.leggauss(n)
    middle, half = (high + low) / 2, (high - low) / 2
    return half * (function(middle[..., None] + half[..., None] * nodes) * w).sum(-1)


def homogeneous_1d(f, distance: float, v: float, t: np.ndarray) -> np.ndarray:
    """u = -v/2 times the integral of f from 0 to t - r/v (d'Alembert)."""
    end = np.maximum(t - distance / v, 0)
    return -v / 2 * _integrate(f, np.zeros_like(end), end)


def homogeneous_2d(f, distance: float, v: float, t: np.ndarray) -> np.ndarray:
    """u = -1/(2 pi) times the integral of f(t - s) / sqrt(s^2 - r^2/v^2) over s from r/v to t.

    With s = (r/v) cosh q the singularity is gone: the integral of f(t - (r/v) cosh q) over q from 0 to arcosh(t v/r).
    """
    delay = distance / v
    end = np.arccosh(np.maximum(t / delay, 1))
    return -1 / (2 * np.pi) * _integrate(lambda q: f(t[..., None] - delay * np.cosh(q)), np.zeros_like(end), end)


def homogeneous_3d(f, distance: float, v: float, t: np.ndarray) -> np.ndarray:
    """u = -f(t - r/v) / (4 pi r)."""
    late = t - distance / v
    return -np.where(late > 0, f(np.maximum(late, 0)), 0) / (4 * np.pi * distance)


def stokes(rate, place, component: int, alpha: float, beta: float, rho: float, t: np.ndarray) -> np.ndarray:
    """Velocity [component of the velocity, time] at ``place`` due to a point force at 0 along an axis, in 3-D.

    The full space's Green's function (Aki and Richards, Quantitative Seismology, 2002, eq. 4.23); ``rate`` is the time
    derivative of the force, ``place`` [axis, ...] of any shape, and the result [axis, ..., time].
    """
    place = np.asarray(place, float)
    r = np.sqrt((place**2).sum(0))
    gamma, unit = place / r, np.eye(len(place))[component].reshape(-1, *[1] * r.ndim)
    along = (gamma * gamma[component])[..., None]
    r = r[..., None]

    def delayed(delay):
        return np.where(t > delay, rate(np.maximum(t - delay, 0)), 0)

    low, high = (np.minimum(r / speed, t) for speed in (alpha, beta))
    near = _integrate(lambda s: s * rate(t[:, None] - s), low, high, 48)
    far = along / alpha**2 * delayed(r / alpha) - (along - unit[..., None]) / beta**2 * delayed(r / beta)
    return ((3 * along - unit[..., None]) / r**3 * near + far / r) / (4 * np.pi * rho)


def moment(rates, place, tensor, alpha: float, beta: float, rho: float, t: np.ndarray) -> np.ndarray:
    """Velocity as of ``stokes``, due to a moment tensor [axis, axis] times a function of time, in 3-D.

    Aki and Richards, eq. 4.29, summed over the components; ``rates`` are that function's first and second derivatives.
    """
    place, (rate, change) = np.asarray(place, float), rates
    r = np.sqrt((place**2).sum(0))
    gamma = place / r
    drawn = np.tensordot(tensor, gamma, 1)
    along, diagonal = gamma * (gamma * drawn).sum(0), gamma * np.trace(tensor)
    far_p, far_s = along[..., None], (along - drawn)[..., None]
    near = (15 * along - 3 * diagonal - 6 * drawn)[..., None]
    middle_p, middle_s = ((6 * along - diagonal - k * drawn)[..., None] for k in (2, 3))
    r = r[..., None]

    def delayed(function, delay):
        return np.where(t > delay, function(np.maximum(t - delay, 0)), 0)

    low, high = (np.minimum(r / speed, t) for speed in (alpha, beta))
    total = near / r**4 * _integrate(lambda s: s * rate(t[:, None] - s), low, high, 48)
    for sign, speed, middle, far in ((1, alpha, middle_p, far_p), (-1, beta, middle_s, far_s)):
        total = total + sign * middle / (r * speed) ** 2 * delayed(rate, r / speed)
        total = total + sign * far / (r * speed**3) * delayed(change, r / speed)
    return total / (4 * np.pi * rho)


def line_force(rate, place, component: int, alpha: float, beta: float, rho: float, t: np.ndarray) -> np.ndarray:
    """The same in 2-D, for a force per length on a line: the sum of point forces along a third axis."""
    return _line(stokes, rate, place, component, alpha, beta, rho, t)


def line_moment(rates, place, tensor, alpha: float, beta: float, rho: float, t: np.ndarray) -> np.ndarray:
    """As ``moment`` in 2-D, for a moment per length in the plane."""
    return _line(moment, rates, place, np.pad(tensor, (0, 1)), alpha, beta, rho, t)


def _line(solution, rate, place, source, alpha: float, beta: float, rho: float, t: np.ndarray) -> np.ndarray:
    reach = np.sqrt(max((alpha * t[-1]) ** 2 - sum(x**2 for x in place), 0))
    # y = r sinh q: points crowd where the line is near, and 100 of them leave an error of 1e-13.
    r = math.hypot(*place)
    nodes, w = np.polynomial.legendre.leggauss(120)
    end = math.asinh(reach / r)
    q = end / 2 * (nodes + 1)
    points = np.stack([np.full(q.shape, place[0]), np.full(q.shape, place[1]), r * np.sinh(q)])
    each = solution(rate, points, source, alpha, beta, rho, t)[:2]
    return 2 * (each * (w * end / 2 * r * np.cosh(q))[:, None]).sum(1)


def surface_speed(alpha: float, beta: float, fluid: float = math.inf, ratio: float = 0.0) -> float:
    """Speed of the wave along the plane surface of a solid: Rayleigh's, or Scholte's beside a fluid in which waves have
    the speed ``fluid`` and whose density is ``ratio`` of the solid's.

    The root, by bisection, of Rayleigh's function with the fluid's load (J. G. Scholte, Mon. Not. R. Astron. Soc.
    Geophys. Suppl. 5, 1947), which is positive at the slowest speed and negative below the root.
    """

    def secular(c):
        p, s, f = (math.sqrt(1 - (c / v) ** 2) for v in (alpha, beta, fluid))
        return (2 - (c / beta) ** 2) ** 2 - 4 * p * s + ratio * (c / beta) ** 4 * p / f

    high = min(beta, fluid) * (1 - 1e-12)
    low = 0.1 * high
    assert secular(low) < 0 < secular(high)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if secular(middle) < 0 else (low, middle)
    return low


def lamb(force, distance: float, alpha: float, beta: float, rho: float, t: np.ndarray) -> np.ndarray:
    """Vertical velocity of the surface of a half-space due to a vertical force per length on a line of it: at
    ``distance`` from the line, at regular times t.

    Lamb's problem (H. Lamb, Phil. Trans. R. Soc. A 203, 1904; Aki and Richards, Quantitative Seismology, 2002, ch. 6).
    With k the wavenumber, s the Laplace variable and g_c = sqrt(k^2 + s^2 / c^2) the displacement is

        u(k, s) = F(s) / mu  (s/beta)^2 g_alpha / ((2 k^2 + (s/beta)^2)^2 - 4 k^2 g_alpha g_beta)

    The integral over k is made to converge by taking off A / g_beta, A what u k tends to, whose integral is a Bessel
    function; that over s = sigma + i w is a Fourier sum, damped so that its period does not wrap.
    """
    n, dt, mu = 4 * len(t), t[1] - t[0], rho * beta**2
    sigma = 12 / (n * dt)
    times = t[0] + np.arange(n) * dt
    w = 2 * np.pi * np.fft.rfftfreq(n, dt)
    spectrum = np.fft.rfft(force(times) * np.exp(-sigma * times) * (times > 0)) * dt
    used = np.abs(spectrum) > 1e-9 * np.abs(spectrum).max()
    limit = 1 / (2 * (1 - (beta / alpha) ** 2))
    nodes, weights = np.polynomial.legendre.leggauss(16)
    u = np.zeros(len(w), complex)
    for i in np.flatnonzero(used):
        s = sigma + 1j * w[i]
        q = (s / beta) ** 2
        # Panels that resolve the poles, sigma / beta from the real axis, and the cosine; beyond 60 k_s nothing is left.
        end = 60 * abs(s) / beta
        near = np.linspace(0, 2 * abs(s) / beta, 2 + int(2 * abs(s) / sigma / 2 + abs(s) / beta * distance / 2))
        far = np.linspace(near[-1], end, 2 + int(end * distance / 4))[1:]
        edges = np.concatenate([near, far])
        half = np.diff(edges)[:, None] / 2
        k = (edges[:-1, None] + half * (nodes + 1)).ravel()
        p, b = np.sqrt(k**2 + (s / alpha) ** 2), np.sqrt(k**2 + q)
        kernel = q * p / ((2 * k**2 + q) ** 2 - 4 * k**2 * p * b) - limit / b
        u[i] = ((half * weights).ravel() * kernel * np.cos(k * distance)).sum()
        u[i] += limit * special.kv(0, s * distance / beta)
    velocity = np.fft.irfft((sigma + 1j * w) * u * spectrum, n) / dt / (np.pi * mu)
    return (velocity * np.exp(sigma * times))[: len(t)]


def leapfrog_in_exact_space(u_0: np.ndarray, grid_spacing, v: float, dt: float, n_steps: int):
    """Leapfrog in time with exact derivatives in space: the field after -1 and after ``n_steps`` steps.

    It starts from ``u_0`` at rest (even in time), on a periodic domain that it must not leave. Each plane wave of
    wavenumber k oscillates as cos(w n dt) with sin(w dt / 2) = v k dt / 2, which is what leapfrog makes of
    cos(v k n dt); what then separates a discrete solution from this one is the error of the differences in space.
    """
    squares = np.zeros(u_0.shape)
    for axis, (n, h) in enumerate(zip(u_0.shape, grid_spacing, strict=True)):
        k = 2 * np.pi * np.fft.fftfreq(n, h)
        squares = squares + (k**2).reshape([-1 if a == axis else 1 for a in range(u_0.ndim)])
    angle = 2 * np.arcsin(np.minimum(v * dt / 2 * np.sqrt(squares), 1))  # beyond 1 there must be no energy
    spectrum = np.fft.fftn(u_0)
    return [np.fft.ifftn(spectrum * np.cos(angle * n)).real for n in (-1, n_steps)]


def assert_close(got, want, rtol: float) -> None:
    """The largest difference of two pytrees, leaf by leaf, is at most ``rtol`` of the largest value wanted."""
    got, want = jax.tree.leaves(got), jax.tree.leaves(want)
    assert len(got) == len(want)
    for x, y in zip(got, want, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert x.shape == y.shape
        scale = np.abs(y).max(initial=0)
        error = np.abs(x - y).max(initial=0)
        assert error <= rtol * scale, f"relative difference {error / scale if scale else np.inf:.2e} > {rtol:.0e}"
