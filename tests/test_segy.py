"""SEG-Y files: what segyio writes is read, what is written segyio reads, and broken files are refused."""

import numpy as np
import pytest

import jaxwave
from jaxwave import segy

segyio = pytest.importorskip("segyio", reason='the extra "segy" is not installed')

NT, DT = 40, 2e-3


def of_segyio(path, feet=False, scalar=-10, order=None):
    """A file of three shots with 4, 3 and 1 receivers, whose traces are in no order; what belongs in it, by trace."""
    rng = np.random.default_rng(0)
    shots = np.repeat([7, 3, 12], [4, 3, 1])[rng.permutation(8) if order is None else order]
    spec = segyio.spec()
    spec.format, spec.samples, spec.tracecount = 5, np.arange(NT) * DT * 1e3, len(shots)
    records = rng.standard_normal((len(shots), NT)).astype(np.float32)
    place = rng.integers(100, 9000, (len(shots), 2))
    fields = segyio.TraceField
    with segyio.create(str(path), spec) as file:
        file.text[0] = segyio.tools.create_text_header({1: "A TEST"})
        file.bin.update({segyio.BinField.MeasurementSystem: 2 if feet else 1, segyio.BinField.JobID: 77})
        for k, shot in enumerate(shots):
            file.header[k].update({
                fields.FieldRecord: int(shot), fields.TRACE_SEQUENCE_FILE: k + 1, fields.CDP: 500 + k,
                fields.SourceX: int(shot) * 1000, fields.SourceY: 500, fields.SourceDepth: 80,
                fields.SourceSurfaceElevation: 30, fields.GroupX: int(place[k, 0]), fields.GroupY: int(place[k, 1]),
                fields.ReceiverGroupElevation: -120, fields.SourceGroupScalar: scalar, fields.ElevationScalar: scalar,
                fields.TRACE_SAMPLE_COUNT: NT, fields.TRACE_SAMPLE_INTERVAL: round(DT * 1e6),
            })  # fmt: skip
            file.trace[k] = records[k]
    return shots, records, place


@pytest.mark.parametrize(("feet", "scalar", "unit"), [(False, -10, 0.1), (True, 10, 3.048), (False, 0, 1.0)])
def test_what_segyio_writes_is_read(feet, scalar, unit, tmp_path):
    shots, records, place = of_segyio(tmp_path / "in.sgy", feet, scalar)
    found = segy.read(tmp_path / "in.sgy")
    assert found.dt == DT and found.records.shape == (3, 4, NT)
    assert sorted(found.shots) == [3, 7, 12] and found.shots[0] == shots[0]  # in the order of the file
    for row, shot in enumerate(found.shots):
        own = np.flatnonzero(shots == shot)
        np.testing.assert_array_equal(found.traces[row], np.pad(own, (0, 4 - len(own)), constant_values=-1))
        np.testing.assert_array_equal(found.records[row, : len(own)], records[own])
        np.testing.assert_allclose(found.receivers[row, : len(own), :2], unit * place[own])
        np.testing.assert_allclose(found.receivers[row, : len(own), 2], 120 * unit)
        np.testing.assert_allclose(found.sources[row], [unit * 1000 * shot, unit * 500, unit * 50])
    assert found.present.sum() == 8 and not found.records[~found.present].any()
    assert np.isnan(found.receivers[~found.present]).all()


def test_cells_of_a_model(tmp_path):
    of_segyio(tmp_path / "in.sgy")
    found = segy.read(tmp_path / "in.sgy")
    sources, receivers = found.cells("zx", origin=(0.0, 100.0), spacing=(5.0, 10.0))
    assert sources.dtype == receivers.dtype == np.int32
    np.testing.assert_array_equal(sources[:, 0, 0], 1)  # 5 m deep
    np.testing.assert_array_equal(sources[:, 0, 1], 10 * found.shots - 10)
    assert (receivers[~found.present] == jaxwave.IGNORE_LOCATION).all()
    _, between = found.cells("x", origin=(100.0,), spacing=10.0, rounded=False)
    np.testing.assert_allclose(between[found.present][:, 0], (found.receivers[found.present][:, 0] - 100) / 10)
    np.testing.assert_array_equal(np.rint(between[found.present][:, 0]), receivers[found.present][:, 1])
    with pytest.raises(ValueError, match="`axes` must be made of x, y and z"):
        found.cells("zw", (0.0, 0.0), 5.0)
    with pytest.raises(ValueError, match="`origin` must have one number for each of 'zx'"):
        found.cells("zx", (0.0,), 5.0)


