"""The loop of an inversion: killed and resumed it is what it would have been, to the bit."""

import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import amplitudes, bitwise_equal

import jaxwave
from jaxwave import inversion, loop

OPTIMIZER = optax.adam(5.0)
SURVEY = dict(
    source_amplitudes=np.tile(amplitudes(120, 1.7e-3), (4, 1, 1)), source_locations=[[[3 + 8 * k]] for k in range(4)],
    receiver_locations=[[[10], [36]]] * 4,
)  # fmt: skip


@jax.jit
def descend(v, state, shots):
    some = {name: jnp.asarray(x)[shots] for name, x in SURVEY.items()}

    def misfit(v):
        out = jaxwave.scalar(v, 5.0, 1.7e-3, max_vel=1700.0, pml_freq=25.0, pml_width=4, **some)
        return jnp.sum(out.receiver_amplitudes**2)

    value, gradient = jax.value_and_grad(misfit)(v)
    update, state = OPTIMIZER.update(gradient, state)
    return (optax.apply_updates(v, update), state), value


def step(state, iteration):
    return descend(*state, inversion.shot_batch(4, 2, 0, iteration))


def begin():
    v = jnp.full(40, 1500.0)
    return v, OPTIMIZER.init(v)


def run(iterations, **options):
    return loop.run(step, begin(), iterations, progress=False, **options)


def test_a_resumed_run_is_the_same_to_the_bit(tmp_path):
    whole = run(9)
    path, seen = tmp_path / "run.h5", []
    first = run(5, checkpoint=path, every=2, settings={"batch": 2}, watch=lambda p: seen.append(len(p.misfits)))
    assert seen == [2, 4, 5] and first.misfits == whole.misfits[:5]
    second = run(9, checkpoint=path, every=2, settings={"batch": 2})
    assert second.misfits == whole.misfits and bitwise_equal(second.state, whole.state)
    with pytest.raises(ValueError, match="is of a run with settings"):
        run(10, checkpoint=path, settings={"batch": 3})
    with pytest.raises(ValueError, match="has 9 iterations, more than the 4 asked for"):
        run(4, checkpoint=path, settings={"batch": 2})
    assert run(9, checkpoint=path, settings={"batch": 2}).misfits == whole.misfits


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[2])
import jax
jax.config.update("jax_enable_x64", True)
import test_loop, time
test_loop.run(30, checkpoint=sys.argv[1], every=1, watch=lambda p: (print(len(p.misfits), flush=True), time.sleep(0.1)))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path):
    def start(name):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / name), os.path.dirname(__file__)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    process = start("killed.h5")
    while (line := process.stdout.readline().strip()) != "7":
        assert line.isdigit()
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(jaxwave.io.load_metadata(tmp_path / "killed.h5")["misfits"])
    assert 7 <= done < 30
    for name in ("killed.h5", "whole.h5"):  # it goes on, and another is never killed
        assert start(name).communicate()[0].split()[-1] == "30"
    resumed, whole = (jaxwave.io.load_checkpoint(tmp_path / name, begin()) for name in ("killed.h5", "whole.h5"))
    assert bitwise_equal(resumed, whole)


def test_a_misfit_that_is_not_finite_ends_it(tmp_path):
    path = tmp_path / "run.h5"

    def breaks(state, iteration):
        return state + 1, np.nan if iteration == 3 else 1.0 / (iteration + 1)

    with pytest.raises(FloatingPointError, match="the misfit of iteration 3 is nan"):
        loop.run(breaks, jnp.zeros(2), 9, checkpoint=path, every=1, progress=False)
    assert jaxwave.io.load_metadata(path)["misfits"] == [1.0, 0.5, 1 / 3]
    assert (jaxwave.io.load_checkpoint(path, jnp.zeros(2)) == 3).all()


def test_a_bar_is_shown(capsys):
    pytest.importorskip("tqdm")
    loop.run(lambda x, i: (x, 1.0), jnp.zeros(1), 3)
    assert "3/3" in capsys.readouterr().err
