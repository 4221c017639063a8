"""How the programs of the tests are compiled, and where they are kept from one run to the next.

Compilation takes most of the tests' time. Two things shorten it: the programs of most tests are made without the
compiler's optimisations, and all that can be kept are kept in a directory, by JAX's persistent compilation cache.
"""

import functools
import os
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

LARGEST = 2**30  # bytes of programs, of all versions together, that are kept at most
LLVM_EMITTERS = ("xla_cpu_use_fusion_emitters", False)
WHOLE = ("xla_cpu_parallel_codegen_split_count", 1)
"""LLVM gets a program in one part, not in 32 for as many threads: a processor's time, since each core has a process."""


def home() -> Path | None:
    """The directory of programs: ``JAXWAVE_TEST_CACHE``, or else one in the user's cache; None if that is empty."""
    given = os.environ.get("JAXWAVE_TEST_CACHE")
    if given is None:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxwave-tests"
    return Path(given).absolute() if given else None


def keep_programs() -> None:
    """Programs go to a directory of this version of JAX and this kind of processor, and come from there."""
    if home() is None:
        return
    folder = home() / f"jax-{jax.__version__}-{jaxlib.__version__}-{_processor()}"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # small ones too: there are thousands
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def environment() -> dict[str, str]:
    """Of a process that a test starts: its programs are compiled quickly, as those of most tests are.

    They are not kept: XLA was seen to wait for ever when a young process loaded a program that was.
    """
    flags = " ".join(f"--{name}={str(value).lower()}" for name, value in chosen(WHOLE, LLVM_EMITTERS))
    own = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()}
    return {**os.environ, **own}


def _processor() -> str:
    """Programs use the instructions and the cores that there are: another processor may lack them."""
    try:
        lines = set(Path("/proc/cpuinfo").read_text().splitlines())
    except OSError:
        lines = set(os.uname())
    kinds = sorted(line for line in lines if line.startswith(("model name", "flags", "Features")))
    return f"{zlib.crc32(repr((kinds, os.cpu_count())).encode()):08x}"


def drop_old_programs() -> None:
    """Removes the oldest programs until half of what may be kept is left."""
    if home() is None:
        return
    files = sorted((stat.st_mtime, stat.st_size, path) for path in home().glob("*/*-cache") for stat in [path.stat()])
    total = sum(size for _, size, _ in files)
    if total <= LARGEST:
        return
    for _, size, path in files:
        if total > LARGEST // 2:
            path.unlink(missing_ok=True)
            total -= size


@functools.cache
def _can_be_chosen(*option) -> bool:
    """Whether XLA knows an option: LLVM_EMITTERS, in a third of the time, with JAX 0.10, not with 0.12."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(jnp.negative, compiler_options=dict([option])).lower(np.float32(0)).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def chosen(*options) -> tuple:
    """Those of these options that XLA knows."""
    return tuple(option for option in options if _can_be_chosen(*option))


class Compiler:
    """Compiles programs as a user's are, or quickly: the same HLO is the aim, not the same speed and rounding.

    Without LLVM's optimisations XLA makes the same program, to the last instruction of HLO. Its older way from fusions
    to kernels is quicker still, but decides otherwise about what to fuse; so tests that look at the HLO leave it out.
    """

    def __init__(self) -> None:
        self.options: tuple = ()
        self._intercept()

    def _intercept(self) -> None:
        """JAX has options of the compiler for one ``jit``, and none for all: they are added where it gathers them."""
        from jax._src import compiler

        gather = compiler.get_compile_options

        @functools.wraps(gather)
        def get_compile_options(*args, **kwargs):
            options = gather(*args, **kwargs)
            options.env_option_overrides = [*options.env_option_overrides, *self.options]
            return options

        compiler.get_compile_options = get_compile_options

    def set(self, *, optimised: bool, as_hlo: bool) -> bool:
        """Compiles all that follows so. Returns whether that is another way than before."""
        options = () if optimised else chosen(WHOLE) if as_hlo else chosen(WHOLE, LLVM_EMITTERS)
        changed = (jax.config.read("jax_disable_most_optimizations"), self.options) != (not optimised, options)
        jax.config.update("jax_disable_most_optimizations", not optimised)
        self.options = options
        return changed
