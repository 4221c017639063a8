"""The names of a call's arguments in messages: each function has those that its user gave."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from jaxwave.storage.errors import StorageError


def _in_mapping(name: str, part: str = "") -> Callable[[str], str]:
    return lambda kind: (f"{name}[{kind!r}]" if kind else name) + part


def _suffixed(name: str) -> Callable[[str], str]:
    return lambda kind: f"{name}_{kind}" if kind else name


@dataclasses.dataclass(frozen=True)
class Names:
    """The names of arguments; the defaults are those of :func:`jaxwave.simulate`, as expressions of its arguments.

    Attributes:
        amplitudes, sources, receivers: Amplitudes and locations of sources and locations of receivers, of a kind.
        fields: An initial wavefield, by its own name.
        all_amplitudes: The amplitudes of all kinds.
        of_storage: The names of arguments that messages of the storage use, and those of this function.
    """

    amplitudes: Callable[[str], str] = _in_mapping("sources", "[0]")
    sources: Callable[[str], str] = _in_mapping("sources", "[1]")
    receivers: Callable[[str], str] = _in_mapping("receivers")
    fields: Callable[[str], str] = _in_mapping("wavefields")
    all_amplitudes: str = "amplitudes in `sources`"
    spacing: str = "grid.spacing"
    accuracy: str = "grid.accuracy"
    boundary: str = "grid.boundary.kinds"
    pml_width: str = "grid.boundary.pml_width"
    pml_freq: str = "grid.boundary.pml_freq"
    mpml_fraction: str = "grid.boundary.mpml_fraction"
    state: str = "state"
    interval: str = "gradient_interval"
    forward: str = "callbacks.forward"
    backward: str = "callbacks.backward"
    every: str = "callbacks.every"
    of_storage: tuple[tuple[str, str], ...] = (
        ("storage_mode", "storage"),
        ("storage_path", "path"),
        ("model_gradient_sampling_interval", "gradient_interval"),
    )

    @contextlib.contextmanager
    def in_storage(self) -> Iterator[None]:
        """Errors of the storage, which knows the names of propagators' arguments alone, get those of this function."""
        try:
            yield
        except (TypeError, ValueError, NotImplementedError, StorageError) as error:
            error.args = tuple(self._translated(x) if isinstance(x, str) else x for x in error.args)
            raise

    def _translated(self, message: str) -> str:
        for name, own in self.of_storage:
            message = message.replace(name, own)
        return message


SIMULATE = Names()
PROPAGATORS = Names(
    amplitudes=_suffixed("source_amplitudes"), sources=_suffixed("source_locations"),
    receivers=_suffixed("receiver_locations"), fields=str, all_amplitudes="source_amplitudes", spacing="grid_spacing",
    accuracy="accuracy", boundary="boundary", pml_width="pml_width", pml_freq="pml_freq",
    mpml_fraction="mpml_fraction", state="initial_state", interval="model_gradient_sampling_interval",
    forward="forward_callback", backward="backward_callback", every="callback_frequency", of_storage=(),
)  # fmt: skip
