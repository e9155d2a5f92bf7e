import os
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from torch.utils.data import DataLoader

from dcfnet import WV3, DataError, cli
from dcfnet.imagery.building import write_h5
from dcfnet.imagery.filters import reduce_pan
from dcfnet.imagery.pancollection import PatchDataset, check_h5
from dcfnet.imagery.patches import patch_windows
from dcfnet.imagery.regions import Window
from dcfnet.imagery.sensors import get_sensor
from tests.support.patches import samples, write_raw


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_read_the_same_patches(sample, tmp_path, context):
    path = tmp_path / "valid.h5"
    write_h5(path, sample, patch_windows(sample, "valid")[:6])
    data = PatchDataset(path, WV3)
    alone = torch.stack([data[i]["gt"] for i in range(6)])  # opens the file in this process
    loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=context)
    torch.testing.assert_close(torch.cat([b["gt"] for b in loader]), alone, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint16", "int32"])
def test_released_files_of_any_numeric_type_are_read(layout, tmp_path, dtype):
    path = write_raw(tmp_path / "a.h5", {k: v.astype(dtype) for k, v in layout.items()})
    check_h5(path, WV3)
    np.testing.assert_allclose(PatchDataset(path, WV3)[1]["gt"] * 2047, layout["gt"][1], rtol=1e-6)


@given(samples(), st.data())
def test_any_patches_are_read_as_they_were_written(tmp_path_factory, sample, data):
    h, w = sample.pan.shape
    size = [4 * data.draw(st.integers(1, side // 4)) for side in (h, w)]
    corner = st.tuples(*(st.integers(0, (a - b) // 4) for a, b in zip((h, w), size, strict=True)))
    windows = [
        Window(slice(4 * y, 4 * y + size[0]), slice(4 * x, 4 * x + size[1]))
        for y, x in data.draw(st.lists(corner, min_size=1, max_size=5))
    ]
    for window in windows:  # a patch without a value above 1 would be no digital numbers
        sample.pan[window.rows, window.cols][0, 0] = 1000
    path = tmp_path_factory.mktemp("any") / "any.h5"
    write_h5(path, sample, windows)
    check_h5(path)
    patches = PatchDataset(path, WV3)
    assert len(patches) == len(windows)
    with pytest.raises(IndexError):
        patches[len(patches)]
    with h5py.File(path) as file:
        for i, window in enumerate(windows):
            cut = sample.crop(window.rows, window.cols)
            for key in ("gt", "ms", "lms", "pan"):
                written = getattr(cut, key).reshape(file[key].shape[1:])
                np.testing.assert_array_equal(file[key][i], written)
                assert file[key].dtype == getattr(sample, key).dtype
                for index in (i, i - len(windows)):
                    expected = written.astype(np.float32) / np.float32(2047)
                    np.testing.assert_array_equal(patches[index][key], expected)


# What took the images


def four_band(layout):
    return {key: values[:, : min(4, values.shape[1])] for key, values in layout.items()}


def noting(path, **attributes):
    with h5py.File(path, "r+") as file:
        file.attrs.update(attributes)
    return path


def test_the_sensor_given_comes_before_the_one_noted_before_the_number_of_bands(layout, tmp_path):
    path = write_raw(tmp_path / "eight.h5", layout)
    assert check_h5(path).name == "generic8"
    noting(path, sensor="wv2")
    assert check_h5(path) is PatchDataset(path).sensor is get_sensor("wv2")
    assert PatchDataset(path, WV3).sensor is WV3
    four = write_raw(tmp_path / "four.h5", four_band(layout))
    assert PatchDataset(four).sensor.name == "generic4"
    assert check_h5(noting(four, sensor="somebody's own")).name == "generic4"
    assert check_h5(noting(four, sensor="qb")).title == "QuickBird"
    with pytest.raises(DataError, match="has 4 bands, but WorldView-2 has 8"):
        check_h5(noting(four, sensor="wv2"))


def test_a_sensor_of_ones_own_is_noted_whole(sample, tmp_path):
    own = replace(WV3, name="mine", title="Mine", bits=12)
    path = tmp_path / "own.h5"
    write_h5(path, replace(sample, sensor=own), patch_windows(sample, "valid")[:2])
    assert check_h5(path) == PatchDataset(path).sensor == own
    assert PatchDataset(path)[0]["gt"].max() <= 0.5


def test_of_the_packages_own_sensors_the_name_is_noted_alone(sample, tmp_path):
    """Files stay what they were, to the bit, and so do the checksums in the records of runs."""
    write_h5(tmp_path / "a.h5", sample, patch_windows(sample, "valid")[:1])
    with h5py.File(tmp_path / "a.h5") as file:
        assert dict(file.attrs) == {"sensor": "wv3"}


# Bad files

BREAKAGES = {
    "missing key": (lambda d: d.pop("lms"), "no dataset 'lms', found gt, ms, pan"),
    "rank": (lambda d: d.update(pan=d["pan"][:, 0]), r"shape \(3, 64, 64\), expected four axes"),
    "bands": (
        lambda d: d.update({k: d[k][:, :4] for k in ("gt", "ms", "lms")}),
        "4 bands, but WorldView-3 has 8",
    ),
    "bands differ": (lambda d: d.update(ms=d["ms"][:, :4]), r"'ms' has shape \(3, 4, 16, 16\)"),
    "dtype": (lambda d: d.update(pan=d["pan"].astype("S4")), "expected numbers"),
    "scale": (lambda d: d.update({k: v / 2047 for k, v in d.items()}), r"not values in \[0, 1\]"),
    "too large": (lambda d: d.update(gt=d["gt"] * 16), "digital numbers from 0 to 2047"),
    "negative": (lambda d: d.update(ms=-d["ms"]), "digital numbers from 0 to 2047"),
    "NaN": (lambda d: d["gt"].__setitem__((0, 0, 0, 0), np.nan), "patch 0 of 'gt' holds NaN"),
    "ratio": (lambda d: d.update(ms=d["ms"][..., :8]), r"expected \(3, 8, 16, 16\)"),
    "not a multiple": (
        lambda d: d.update({k: d[k][..., :62] for k in ("gt", "lms", "pan")}),
        "64 x 62, expected sizes that are multiples of 4",
    ),
    "count": (lambda d: d.update(pan=d["pan"][:2]), r"'pan' has shape \(2, 1, 64, 64\)"),
    "empty": (lambda d: d.update({k: v[:0] for k, v in d.items()}), "holds no patches"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_bad_file_is_refused_with_a_reason(layout, tmp_path, name, capsys):
    damage, message = BREAKAGES[name]
    damage(layout)
    path = write_raw(tmp_path / "bad.h5", layout)
    with pytest.raises(DataError, match=message):
        check_h5(path, WV3)
    with pytest.raises(DataError, match=message):
        PatchDataset(path, WV3)
    assert cli.main(["check", str(path), "--sensor", "wv3"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dcfnet")]
    assert len(errors) == 1


def test_a_nan_deep_in_the_file_is_found_by_the_check(layout, tmp_path):
    many = {key: np.concatenate([values] * 4) for key, values in layout.items()}
    many["lms"][7, 3, 10, 10] = np.nan
    with pytest.raises(DataError, match="patch 7 of 'lms' holds NaN"):
        check_h5(write_raw(tmp_path / "nan.h5", many))


def test_what_is_no_whole_hdf5_file_is_named(layout, tmp_path):
    (tmp_path / "page").write_bytes(b"<!DOCTYPE html><html>not found</html>")
    savemat(tmp_path / "a.mat", {"gt": np.zeros((2, 64, 64, 8))})
    whole = write_raw(tmp_path / "whole.h5", layout).read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    for name, said in {
        "nowhere": "does not exist.*dcfnet data",
        ".": "cannot be opened as HDF5: expected a file, found a folder",
        "page": "begins with b'<!DOCTYPE html.*downloaded",
        "a.mat": "MATLAB 5 file.*loadmat.*moveaxis.*README.md$",
        "half": "cannot be opened as HDF5 .*expected a complete file",
    }.items():
        with pytest.raises(DataError, match=said):
            check_h5(tmp_path / name)


def test_a_file_that_another_process_writes_is_not_called_damaged(layout, tmp_path):
    path = write_raw(tmp_path / "a.h5", layout)
    hold = f"import h5py; f = h5py.File({str(path)!r}, 'r+'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(DataError, match="another process.*HDF5_USE_FILE_LOCKING") as error:
            check_h5(path)
        other.communicate(b"\n")
    assert "build it again" not in str(error.value)
    check_h5(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(layout, tmp_path):
    path = write_raw(tmp_path / "a.h5", layout)
    path.chmod(0)
    with pytest.raises(DataError, match="change its permissions"):
        check_h5(path)


@pytest.mark.parametrize(
    ("turn", "cure"),
    [
        (lambda a: np.moveaxis(a, 1, -1), r"numpy.moveaxis\(a, -1, 1\)"),
        (np.transpose, r"numpy.transpose\(a\)"),
    ],
)
@pytest.mark.parametrize("sensor", [None, WV3])
def test_axes_in_another_order_are_recognised(layout, tmp_path, turn, cure, sensor):
    path = write_raw(tmp_path / "a.h5", {key: turn(values) for key, values in layout.items()})
    with pytest.raises(DataError, match=f"rearrange each array with {cure}"):
        check_h5(path, sensor)


def test_whole_numbers_may_all_be_small(layout, tmp_path):
    """A patch of deep shadow in a file of integers is no image in [0, 1]."""
    dark = {key: (values > 1000).astype("u2") for key, values in layout.items()}
    check_h5(write_raw(tmp_path / "dark.h5", dark), WV3)


def test_what_filters_overshoot_is_no_damage_in_files_that_were_not_rounded(layout, tmp_path):
    """Degraded PAN of a bright roof beside a shadow; the smallest of numbers below 0."""
    roof = np.where(np.arange(256) // 40 % 2, 2047.0, 0.0)
    size = layout["pan"].shape[-1]
    layout["pan"] = layout["pan"].astype(float)
    layout["pan"][:] = reduce_pan(roof[:, None] + 0 * roof)[:size, :size]
    assert layout["pan"].min() < -20 and layout["pan"].max() > 2067
    layout["ms"] = layout["ms"].astype(float)
    layout["ms"][0, 0, 0, 0] = -1e-9
    check_h5(write_raw(tmp_path / "a.h5", layout), WV3)
    layout["pan"] = layout["pan"].astype(np.int16)  # rounded, they would have been clipped as well
    with pytest.raises(DataError, match="'pan' holds values from -"):
        check_h5(write_raw(tmp_path / "a.h5", layout), WV3)