def test_a_round_trip_to_the_bit(tmp_path):
    of_segyio(tmp_path / "in.sgy")
    first = segy.read(tmp_path / "in.sgy")
    segy.write(tmp_path / "out.sgy", first)
    second = segy.read(tmp_path / "out.sgy")
    for name in ("records", "sources", "receivers", "shots", "traces", "headers"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name), err_msg=name)
    assert (tmp_path / "in.sgy").read_bytes()[3600:] == (tmp_path / "out.sgy").read_bytes()[3600:]
    assert second.text == first.text and second.binary[segyio.BinField.JobID] == 77
    segy.write(tmp_path / "out.sgy", first, records=2 * first.records)
    with segyio.open(str(tmp_path / "out.sgy"), ignore_geometry=True) as file:
        np.testing.assert_array_equal(file.trace.raw[:][first.traces[0, 0]], 2 * first.records[0, 0])
        assert file.header[3][segyio.TraceField.CDP] == 503
    with pytest.raises(ValueError, match=r"`records` have shape \(3, 4, 39\)"):
        segy.write(tmp_path / "out.sgy", first, records=first.records[..., 1:])


def survey():
    rng = np.random.default_rng(1)
    sources, receivers = rng.integers(0, 5000, (2, 3)) / 4, rng.integers(0, 5000, (2, 5, 3)) / 4
    return rng.standard_normal((2, 5, NT)).astype(np.float32), sources, receivers


def test_records_that_were_computed(tmp_path):
    records, sources, receivers = survey()
    segy.write(tmp_path / "out.sgy", segy.from_survey(records, DT, sources, receivers))
    found = segy.read(tmp_path / "out.sgy", shot="EnergySourcePoint")
    np.testing.assert_array_equal(found.records, records)
    np.testing.assert_allclose(found.sources, sources, atol=1e-9)
    np.testing.assert_allclose(found.receivers, receivers, atol=1e-9)
    with segyio.open(str(tmp_path / "out.sgy"), ignore_geometry=True) as file:
        assert segyio.tools.dt(file) == DT * 1e6 and file.tracecount == 10
        np.testing.assert_array_equal(file.attributes(segyio.TraceField.FieldRecord)[:], [1] * 5 + [2] * 5)
    with pytest.raises(ValueError, match="whole number of microseconds"):
        segy.from_survey(records, 1.23456e-3, sources, receivers)
    with pytest.raises(ValueError, match=r"got \(2, 5, 40\), \(2, 3\) and \(2, 4, 3\)"):
        segy.from_survey(records, DT, sources, receivers[:, 1:])


def test_obspy_reads_it(tmp_path):
    obspy = pytest.importorskip("obspy", reason="ObsPy is not installed")
    records, sources, receivers = survey()
    segy.write(tmp_path / "out.sgy", segy.from_survey(records, DT, sources, receivers))
    stream = obspy.read(str(tmp_path / "out.sgy"), format="SEGY")
    np.testing.assert_array_equal([trace.data for trace in stream], records.reshape(-1, NT))
    assert stream[0].stats.delta == pytest.approx(DT)


def test_broken_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        segy.read(tmp_path / "nothing.sgy")
    (tmp_path / "text.sgy").write_text("no such file " * 20)
    of_segyio(tmp_path / "in.sgy")
    whole = (tmp_path / "in.sgy").read_bytes()
    (tmp_path / "cut.sgy").write_bytes(whole[:-50])
    for name in ("text.sgy", "cut.sgy"):
        with pytest.raises(ValueError, match="is no SEG-Y file that can be read, or is cut off"):
            segy.read(tmp_path / name)
    with pytest.raises(ValueError, match="is no field of trace headers"):
        segy.read(tmp_path / "in.sgy", shot="Shot")
