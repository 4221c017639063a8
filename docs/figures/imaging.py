"""Draws docs/images/imaging_marmousi.png, imaging_gathers.png and imaging_up_down.png; needs matplotlib.

JAXWAVE_DATA: the directory that holds marmousi_vp.npy (20 m cells). Without arguments all three; else those named:
``marmousi``, ``gathers``, ``up_down``. Marmousi takes about five minutes on two CPU cores.
"""

import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import jaxwave
from jaxwave import imaging, inversion

IMAGES = Path(__file__).parents[1] / "images"


def predictor(spacing, dt, max_vel, freq):
    """Records of a speed and a survey."""

    def predict(v, survey):
        return jaxwave.scalar(
            v, spacing, dt, **survey, accuracy=8, max_vel=max_vel, pml_freq=freq, model_gradient_sampling_interval=4
        ).receiver_amplitudes

    return predict


def surface_survey(columns, nx, wavelet, depth=1):
    """Sources in these columns and receivers in all."""
    n = len(columns)
    receivers = np.stack([np.full(nx, depth), np.arange(nx)], axis=-1)
    return dict(
        source_amplitudes=np.tile(np.asarray(wavelet, np.float32), (n, 1, 1)),
        source_locations=np.stack([np.full(n, depth), columns], axis=-1)[:, None],
        receiver_locations=np.tile(receivers, (n, 1, 1)),
    )


def shown(ax, x, extent, top=0):
    """An image on a grey scale that its own values below row ``top`` set."""
    limit = np.quantile(np.abs(np.asarray(x)[top:]), 0.985)
    ax.imshow(x, cmap="gray", vmin=-limit, vmax=limit, extent=extent, aspect="auto", interpolation="bilinear")


