"""Runs Deepwave on a problem of parity.py: python worker_parity.py GIVEN.npz FOUND.npz"""

from __future__ import annotations

import sys

import deepwave
import numpy as np
import torch

torch.set_default_dtype(torch.float64)
P = {name: torch.from_numpy(x) for name, x in np.load(sys.argv[1]).items()}
NDIM = int(P["ndim"])
DX, DT = float(P["dx"]), float(P["dt"])
KINDS = ("p", *"zyx"[-NDIM:])
COMMON = {
    "accuracy": 4, "pml_width": int(P["width"]), "pml_freq": float(P["frequency"]), "max_vel": float(P["max_vel"]),
    "sources": {"pressure_rate": (P["f"], P["source"]), KINDS[1]: (P["f"] / 1e3, P["source"])},
    "receivers": dict.fromkeys(KINDS, P["receiver"]),
}  # fmt: skip
found = {}


def keep(name, result, models):
    """Records, and the gradients of the misfit of parity.py."""
    records = {kind: getattr(result, f"receiver_amplitudes_{kind}") for kind in KINDS}
    misfit = sum((x**2).sum() * (1.0 if kind == "p" else 1e12) for kind, x in records.items())
    gradients = torch.autograd.grad(misfit, list(models.values()))
    found.update({f"{name}:record_{kind}": x.detach().numpy() for kind, x in records.items()})
    found.update({f"{name}:gradient_{k}": g.numpy() for k, g in zip(models, gradients, strict=True)})


def followed(*names, prefix=""):
    return {name: P[prefix + name].clone().requires_grad_() for name in names}


m = followed("v", "epsilon", "delta", "rho")
c33 = m["rho"] * m["v"] ** 2
c11, c13 = c33 * (1 + 2 * m["epsilon"]), c33 * (1 + 2 * m["delta"]).sqrt()
keep("acoustic_vti", deepwave.acoustic_vti(c11, c13, c33, 1 / m["rho"], DX, DT, **COMMON), m)

m = followed("c11", "c13", "c33", "c55", "c66", "buoyancy", prefix="stiffness_")
if NDIM == 2:
    del m["c66"]
models = [m[name] for name in ("c11", "c13", "c33", "c55", "buoyancy")]
keep("elastic_vti", deepwave.elastic_vti(*models, DX, DT, c66=m.get("c66"), **COMMON), m)

mechanisms = {
    "viscoacoustic, 1 mechanism": {"q_freq": float(P["frequency"])},
    "viscoacoustic, 3 mechanisms": {"q_n_mechanisms": 3, "q_band": tuple(P["band"].tolist())},
}
for name, options in mechanisms.items():
    m = followed("v", "rho", "inverse_q")
    keep(name, deepwave.viscoacoustic(m["v"], m["rho"], 1 / m["inverse_q"], DX, DT, **COMMON, **options), m)
np.savez(sys.argv[2], **found)
