"""Invert 2-D synthetic data for a model, from low frequencies to high.

Observed data are made in the given model, with sources and receivers along its surface. The inversion starts from a
smoothed model and writes an HDF5 file with the result, its history and all settings; with --checkpoint-every it can be
killed at any time and goes on with --resume.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import h5py
import numpy as np

from jaxwave import grid, inversion, io
from jaxwave.cli import figures, report
from jaxwave.cli.multiscale import Inversion, Settings, State


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    positive, whole = report.number(float, 0, above=True), report.number(int, 1)
    add = parser.add_argument
    add("--model", required=True, metavar="FILE", help="true wave speed (m/s), axes z and x: .npy, .h5 or .hdf5")
    add("--dataset", metavar="NAME", help="dataset in an HDF5 model file; default: the only one")
    add("--spacing", required=True, type=positive, metavar="M", help="cell size of the file (metres)")
    add("--decimate", type=whole, default=1, metavar="K", help="use every K-th cell of the model; default: all")
    add("--initial", metavar="FILE", help="starting model (.npy, .h5); default: the true model, smoothed")
    add("--smooth", type=report.number(float, 0), default=300.0, metavar="M",
        help="standard deviation (metres) of that Gaussian smoothing; default: %(default)s")  # fmt: skip
    add("--freeze", type=report.number(float, 0), default=0.0, metavar="M",
        help="depth (metres) of the water: known, neither smoothed nor changed; default: none")  # fmt: skip
    add("--dt", type=positive, metavar="S", help="time step (seconds); default: the longest without sub-steps")
    add("--nt", type=whole, help="time samples; default: down and up again, and half the width")
    add("--freqs", type=positive, nargs="+", default=[3.0, 5.0, 8.0], metavar="HZ",
        help="upper frequency of every band; default: 3 5 8")  # fmt: skip
    add("--peak-freq", type=positive, metavar="HZ", help="of the sources' Ricker wavelet; default: the last band")
    add("--shots", type=whole, default=16, help="default: %(default)s")
    add("--batch", type=whole, help="shots in an iteration; default: half of them")
    add("--iterations", type=whole, default=20, help="in every band; default: %(default)s")
    add("--optimizer", choices=["adam", "sgd"], default="adam", help="default: %(default)s")
    add("--learning-rate", type=positive, default=30.0, metavar="M/S", help="default: %(default)s m/s")
    add("--gradient-smooth", type=report.number(float, 0), default=0.0, metavar="M",
        help="smoothing of the gradients (metres); default: none")  # fmt: skip
    add("--vmin", type=positive, metavar="M/S", help="lower bound of the model; default: the true model's")
    add("--vmax", type=positive, metavar="M/S", help="upper bound of the model; default: the true model's")
    add("--accuracy", type=int, choices=[2, 4, 6, 8], default=4, help="order of the differences; default: 4")
    add("--seed", type=report.number(int, 0), default=0, help="of the order of the shots; default: %(default)s")
    add("--output", default="result.h5", metavar="FILE", help="result; default: %(default)s")
    add("--figure", metavar="FILE", help="draw models and history (needs matplotlib)")
    add("--checkpoint-every", type=whole, metavar="N", help="iterations; written to OUTPUT.checkpoint.h5")
    add("--resume", action="store_true", help="go on from the checkpoint; begin where there is none")
    report.add_storage_arguments(parser, storage="device", compression="none")


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command."""
    with report.usage_errors():
        true = _model(arguments, arguments.model, arguments.dataset)
        settings = _settings(arguments, true)
        initial = _initial(arguments, settings, true)
        problem = Inversion(settings, true, initial)
        info = problem.check().info
        _check_output(arguments)
        checkpoint = Path(f"{arguments.output}.checkpoint.h5")
        state, done = _resume(checkpoint, problem) if arguments.resume else (problem.begin(), 0)
    size = report.footprint(info, settings.spacing, settings.batch, settings.nt, settings.accuracy, settings.storage)
    print(f"model {true.shape[0]} x {true.shape[1]} cells of {settings.spacing:g} m; {settings.shots} shots in batches "
          f"of {settings.batch}; {settings.nt} samples; {report.substeps(info, settings.dt)}")  # fmt: skip
    print(f"each gradient: {size}")
    if arguments.resume and not done:
        print(f"there is no checkpoint {checkpoint}: beginning anew")
    if done:
        print(f"resumed after iteration {done} of {settings.total}")

    start = time.perf_counter()
    problem.observe()
    with report.Progress(settings.total, done) as progress:

        def after(state: State, k: int) -> None:
            band, i = divmod(k - 1, settings.iterations)
            if arguments.checkpoint_every and k % arguments.checkpoint_every == 0:
                io.save_checkpoint(checkpoint, state, {"done": k, "settings": problem.identity})
            progress.step(f"{settings.freqs[band]:g} Hz, relative misfit {state.batch_misfits[band, i]:.3f}")
            if i == settings.iterations - 1:
                progress.say(_stage(settings, state, band, true, initial))

        state = problem.run(state, done, after)
    print(f"{settings.total - done} iterations in {time.perf_counter() - start:.0f} s, compilation included")
    _write(arguments.output, settings, true, initial, state)
    report.save_figure(arguments.figure, lambda: _figure(settings, true, initial, state))
    return 0


def model_errors(true: np.ndarray, initial: np.ndarray, state: State) -> np.ndarray:
    """Root-mean-square error (m/s) of the initial model and of the model after every band [1 + band]."""
    return np.array([np.sqrt(np.mean((m - true) ** 2, dtype=float)) for m in (initial, *state.stages)])