def marmousi():
    """Reverse-time migration and least-squares migration of Marmousi."""
    spacing, freq = 20.0, 8.0
    v = np.load(Path(os.environ["JAXWAVE_DATA"]) / "marmousi_vp.npy")[:140, 190:430].astype(np.float32)
    nz, nx = v.shape
    water = int((v[:, 0] <= 1500).sum())
    smooth = jnp.concatenate([v[:water], 1 / inversion.gaussian_smooth(1 / v[water:], 80.0, spacing)])
    max_vel = 1.02 * float(v.max())
    dt = float(f"{jaxwave.grid.cfl_time_step(max_vel, (spacing, spacing)) - 5e-6:.5f}")
    nt = int(2.8 / dt) // 4 * 4
    wavelet = jaxwave.wavelets.ricker(freq, nt, dt, peak_time=1.5 / freq)
    survey = surface_survey(np.linspace(4, nx - 5, 12).round().astype(int), nx, wavelet)
    predict = predictor(spacing, dt, max_vel, freq)
    began = time.perf_counter()
    observed = predict(v, survey)
    data = imaging.scattered(predict, smooth, survey, observed, batch=4)
    print(f"{nz} x {nx} cells, {nt} samples of {dt * 1e3} ms, data: {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    rock = jnp.asarray(np.arange(nz)[:, None] >= water, jnp.float32)

    def of_rock(dv, survey):
        return predict(smooth + rock * dv, survey)

    zero = jnp.zeros_like(smooth)
    image = imaging.migrate(of_rock, zero, survey, data, batch=4)
    print(f"migration: {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    lit = imaging.illumination(of_rock, zero, survey, jax.random.key(0), 2, batch=4)
    lit = inversion.gaussian_smooth(lit, 200.0, spacing)
    print(f"illumination: {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    found = imaging.least_squares(of_rock, zero, survey, data, 10, batch=4, keep=True, illumination=lit)
    print(f"least squares: {time.perf_counter() - began:.0f} s")
    images = {
        "perturbation that is to be found": v - smooth,
        "image of migration": image,
        "divided by illumination": image / (lit + 0.01 * lit.max()),
        "and filtered": imaging.laplacian(image / (lit + 0.01 * lit.max()), spacing),
        "least-squares image, 10 iterations": found.image,
    }
    draw_marmousi(images, found.misfits, spacing, water)


def draw_marmousi(images, misfits, spacing, water):
    """The images and the misfit, and how alike each is to the first."""
    nz, nx = next(iter(images.values())).shape
    extent, seen = (0, nx * spacing / 1e3, nz * spacing / 1e3, 0), np.s_[water + 5 : -10, 15:-15]
    figure, axes = plt.subplots(3, 2, figsize=(10, 8.4), layout="constrained")
    true = np.asarray(images["perturbation that is to be found"])
    for ax, (title, x) in zip(axes.flat, images.items(), strict=False):
        shown(ax, x, extent, water + 5)
        ax.set(title=title, xlabel="x (km)", ylabel="depth (km)")
        print(f"{title}: correlation {inversion.correlation(np.asarray(x)[seen], true[seen]):.2f}")
    relative = np.array(misfits) / misfits[0]
    print("misfits:", " ".join(f"{x:.3f}" for x in relative))
    axes[2, 1].plot(relative, "o-", color="#0072b2")
    axes[2, 1].set(
        title="misfit of the least-squares image", xlabel="iteration", ylabel="over that at the start", ylim=0
    )
    figure.savefig(IMAGES / "imaging_marmousi.png", dpi=100)


def gathers():
    """Offset gathers and time-lag gathers of layers, in backgrounds that are too slow, right and too fast."""
    spacing, freq, nt, dt = 10.0, 20.0, 860, 1.4e-3
    v = np.asarray(jaxwave.models.layers((80, 200), [1800.0, 2000.0, 2300.0, 2600.0], tops=[22, 40, 60]), np.float32)
    nz, nx = v.shape
    smooth = 1 / inversion.gaussian_smooth(1 / v, 30.0, spacing)
    survey = surface_survey(np.arange(6, nx, 12), nx, jaxwave.wavelets.ricker(freq, nt, dt, 1.5 / freq))
    predict = predictor(spacing, dt, 3000.0, freq)
    data = predict(v, survey) - predict(v[:1] + 0 * v, survey)
    distance = imaging.offsets(survey["source_locations"], survey["receiver_locations"], spacing)
    data = data * imaging.top_mute(distance, nt, dt, 1800.0, delay=2.2 / freq, taper=0.04)
    edges, lags = np.linspace(0, 800, 9), range(-48, 49, 6)
    figure, axes = plt.subplots(2, 3, figsize=(10, 6.2), sharey=True, layout="constrained")
    for column, (name, factor) in enumerate({"5 % too slow": 0.95, "right": 1.0, "5 % too fast": 1.05}.items()):
        by_offset = imaging.offset_gathers(predict, factor * smooth, survey, data, distance, edges, batch=6)
        by_lag = imaging.time_lag_gathers(predict, factor * smooth, survey, data, lags, batch=6)
        axes[0, column].set_title(f"background {name}")
        for ax, images, extent in (
            (axes[0, column], by_offset, (edges[0], edges[-1])),
            (axes[1, column], by_lag, (1e3 * dt * lags[0] / 2, 1e3 * dt * lags[-1] / 2)),
        ):
            x = jax.vmap(lambda x: imaging.laplacian(x, spacing))(images)[:, :, nx // 2 - 10 : nx // 2 + 10].mean(2)
            x = x / jnp.sqrt(jnp.mean(x[:, 12:] ** 2))
            shown(ax, x.T, (*extent, nz * spacing / 1e3, 0), top=12)
            for top in (22, 40, 60):
                ax.axhline(top * spacing / 1e3, color="#e69f00", linewidth=0.8, linestyle=":")
    for row, label in zip(axes, ("offset (m)", "time lag (ms)"), strict=True):
        row[1].set_xlabel(label)
        row[0].set_ylabel("depth (km)")
    figure.savefig(IMAGES / "imaging_gathers.png", dpi=100)


def up_down():
    """Records of a vertical well between reflectors, and the parts that travel down and up."""
    spacing, freq, nt, dt = 5.0, 30.0, 700, 8e-4
    v = np.repeat([1800.0, 2400.0, 1900.0, 2700.0], [60, 40, 50, 50]).astype(np.float32)
    well = np.arange(200)[None, :, None]
    record = jaxwave.scalar(
        v, spacing, dt, source_amplitudes=jaxwave.wavelets.ricker(freq, nt, dt, 1.5 / freq).reshape(1, 1, -1),
        source_locations=[[[2]]], receiver_locations=well, accuracy=8, pml_width=30, pml_freq=freq,
    ).receiver_amplitudes[0]  # fmt: skip
    parts = imaging.up_down(record)
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
    for ax, title, x in zip(axes, ("record", "down", "up"), (record, parts.down, parts.up), strict=True):
        limit = 0.35 * float(jnp.abs(record).max())
        extent = (0, nt * dt, len(v) * spacing / 1e3, 0)
        ax.imshow(x, cmap="RdBu", vmin=-limit, vmax=limit, extent=extent, aspect="auto")
        ax.set(title=title, xlabel="time (s)")
    axes[0].set_ylabel("depth (km)")
    figure.savefig(IMAGES / "imaging_up_down.png", dpi=100)


if __name__ == "__main__":
    for name in sys.argv[1:] or ["marmousi", "gathers", "up_down"]:
        globals()[name]()
