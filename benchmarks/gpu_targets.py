"""Descriptions of GPUs that programs are compiled for, and what that needs. This module imports no JAX.

XLA's CUDA compiler runs without a GPU: PJRT takes the description of a target in place of a device. What comes out is
the program as it would run there, to be looked at; it cannot be run. This needs, beside JAX, its CUDA plug-in and
NVIDIA's assembler, which the extra "gpu-tests" names; the process must be started with :func:`environment`.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("jax-cuda13-plugin", "jax-cuda13-pjrt")


@dataclasses.dataclass(frozen=True)
class Target:
    """What XLA asks of a GPU.

    Attributes:
        label: Its name.
        capability: Compute capability.
        cores: Streaming multiprocessors.
        lanes: Single-precision units of each.
        threads: Threads that each holds.
        shared: Shared memory of each, and the most that a block may have (bytes).
        bandwidth: Of the device memory (bytes/s).
        l2: Cache that all share (bytes).
        clock: GHz.
        memory: Device memory (bytes).
    """

    label: str
    capability: tuple[int, int]
    cores: int
    lanes: int
    threads: int
    shared: tuple[int, int]
    bandwidth: int
    l2: int
    clock: float
    memory: int

    @property
    def description(self) -> str:
        """A target configuration of PJRT, as text."""
        return f"""
            gpu_device_info {{
              threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: {self.threads}
              core_count: {self.cores} fpus_per_core: {self.lanes} clock_rate_ghz: {self.clock}
              shared_memory_per_block: 49152 shared_memory_per_core: {self.shared[0]}
              shared_memory_per_block_optin: {self.shared[1]}
              registers_per_core_limit: 65536 registers_per_block_limit: 65536
              block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
              memory_bandwidth: {self.bandwidth} l2_cache_size: {self.l2} device_memory_size: {self.memory}
              cuda_compute_capability {{ major: {self.capability[0]} minor: {self.capability[1]} }}
            }}
            platform_name: "CUDA" device_description_str: "{self.label}"
            dnn_version_info {{ major: 9 minor: 7 }} runtime_version {{ major: 13 minor: 0 patch: 0 }}
        """


TARGETS = {
    "t4": Target("Tesla T4", (7, 5), 40, 64, 1024, (65536, 65536), 320064000000, 4194304, 1.59, 15843721216),
    "a100": Target(
        "NVIDIA A100-SXM4-80GB", (8, 0), 108, 64, 2048, (167936, 166912), 2039040000000, 41943040, 1.41, 85028634624
    ),
    "h100": Target(
        "NVIDIA H100 80GB HBM3", (9, 0), 132, 128, 2048, (233472, 232448), 3352320000000, 52428800, 1.98, 84929347584
    ),
}


def environment() -> dict[str, str]:
    """The variables of a process that compiles this clone's loops for a GPU; JAX reads them when it is imported."""
    own = {"JAX_PLATFORMS": "cpu,cuda", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    own["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    assembler = _assembler()
    if assembler and not shutil.which("ptxas"):
        own["PATH"] = os.pathsep.join([str(assembler.parent), os.environ.get("PATH", "")])
    return {**os.environ, **own}


def missing() -> str | None:
    """What this Python lacks to compile for a GPU; None if nothing."""
    jax = importlib.metadata.version("jax")
    for name in PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return f"{name} is not installed"
        if version != jax:
            return f"{name} is of version {version}, and JAX of {jax}"
    return None if _assembler() else "there is no ptxas"


def _assembler() -> Path | None:
    """NVIDIA's assembler, of the system or of the package nvidia-cuda-nvcc."""
    found = shutil.which("ptxas")
    if found:
        return Path(found)
    package = importlib.util.find_spec("nvidia")
    folders = package.submodule_search_locations if package else None
    return next((path for folder in folders or () for path in Path(folder).glob("*/bin/ptxas")), None)
