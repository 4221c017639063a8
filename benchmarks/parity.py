"""Holds the equations with attenuation and anisotropy against Deepwave's, in float64: records and gradients.

    python parity.py --peer-python PYTHON_WITH_DEEPWAVE

The discretisation is the same but for that of the layers, which waves do not reach and come back from here. So what
differs is rounding. A problem has random models, and sources and receivers of pressure and velocity.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxwave
from jaxwave import attenuation

LIMIT = 1e-9
DX, FREQUENCY, WIDTH, MAX_VEL = 5.0, 25.0, 5, 4500.0
BAND = (5.0, 60.0)


@dataclasses.dataclass(frozen=True)
class Weak(attenuation.Relaxation):
    """The strengths of weak attenuation, proportional to 1/Q, at rates from one end of the band to the other."""

    number: int = 3

    def mechanisms(self, inverse_q):
        rates = 2 * np.pi * np.geomspace(*BAND, self.number)
        found = attenuation.strengths(rates, np.geomspace(*BAND, 200), 0.0)
        return [(inverse_q * float(tau), float(rate)) for tau, rate in zip(found, rates, strict=True)]


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peer-python", required=True, help="a Python that has Deepwave")
    python = p.parse_args().peer_python
    jax.config.update("jax_enable_x64", True)
    worst = 0.0
    for ndim, shape, nt in ((2, (66, 68), 60), (3, (42, 43, 44), 40)):
        problem = make(shape, nt, 3.8e-4 if ndim == 3 else 4.6e-4)
        with tempfile.TemporaryDirectory() as folder:
            given, found = Path(folder, "given.npz"), Path(folder, "found.npz")
            np.savez(given, **problem)
            subprocess.run([python, Path(__file__).with_name("worker_parity.py"), given, found], check=True)
            theirs = dict(np.load(found))
        for name, ours in run(problem, ndim).items():
            differences = {key: _difference(x, theirs[f"{name}:{key}"]) for key, x in ours.items()}
            records = max(x for key, x in differences.items() if key.startswith("record"))
            gradients = max(x for key, x in differences.items() if key.startswith("gradient"))
            print(f"{ndim}-D {name:28s} records {records:.1e}  gradients {gradients:.1e}")
            worst = max(worst, records, gradients)
    return int(worst > LIMIT)


def make(shape: tuple[int, ...], nt: int, dt: float) -> dict[str, np.ndarray]:
    """Models, survey and amplitudes."""
    rng, ndim = np.random.default_rng(0), len(shape)
    v, rho = rng.uniform(2000, 2500, shape), rng.uniform(1800, 2400, shape)
    epsilon, delta, gamma = rng.uniform(0.15, 0.25, shape), rng.uniform(0, 0.1, shape), rng.uniform(0, 0.1, shape)
    c = jaxwave.anisotropy.thomsen_to_stiffness(v, v / 1.9, epsilon, delta, gamma, rho)
    cells = np.stack([rng.integers(n // 2 - 5, n // 2 + 5, (2, 3)) for n in shape], -1)
    return {
        "v": v, "rho": rho, "epsilon": epsilon, "delta": delta, "inverse_q": rng.uniform(0.01, 0.1, shape),
        **{f"stiffness_{name}": np.asarray(x) for name, x in c._asdict().items()},
        "f": 1e6 * rng.standard_normal((2, 1, nt)), "source": cells[:, :1], "receiver": cells[:, 1:],
        "dt": np.asarray(dt), "dx": np.asarray(DX), "frequency": np.asarray(FREQUENCY), "width": np.asarray(WIDTH),
        "max_vel": np.asarray(MAX_VEL), "band": np.asarray(BAND), "ndim": np.asarray(ndim),
    }  # fmt: skip


def run(p: dict[str, np.ndarray], ndim: int) -> dict[str, dict[str, np.ndarray]]:
    """Records and gradients of every equation."""
    stiffness = [p[f"stiffness_{name}"] for name in jaxwave.anisotropy.Stiffness._fields]
    equations = {
        "acoustic_vti": jaxwave.AcousticVTI(p["v"], p["epsilon"], p["delta"], p["rho"]),
        "elastic_vti": jaxwave.ElasticVTI(*stiffness),
        "viscoacoustic, 1 mechanism": jaxwave.Viscoacoustic(
            p["v"], p["rho"], p["inverse_q"], relaxation=attenuation.Zener(FREQUENCY)),
        "viscoacoustic, 3 mechanisms": jaxwave.Viscoacoustic(p["v"], p["rho"], p["inverse_q"], relaxation=Weak()),
    }  # fmt: skip
    grid = jaxwave.Grid(DX, 4, jaxwave.Boundary(None, WIDTH, FREQUENCY))
    kinds = ("p", *"zyx"[-ndim:])

    def misfit(equation: jaxwave.Equation) -> tuple[jax.Array, dict[str, jax.Array]]:
        out = jaxwave.simulate(
            equation, grid, float(p["dt"]), max_vel=MAX_VEL, receivers=dict.fromkeys(kinds, p["receiver"]),
            sources={"p": (p["f"], p["source"]), kinds[1]: (p["f"] / 1e3, p["source"])},
        )  # fmt: skip
        records = {kind: out.records[kind] for kind in kinds}
        return sum(jnp.sum(x**2) * (1.0 if kind == "p" else 1e12) for kind, x in records.items()), records

    found = {}
    for name, equation in equations.items():
        (_, records), gradient = jax.jit(jax.value_and_grad(misfit, has_aux=True))(equation)
        found[name] = {f"record_{k}": np.asarray(x) for k, x in records.items()} | {
            f"gradient_{k}": np.asarray(getattr(gradient, k)) for k in equation.models if k != "c66" or ndim == 3
        }
    return found


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


if __name__ == "__main__":
    sys.exit(main())
