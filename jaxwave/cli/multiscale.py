"""Multiscale full-waveform inversion in 2-D: bands of frequencies from low to high, batches of shots, checkpoints.

The state of the inversion is one pytree, and an iteration is a function of that state and its number alone. So an
inversion that is killed goes on from its checkpoint to the same result, to the last bit.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxwave import inversion
from jaxwave._propagators import scalar
from jaxwave._results import ScalarResult
from jaxwave._timeloop.dispatch import compiler_options
from jaxwave.cli import report
from jaxwave.wavelets import ricker


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides the result of an inversion, besides the models. Written into checkpoints and results.

    Attributes:
        spacing: Cell size (metres).
        dt: Time step of the records (seconds).
        nt: Samples in a record.
        freqs: Upper frequency of every band (Hz), in the order of use.
        peak_freq: Peak frequency of the sources' Ricker wavelet (Hz).
        shots: Number of shots, evenly spread along the surface.
        batch: Shots in an iteration.
        iterations: Iterations in every band.
        optimizer: "adam" or "sgd".
        learning_rate: Change of a cell in an iteration (m/s): its typical size where it is largest in a band.
        gradient_smooth: Standard deviation (metres) of the smoothing of gradients.
        frozen_cells: Rows at the top that stay as they are: the water.
        min_vel, max_vel: Bounds of the model (m/s).
        accuracy: Order of the differences in space.
        seed: Seed of the order of the shots.
        storage, storage_path, compression: Where gradients keep their wavefields.
    """

    spacing: float
    dt: float
    nt: int
    freqs: tuple[float, ...]
    peak_freq: float
    shots: int
    batch: int
    iterations: int
    optimizer: str
    learning_rate: float
    gradient_smooth: float
    frozen_cells: int
    min_vel: float
    max_vel: float
    accuracy: int
    seed: int
    storage: str
    storage_path: str
    compression: str

    @property
    def total(self) -> int:
        """Iterations in all bands."""
        return len(self.freqs) * self.iterations

    def as_json(self) -> dict[str, Any]:
        """The settings, as JSON gives them back."""
        return {**dataclasses.asdict(self), "freqs": list(self.freqs)}


