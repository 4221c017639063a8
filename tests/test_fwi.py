"""The command that inverts 2-D data: it finds a model, and survives being killed."""

import json
import os
import signal
import subprocess
import sys
import time

import h5py
import jax
import numpy as np
import pytest

from jaxwave.cli import main

SHAPE = (24, 40)


@pytest.fixture
def model_file(tmp_path):
    v = np.full(SHAPE, 2000.0)
    v[12:18, 16:26] = 2200.0
    np.save(tmp_path / "model.npy", v)
    return tmp_path / "model.npy"


def options(model_file, output, **more):
    given = {
        "model": model_file, "spacing": 10, "smooth": 40, "freeze": 20, "nt": 150, "freqs": "10 20", "shots": 4,
        "batch": 2, "iterations": 4, "learning-rate": 10, "output": output, **more,
    }  # fmt: skip
    return ["fwi", *(word for name, value in given.items() for word in (f"--{name}", *str(value).split()))]


def read(path):
    with h5py.File(path) as file:
        return {name: item[()] for name, item in file.items()}


def test_an_inversion_improves_the_model_and_records_itself(model_file, tmp_path, capsys):
    output = tmp_path / "result.h5"
    assert main(options(model_file, output, iterations=6)) == 0
    found = read(output)
    assert np.all(found["misfits"][:, 1] < found["misfits"][:, 0])
    assert found["model_errors"][-1] < 0.9 * found["model_errors"][0]
    np.testing.assert_array_equal(found["model"][:2], found["true"][:2])  # 20 m of 10 m cells are frozen
    assert found["true"].min() <= found["model"].min() and found["model"].max() <= found["true"].max()
    np.testing.assert_array_equal(found["stages"][-1], found["model"])
    with h5py.File(output) as file:
        assert json.loads(file.attrs["settings"])["freqs"] == [10, 20]
        assert json.loads(file.attrs["versions"])["jax"] == jax.__version__
    said = capsys.readouterr().out
    assert "band to 20 Hz" in said and "stored in device memory" in said


@pytest.mark.slow
@pytest.mark.optimised
def test_a_killed_inversion_resumes_to_the_same_bits(model_file, tmp_path):
    """The process is killed with no chance to clean up, soon after its first checkpoint appears."""
    unbroken, broken = tmp_path / "unbroken.h5", tmp_path / "broken.h5"
    many = {"iterations": 12, "storage": "cpu", "compression": "int8"}
    assert main(options(model_file, unbroken, **many)) == 0

    command = options(model_file, broken, **many, **{"checkpoint-every": 1})
    checkpoint = tmp_path / "broken.h5.checkpoint.h5"
    environment = {**os.environ, "JAX_ENABLE_X64": "1"}  # as in this process
    process = subprocess.Popen([sys.executable, "-m", "jaxwave", *command], env=environment, stderr=subprocess.DEVNULL)
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert checkpoint.exists() and not broken.exists()

    assert main([*command, "--resume"]) == 0
    whole, resumed = read(unbroken), read(broken)
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)


def test_a_checkpoint_of_other_settings_is_refused(model_file, tmp_path, capsys):
    output = tmp_path / "result.h5"
    run = {"iterations": 1, "freqs": "10", "checkpoint-every": 1}
    assert main(options(model_file, output, **run)) == 0
    with pytest.raises(SystemExit) as exit_:
        main([*options(model_file, output, **{**run, "learning-rate": 20}), "--resume"])
    assert exit_.value.code == 2
    assert "learning_rate (10.0, now 20.0)" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*options(model_file, output, **{**run, "smooth": 20}), "--resume"])
    assert "models (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "nowhere.npy"}, "nowhere.npy"),
        ({"spacing": -1}, "must be above 0"),
        ({"batch": 5}, "columns of the model must hold"),
        ({"freqs": "10 2000"}, "Nyquist"),
        ({"vmax": 2100}, "exclude the model"),
        ({"freeze": 200}, "leaves less than 8"),
        ({"output": "/nowhere/result.h5"}, "no directory /nowhere"),
        ({"storage": "disk", "storage-path": "/nowhere"}, "/nowhere"),
        ({"decimate": 20}, "2-D model of at least"),
    ],
)
def test_mistakes_end_in_a_message(model_file, tmp_path, wrong, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(options(model_file, **{"output": tmp_path / "result.h5", **wrong}))
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.optimised
@pytest.mark.slow
def test_marmousi_improves(marmousi, tmp_path):
    """A few iterations at low frequencies on a coarse grid already lower misfit and model error."""
    np.save(tmp_path / "model.npy", marmousi)
    output = tmp_path / "result.h5"
    given = {"spacing": 20, "decimate": 4, "smooth": 300, "freeze": 480, "freqs": "3", "shots": 8, "batch": 4,
             "learning-rate": 40, "nt": 500}  # fmt: skip
    assert main(options(tmp_path / "model.npy", output, **given, iterations=10)) == 0
    found = read(output)
    assert found["misfits"][0, 1] < 0.5 * found["misfits"][0, 0]
    assert found["model_errors"][1] < found["model_errors"][0]
