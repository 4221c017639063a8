"""Times one case with Deepwave in this process, and prints one line of JSON. See README.md beside this file."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import deepwave
import measure
import torch
from cases import CASES, DT, FREQUENCY, SPACING, Case, Problem, build

MODES, CODECS = ("device", "cpu", "disk"), ("none", "int8")  # on a CPU its "cpu" is its "device"


def vti(v, epsilon, delta, rho):
    """Stiffnesses and buoyancy."""
    c33 = rho * v**2
    return (c33 * (1 + 2 * epsilon), c33 * (1 + 2 * delta).sqrt(), c33, 1 / rho), {}


def elastic_vti(*models):
    """c66 has a name, in 3-D."""
    *first, last = models
    return (*first[:4], last), {"c66": first[4] if len(first) == 5 else None}


MEDIA = {
    "acoustic_vti": vti,
    "elastic_vti": elastic_vti,
    "viscoacoustic": lambda v, rho, inverse_q: ((v, rho, 1 / inverse_q), {"q_freq": FREQUENCY}),
}
"""From jaxwave's models to Deepwave's, and its other arguments."""
NAMES = {"acoustic_vti": ["c11", "c13", "c33", "buoyancy"], "viscoacoustic": ["v", "rho", "q"]}


def main() -> None:
    """Runs what the command line asks for."""
    p = measure.parser(__doc__, MODES, CODECS)
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="PyTorch's device (default cpu)")
    arguments = p.parse_args()
    torch.set_num_threads(measure.cpu_count())
    case, gpu = CASES[arguments.case], arguments.device == "cuda"
    call = task(case, build(case, arguments.dtype), arguments)
    measure.run(
        call, arguments, after=lambda: {"device_peak_bytes": torch.cuda.max_memory_allocated() if gpu else None},
        to_numpy=lambda x: x.cpu().numpy(), library="deepwave", version=deepwave.__version__,
        backend=f"torch {torch.__version__}", threads=torch.get_num_threads(),
        device=f"cuda: {torch.cuda.get_device_name()}" if gpu else "cpu", stored_bytes=bytes_stored(case, arguments),
    )  # fmt: skip


def task(case: Case, problem: Problem, arguments: argparse.Namespace) -> Callable[[], tuple[torch.Tensor, ...]]:
    """The call to be timed, to the end of its run."""
    models = [torch.from_numpy(x).to(arguments.device) for x in problem.models.values()]
    kind = "_pressure_rate" if case.equation in MEDIA else case.suffix
    points = {
        f"{name}{case.suffix if name.startswith('receiver') else kind}": torch.from_numpy(x).to(arguments.device)
        for name, x in (("source_amplitudes", problem.amplitudes), ("source_locations", problem.sources),
                        ("receiver_locations", problem.receivers))
    }  # fmt: skip
    wait = torch.cuda.synchronize if arguments.device == "cuda" else lambda: None

    def record(models: list[torch.Tensor]) -> torch.Tensor:
        models, options = MEDIA.get(case.equation, lambda *x: (x, {}))(*models)
        out = getattr(deepwave, case.equation)(
            *models, SPACING, DT, **points, **options, accuracy=case.accuracy, pml_width=case.pml_width,
            pml_freq=FREQUENCY, max_vel=case.max_vel, storage=storage(arguments),
        )  # fmt: skip
        assert out.info.step_ratio == 1, "a case must not be divided into sub-steps, or rates count half of the work"
        return getattr(out, f"receiver_amplitudes{case.suffix}")

    def forward() -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            data = record(models)
        wait()
        return (data,)

    def gradient() -> tuple[torch.Tensor, ...]:
        followed = [model.clone().requires_grad_() for model in models]
        data = record(followed)
        (data**2).sum().backward()
        wait()
        return data.detach(), *(model.grad for model in followed)

    return forward if arguments.task == "forward" else gradient


def storage(arguments: argparse.Namespace) -> deepwave.Storage:
    """The storage policy that the command line names."""
    path = arguments.storage_path if arguments.storage == "disk" else None
    return deepwave.Storage(arguments.storage, path, arguments.compression == "int8")


def bytes_stored(case: Case, arguments: argparse.Namespace) -> int:
    """Bytes of the history that a gradient keeps, as Deepwave estimates them."""
    if arguments.task == "forward":
        return 0
    estimate = deepwave.estimate_memory(
        case.equation, case.shape, case.nt, case.n_shots, getattr(torch, arguments.dtype), accuracy=case.accuracy,
        pml_width=case.pml_width, storage=storage(arguments),
        models_requiring_grad=NAMES.get(case.equation, list(case.models)),
    )  # fmt: skip
    return int(estimate["backward_storage_bytes"])


if __name__ == "__main__":
    main()