class State(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        v: The model [z, x].
        optimizer: State of the optimizer in this band.
        batch_misfits: Relative misfit of the batch in every iteration [band, iteration]; NaN where still to come.
        misfits: Relative misfit of all shots before and after every band [band, 2].
        stages: Model after every band [band, z, x].
    """

    v: jax.Array
    optimizer: Any
    batch_misfits: np.ndarray
    misfits: np.ndarray
    stages: np.ndarray


class Inversion:
    """An inversion that has been set up.

    Args:
        settings: All its settings.
        true: Model that the observed data are made in [z, x].
        initial: Model to start from.

    Attributes:
        identity: What two inversions have to share to give the same result, for a checkpoint.
    """

    def __init__(self, settings: Settings, true: np.ndarray, initial: np.ndarray) -> None:
        self.settings = settings
        self._initial = jnp.asarray(initial, jnp.float32)
        digest = hashlib.sha256(np.stack([true, initial]).astype(np.float32).tobytes()).hexdigest()
        self.identity = {**settings.as_json(), "models": digest[:12]}
        self._sources, self._receivers = _survey(settings, true.shape)
        wavelet = ricker(settings.peak_freq, settings.nt, settings.dt, 1.5 / settings.peak_freq, dtype=jnp.float32)
        self._wavelet = np.asarray(wavelet)
        self._optimizer = _optimizer(settings)
        self._compile()
        self._true = jnp.asarray(true, jnp.float32)
        self._observed = np.zeros((0,))

    def check(self) -> ScalarResult:
        """Let the propagator check everything without running it."""
        return jax.eval_shape(self._simulate, self._initial, self._sources[: self.settings.batch])

    def begin(self) -> State:
        """The state before the first iteration."""
        bands, (nz, nx) = len(self.settings.freqs), self._initial.shape
        return State(
            self._initial,
            self._optimizer.init(self._initial),
            np.full((bands, self.settings.iterations), np.nan),
            np.full((bands, 2), np.nan),
            np.full((bands, nz, nx), np.nan, np.float32),
        )

    def observe(self) -> None:
        """Make the observed data, in batches of the size that the inversion uses."""
        batches = [np.asarray(self._record(self._true, self._sources[shots])) for shots in self._all_shots()]
        self._observed = np.concatenate(batches)[: self.settings.shots]

    def run(self, state: State, done: int, after: Callable[[State, int], None]) -> State:
        """Carry out the iterations from number ``done``; ``after(state, iterations done)`` is called after each."""
        settings = self.settings
        for k in range(done, settings.total):
            band, i = divmod(k, settings.iterations)
            if i == 0:
                state.misfits[band, 0] = self._misfit_of_all(state.v, band)
                state = state._replace(optimizer=self._optimizer.init(state.v))
            shots = inversion.shot_batch(settings.shots, settings.batch, settings.seed, k)
            v, optimizer, misfit = self._update(
                state.v, state.optimizer, self._sources[shots], self._observed[shots], settings.freqs[band]
            )
            state = state._replace(v=v, optimizer=optimizer)
            state.batch_misfits[band, i] = misfit
            if i == settings.iterations - 1:
                state.misfits[band, 1] = self._misfit_of_all(v, band)
                state.stages[band] = v
            after(state, k + 1)
        return state

    def _simulate(self, v: jax.Array, sources: jax.Array) -> ScalarResult:
        settings, n = self.settings, sources.shape[0]
        with report.quiet_substeps():
            return scalar(
                v, settings.spacing, settings.dt,
                source_amplitudes=np.tile(self._wavelet, (n, 1, 1)), source_locations=sources,
                receiver_locations=np.repeat(self._receivers, n, axis=0),
                accuracy=settings.accuracy, pml_freq=settings.peak_freq, max_vel=settings.max_vel,
                **report.storage_options(settings),
            )  # fmt: skip

    def _misfit(self, v: jax.Array, sources: jax.Array, observed: jax.Array, cutoff: jax.Array) -> jax.Array:
        """Misfit in a band, relative to the observed data in that band."""
        predicted = self._simulate(v, sources).receiver_amplitudes
        predicted, observed = (inversion.lowpass(x, cutoff, self.settings.dt) for x in (predicted, observed))
        return inversion.l2_misfit(predicted, observed) / jnp.mean(observed**2)

    def _compile(self) -> None:
        """One program for each task; the frequency is an argument, so all bands share them."""
        jit = functools.partial(jax.jit, compiler_options=compiler_options() or None)
        rows = jnp.arange(self._initial.shape[0])[:, None]
        free = (rows >= self.settings.frozen_cells).astype(jnp.float32)

        def update(v, optimizer, sources, observed, cutoff):
            misfit, gradient = jax.value_and_grad(self._misfit)(v, sources, observed, cutoff)
            smooth = inversion.gaussian_smooth(gradient * free, self.settings.gradient_smooth, self.settings.spacing)
            change, optimizer = self._optimizer.update(smooth * free, optimizer, v)
            v = jnp.clip(v + change * free, self.settings.min_vel, self.settings.max_vel)
            return jnp.where(free > 0, v, self._initial), optimizer, misfit

        self._record = jit(lambda v, sources: self._simulate(v, sources).receiver_amplitudes)
        self._evaluate = jit(self._misfit)
        self._update = jit(update)

    def _all_shots(self) -> list[np.ndarray]:
        """All shots in batches; the last one is filled up with the last shot."""
        last, size = self.settings.shots - 1, self.settings.batch
        return [np.minimum(np.arange(first, first + size), last) for first in range(0, last + 1, size)]

    def _misfit_of_all(self, v: jax.Array, band: int) -> float:
        """Mean of the batches' relative misfits (a shot that fills up the last batch counts twice)."""
        cutoff = self.settings.freqs[band]
        values = [self._evaluate(v, self._sources[s], self._observed[s], cutoff) for s in self._all_shots()]
        return math.fsum(map(float, values)) / len(values)


def _survey(settings: Settings, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Sources [shot, 1, 2] spread evenly just below the surface, and receivers [1, receiver, 2] in every column."""
    nx = shape[1]
    x = np.round((np.arange(settings.shots) + 0.5) * nx / settings.shots - 0.5).astype(int)
    sources = np.stack([np.ones_like(x), x], axis=-1)[:, None]
    receivers = np.stack([np.ones(nx, int), np.arange(nx)], axis=-1)[None]
    return sources, receivers


def _optimizer(settings: Settings) -> optax.GradientTransformation:
    """Adam or momentum on the gradient scaled to one (rms), with a rate that rises and falls within a band.

    It starts low because Adam's first step is as large for a cell with a small gradient as for any other.
    """
    peak, n = settings.learning_rate, settings.iterations
    rate = optax.warmup_cosine_decay_schedule(
        0.1 * peak, peak, warmup_steps=n // 8, decay_steps=n, end_value=0.1 * peak
    )
    if settings.optimizer == "adam":
        return optax.chain(_unit_rms(), optax.adam(rate))
    return optax.chain(_unit_rms(), optax.trace(decay=0.8), optax.scale(0.2), optax.scale_by_learning_rate(rate))


def _unit_rms() -> optax.GradientTransformation:
    """Scales a gradient to a root mean square of one: misfits have units in which optimizers' small constants are not
    small.
    """
    return optax.stateless(lambda g, _: g / (jnp.sqrt(jnp.mean(g**2)) + jnp.finfo(g.dtype).tiny))