def _model(arguments: argparse.Namespace, path: str, dataset: str | None) -> np.ndarray:
    model = io.load_model(path, dataset)
    k = arguments.decimate
    if model.ndim != 2 or min(model.shape) < 8 * k:
        raise ValueError(f"{path}: a 2-D model of at least {8 * k} x {8 * k} cells is needed; got shape {model.shape}")
    model = np.ascontiguousarray(model[::k, ::k], np.float32)
    if not (np.isfinite(model).all() and model.min() > 0):
        raise ValueError(f"{path}: every wave speed must be positive and finite")
    return model


def _settings(arguments: argparse.Namespace, true: np.ndarray) -> Settings:
    a, spacing = arguments, arguments.spacing * arguments.decimate
    low, high = float(a.vmin or true.min()), float(a.vmax or true.max())
    if low > true.min() or high < true.max():
        raise ValueError(
            f"bounds from {low:g} to {high:g} m/s exclude the model, which goes from {true.min():g} to {true.max():g}"
        )
    dt = a.dt or float(f"{grid.cfl_time_step(high, (spacing, spacing)) - 5e-6:.5f}")
    peak_freq = a.peak_freq or a.freqs[-1]
    travel = (2 * true.shape[0] + true.shape[1] / 2) * spacing / float(true.mean())
    nt = a.nt or math.ceil((travel + 1.5 / peak_freq) / dt)
    if max(*a.freqs, peak_freq) > 0.5 / dt:
        raise ValueError(f"a frequency is above the Nyquist frequency {0.5 / dt:g} Hz of dt={dt:g} s")
    batch = a.batch or max(1, a.shots // 2)
    if batch > a.shots or a.shots > true.shape[1]:
        raise ValueError(f"--batch {batch} <= --shots {a.shots} <= {true.shape[1]} columns of the model must hold")
    frozen = round(a.freeze / spacing)
    if frozen > true.shape[0] - 8:
        raise ValueError(f"--freeze {a.freeze:g} m leaves less than 8 of the model's {true.shape[0]} rows")
    return Settings(
        spacing, dt, nt, tuple(a.freqs), peak_freq, a.shots, batch, a.iterations, a.optimizer, a.learning_rate,
        a.gradient_smooth, frozen, low, high, a.accuracy, a.seed, a.storage, a.storage_path, a.compression,
    )  # fmt: skip


def _initial(arguments: argparse.Namespace, settings: Settings, true: np.ndarray) -> np.ndarray:
    """The starting model: a file, or the true model smoothed below the water."""
    if arguments.initial:
        initial = _model(arguments, arguments.initial, None)
        if initial.shape != true.shape:
            raise ValueError(f"{arguments.initial} has {initial.shape} cells and the true model {true.shape}")
        return np.clip(initial, settings.min_vel, settings.max_vel)
    water, rock = np.split(true, [settings.frozen_cells])
    return np.concatenate([water, np.asarray(inversion.gaussian_smooth(rock, arguments.smooth, settings.spacing))])


def _check_output(arguments: argparse.Namespace) -> None:
    """Find out before the work that its result cannot be written."""
    for path in filter(None, (arguments.output, arguments.figure)):
        if not Path(path).absolute().parent.is_dir():
            raise ValueError(f"{path}: there is no directory {Path(path).absolute().parent}")


def _resume(checkpoint: Path, problem: Inversion) -> tuple[State, int]:
    """State and iterations done, from the checkpoint if there is one."""
    if not checkpoint.exists():
        return problem.begin(), 0
    metadata, mine = io.load_metadata(checkpoint), problem.identity
    theirs = metadata["settings"]
    changed = [f"{name} ({theirs.get(name)}, now {value})" for name, value in mine.items() if theirs.get(name) != value]
    if changed:
        raise ValueError(f"{checkpoint} is of other settings: {', '.join(changed)}; resume with those, or remove it")
    return io.load_checkpoint(checkpoint, like=problem.begin()), metadata["done"]


def _stage(settings: Settings, state: State, band: int, true: np.ndarray, initial: np.ndarray) -> str:
    before, after = state.misfits[band]
    errors = model_errors(true, initial, state)
    return (
        f"band to {settings.freqs[band]:g} Hz: relative misfit {before:.4f} -> {after:.4f}, "
        f"model error {errors[band]:.0f} -> {errors[band + 1]:.0f} m/s (rms; {errors[0]:.0f} at the start)"
    )


def _write(path: str, settings: Settings, true: np.ndarray, initial: np.ndarray, state: State) -> None:
    """The result file. Misfits are relative to the observed data of their band."""
    contents = {
        "model": state.v, "initial": initial, "true": true, "stages": state.stages, "freqs": settings.freqs,
        "batch_misfits": state.batch_misfits, "misfits": state.misfits,
        "model_errors": model_errors(true, initial, state),
    }  # fmt: skip
    with io.atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for name, value in contents.items():
            file[name] = np.asarray(value)
        file.attrs["settings"] = json.dumps(settings.as_json())
        file.attrs["versions"] = json.dumps(report.versions())
    print(f"result: {path}")


def _figure(settings: Settings, true: np.ndarray, initial: np.ndarray, state: State):
    models = {"true": true, "initial": initial, "inverted": np.asarray(state.v)}
    errors = model_errors(true, initial, state)
    return figures.inversion_2d(models, settings.spacing, settings.freqs, state.batch_misfits, errors)
