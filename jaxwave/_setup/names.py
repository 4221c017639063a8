"""What the arguments of a call are called in messages: each function names those that its user gave.

:data:`SIMULATE` has those of :func:`jaxwave.simulate`, as expressions of its arguments, :data:`PROPAGATORS` those of
:func:`jaxwave.scalar` and the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping

from jaxwave.storage.errors import StorageError


@dataclasses.dataclass(frozen=True)
class Names:
    """The names of arguments.

    Attributes:
        amplitudes, sources, receivers: Amplitudes and locations of sources and locations of receivers, of a kind.
        fields: An initial wavefield, by its own name.
        all_amplitudes: The amplitudes of all kinds.
        of_storage: The names of arguments that messages of the storage use, and those of this function.
    """

    amplitudes: Callable[[str], str]
    sources: Callable[[str], str]
    receivers: Callable[[str], str]
    fields: Callable[[str], str]
    all_amplitudes: str
    spacing: str
    accuracy: str
    boundary: str
    pml_width: str
    pml_freq: str
    mpml_fraction: str
    state: str
    interval: str
    forward: str
    backward: str
    every: str
    of_storage: Mapping[str, str]

    @contextlib.contextmanager
    def in_storage(self) -> Iterator[None]:
        """Errors of the storage, which knows the names of propagators' arguments alone, get those of this function."""
        try:
            yield
        except (TypeError, ValueError, StorageError) as error:
            error.args = tuple(self._translated(x) if isinstance(x, str) else x for x in error.args)
            raise

    def _translated(self, message: str) -> str:
        for name, own in self.of_storage.items():
            message = message.replace(name, own)
        return message


def _by_kind(name: str) -> Callable[[str], str]:
    return lambda kind: f"{name}_{kind}" if kind else name


def _in_mapping(name: str, part: str = "") -> Callable[[str], str]:
    return lambda kind: (f"{name}[{kind!r}]" if kind else name) + part


SIMULATE = Names(
    amplitudes=_in_mapping("sources", "[0]"),
    sources=_in_mapping("sources", "[1]"),
    receivers=_in_mapping("receivers"),
    fields=_in_mapping("wavefields"),
    all_amplitudes="amplitudes in `sources`",
    spacing="grid.spacing",
    accuracy="grid.accuracy",
    boundary="grid.boundary.kinds",
    pml_width="grid.boundary.pml_width",
    pml_freq="grid.boundary.pml_freq",
    mpml_fraction="grid.boundary.mpml_fraction",
    state="state",
    interval="gradient_interval",
    forward="callbacks.forward",
    backward="callbacks.backward",
    every="callbacks.every",
    of_storage={
        "storage_mode": "storage",
        "storage_path": "path",
        "model_gradient_sampling_interval": "gradient_interval",
    },
)

PROPAGATORS = Names(
    amplitudes=_by_kind("source_amplitudes"),
    sources=_by_kind("source_locations"),
    receivers=_by_kind("receiver_locations"),
    fields=str,
    all_amplitudes="source_amplitudes",
    spacing="grid_spacing",
    accuracy="accuracy",
    boundary="boundary",
    pml_width="pml_width",
    pml_freq="pml_freq",
    mpml_fraction="mpml_fraction",
    state="initial_state",
    interval="model_gradient_sampling_interval",
    forward="forward_callback",
    backward="backward_callback",
    every="callback_frequency",
    of_storage={},
)
