import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import combinations, pairwise

import h5py
import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from dcfnet import WV3, DataError, cli
from dcfnet.imagery.pancollection import PatchDataset, build_data, check_h5, data_file, write_h5
from dcfnet.imagery.patches import patch_windows
from dcfnet.imagery.regions import SPLITS, Window, regions
from dcfnet.imagery.tensors import as_digital_numbers
from dcfnet.imagery.wald import Sample
from dcfnet.training.batches import symmetry


@pytest.fixture(scope="module")
def sample():
    """As large as Longmont, of noise, so that equal bits mean the same pixels."""
    rng = np.random.default_rng(0)
    size = 832
    return Sample(
        gt=rng.integers(1, 2048, (8, size, size), np.uint16),
        ms=rng.integers(1, 2048, (8, size // 4, size // 4), np.uint16),
        lms=rng.uniform(0, 2047, (8, size, size)).astype(np.float32),
        pan=rng.integers(1, 2048, (size, size), np.uint16),
        mask=np.ones((size, size), bool),
        sensor=WV3,
    )


@pytest.fixture
def layout():
    """Datasets of a small file in PanCollection's layout, as released: float64."""
    rng = np.random.default_rng(1)
    shapes = {
        "gt": (3, 8, 64, 64), "ms": (3, 8, 16, 16), "lms": (3, 8, 64, 64), "pan": (3, 1, 64, 64)
    }  # fmt: skip
    return {key: rng.integers(1, 2048, shape).astype(np.float64) for key, shape in shapes.items()}


def write_raw(path, datasets):
    with h5py.File(path, "w") as file:
        for key, values in datasets.items():
            file[key] = values
    return path


# Regions and patches


def test_regions_of_longmont(sample):
    columns = {split: regions(sample.shape, split)[0].cols for split in ("train", "test", "valid")}
    assert columns == {"train": slice(0, 512), "test": slice(512, 704), "valid": slice(704, 832)}


@pytest.mark.parametrize("width", [208, 416, 500, 832, 1000])
def test_regions_divide_any_width(width):
    tested = []
    for fold in range(3):
        columns = sorted(
            (cols.start, cols.stop)
            for split in SPLITS
            for _, cols in regions((64, width), split, fold)
        )
        assert columns[0][0] == 0 and columns[-1][1] == width
        assert all(a[1] == b[0] for a, b in pairwise(columns))
        assert all(start < stop and start % 16 == 0 for start, stop in columns)
        tested += regions((64, width), "test", fold)
    # No ground is tested on twice.
    assert all(
        a.cols.stop <= b.cols.start or b.cols.stop <= a.cols.start
        for a, b in combinations(tested, 2)
    )


def test_patches_stay_within_their_region_and_overlap_only_in_training(sample):
    counts = {}
    for split in ("train", "valid", "test"):
        (area,) = regions(sample.shape, split)
        windows = patch_windows(sample, split)
        counts[split] = len(windows)
        covered = np.zeros(sample.pan.shape, int)
        for window in windows:
            assert area.cols.start <= window.cols.start and window.cols.stop <= area.cols.stop
            covered[window.rows, window.cols] += 1
        assert covered.max() == (4 if split == "train" else 1)
        assert covered[area.rows, area.cols].min() == 1
    assert counts == {"train": 25 * 15, "valid": 13 * 2, "test": 13 * 3}


def test_patches_without_data_are_left_out(sample):
    mask = sample.mask.copy()
    mask[0, :512] = False
    masked = replace(sample, mask=mask)
    assert len(patch_windows(masked, "train")) == 24 * 15
    assert len(patch_windows(masked, "test")) == 13 * 3


def test_a_region_too_small_for_a_patch_is_refused(sample):
    with pytest.raises(DataError, match="no 256 x 256 patch.*valid region of 832 rows and 128"):
        patch_windows(sample, "valid", size=256)
    with pytest.raises(DataError, match="unknown split"):
        patch_windows(sample, "exam")
    with pytest.raises(DataError, match="unknown fold"):
        patch_windows(sample, "test", fold=3)


def test_a_region_in_two_pieces(sample):
    windows = patch_windows(sample, "train", fold=2)
    starts = [window.cols.start for window in windows]
    # Piece by piece, each row by row; nothing of what lies between.
    first = [w for w in windows if w.cols.stop <= 256]
    assert windows[: len(first)] == first and len(first) == 25 * 7
    assert min(starts[len(first) :]) == 576 and len(windows) == 25 * 14
    with pytest.raises(DataError, match="2 pieces"):
        sample.region("train", fold=2)


@pytest.mark.parametrize("fold", range(3))
def test_the_test_region_is_what_patches_are_cut_from(sample, fold):
    test = sample.region("test", fold)
    assert test.shape == (832, 192)
    rows, cols = patch_windows(sample, "test", fold=fold)[0]
    assert np.array_equal(test.gt[:, :64, :64], sample.gt[:, rows, cols])


def test_inputs_are_values_from_0_to_1_where_one_wants_them(sample):
    crop = sample.crop(slice(0, 64), slice(0, 32))
    pan, ms, lms = crop.inputs()
    assert [tuple(x.shape) for x in (pan, ms, lms)] == [
        (1, 1, 64, 32),
        (1, 8, 16, 8),
        (1, 8, 64, 32),
    ]
    assert (
        pan.dtype == torch.float32 and crop.inputs(torch.ones(1).double())[0].dtype == torch.float64
    )
    assert torch.equal(crop.truth()[0], torch.from_numpy(crop.gt.astype(np.float32)) / 2047)
    assert np.array_equal(as_digital_numbers(ms[0], WV3).round(), crop.ms)
    with pytest.raises(DataError, match="no truth"):
        replace(crop, gt=None).truth()


def test_a_crop_through_an_ms_pixel_is_refused(sample):
    with pytest.raises(ValueError, match="multiples of 4"):
        sample.crop(slice(0, 64), slice(2, 66))


# Round trip


def test_the_file_holds_the_sample_bit_for_bit(sample, tmp_path):
    path = tmp_path / "test.h5"
    windows = patch_windows(sample, "test")
    write_h5(path, sample, windows)
    check_h5(path, WV3)
    with h5py.File(path) as file:
        assert set(file) == {"gt", "ms", "lms", "pan"}
        assert file["gt"].shape == (39, 8, 64, 64)
        assert file["ms"].shape == (39, 8, 16, 16)
        assert file["pan"].shape == (39, 1, 64, 64)
        for i, window in enumerate(windows):
            fine = (window.rows, window.cols)
            coarse = tuple(slice(s.start // 4, s.stop // 4) for s in fine)
            np.testing.assert_array_equal(file["gt"][i], sample.gt[:, *fine])
            np.testing.assert_array_equal(file["ms"][i], sample.ms[:, *coarse])
            np.testing.assert_array_equal(file["lms"][i], sample.lms[:, *fine])
            np.testing.assert_array_equal(file["pan"][i, 0], sample.pan[fine])
            assert file["lms"].dtype == np.float32


def test_the_dataset_gives_what_the_file_holds(sample, tmp_path):
    path = tmp_path / "valid.h5"
    windows = patch_windows(sample, "valid")
    write_h5(path, sample, windows)
    data = PatchDataset(path, WV3)
    assert len(data) == len(windows)
    item = data[5]
    assert {key: tuple(value.shape) for key, value in item.items()} == {
        "pan": (1, 64, 64), "ms": (8, 16, 16), "lms": (8, 64, 64), "gt": (8, 64, 64)
    }  # fmt: skip
    assert all(value.dtype == torch.float32 for value in item.values())
    cut = sample.crop(windows[5].rows, windows[5].cols)
    np.testing.assert_array_equal(np.rint(item["gt"].numpy() * 2047), cut.gt)
    np.testing.assert_array_equal(item["lms"].numpy(), cut.lms / np.float32(2047))
    with pytest.raises(IndexError):
        data[len(data)]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_the_same_patches(sample, tmp_path, context):
    path = tmp_path / "valid.h5"
    write_h5(path, sample, patch_windows(sample, "valid")[:6])
    data = PatchDataset(path, WV3)
    alone = torch.stack([data[i]["gt"] for i in range(6)])  # opens the file in this process
    loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=context)
    torch.testing.assert_close(torch.cat([b["gt"] for b in loader]), alone, rtol=0, atol=0)


def test_a_dataset_can_be_pickled_after_use(layout, tmp_path):
    data = PatchDataset(write_raw(tmp_path / "a.h5", layout), WV3)
    first = data[0]["pan"]
    torch.testing.assert_close(pickle.loads(pickle.dumps(data))[0]["pan"], first)


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint16", "int32"])
def test_released_files_of_any_numeric_type_are_read(layout, tmp_path, dtype):
    path = write_raw(tmp_path / "a.h5", {k: v.astype(dtype) for k, v in layout.items()})
    check_h5(path, WV3)
    np.testing.assert_allclose(PatchDataset(path, WV3)[1]["gt"] * 2047, layout["gt"][1], rtol=1e-6)


def test_full_resolution_files_have_no_truth(layout, tmp_path):
    del layout["gt"]
    path = write_raw(tmp_path / "full.h5", layout)
    check_h5(path, WV3)
    assert set(PatchDataset(path, WV3)[0]) == {"pan", "ms", "lms"}


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


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist.*dcfnet data"):
        PatchDataset(tmp_path / "nowhere.h5", WV3)


def test_a_file_that_is_no_hdf5_or_is_truncated_is_refused(layout, tmp_path):
    path = tmp_path / "text.h5"
    path.write_text("not HDF5")
    with pytest.raises(DataError, match="cannot be opened as HDF5"):
        check_h5(path)
    whole = write_raw(tmp_path / "whole.h5", layout).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="expected a complete file"):
        check_h5(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be opened"):
        check_h5(tmp_path)


def test_links_out_of_the_file_are_refused(layout, tmp_path):
    other = write_raw(tmp_path / "other.h5", layout)
    path = write_raw(tmp_path / "linked.h5", {k: v for k, v in layout.items() if k != "gt"})
    with h5py.File(path, "r+") as file:
        file["gt"] = h5py.ExternalLink(other.name, "/gt")
    with pytest.raises(DataError, match=r"'gt' is a link to another file \(other.h5\)"):
        check_h5(path)
    with h5py.File(path, "r+") as file:
        del file["gt"]
        file["gt"] = h5py.SoftLink("/nowhere")
    with pytest.raises(DataError, match="'gt' cannot be opened"):
        check_h5(path)


def test_values_stored_elsewhere_are_refused(layout, tmp_path):
    path = write_raw(tmp_path / "a.h5", {k: v for k, v in layout.items() if k != "gt"})
    other = write_raw(tmp_path / "other.h5", layout)
    with h5py.File(path, "r+") as file:
        virtual = h5py.VirtualLayout(layout["gt"].shape, np.float64)
        virtual[:] = h5py.VirtualSource(other, "gt", layout["gt"].shape)
        file.create_virtual_dataset("gt", virtual)
    with pytest.raises(DataError, match="'gt' lie in other files"):
        check_h5(path)
    with h5py.File(path, "r+") as file:
        del file["gt"]
        raw = tmp_path / "gt.raw"
        layout["gt"].tofile(raw)
        file.create_dataset(
            "gt", layout["gt"].shape, np.float64, external=[(str(raw), 0, raw.stat().st_size)]
        )
    with pytest.raises(DataError, match="'gt' lie in other files"):
        check_h5(path)


# Writing


def test_a_full_disk_ends_the_command_with_one_line_and_leaves_nothing(tmp_path):
    """A real limit on file size, at which HDF5 by itself would crash the process."""
    code = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
from dcfnet import cli
sys.exit(cli.main(["data", "--scene", "simulated"]))
"""
    old = tmp_path / "simulated" / "train.h5"
    old.parent.mkdir()
    old.write_bytes(b"what was there before")
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "DCFNET_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert "could not write" in run.stderr and "free some space" in run.stderr
    assert old.read_bytes() == b"what was there before"
    assert [p.name for p in old.parent.iterdir()] == ["train.h5"]


def test_an_interruption_leaves_no_file_under_the_final_name(sample, tmp_path, monkeypatch):
    def interrupt(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(h5py.Dataset, "__setitem__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_h5(tmp_path / "a.h5", sample, patch_windows(sample, "valid")[:2])
    assert list(tmp_path.iterdir()) == []


def test_data_command_builds_what_the_book_reads_and_the_same_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DCFNET_DATA", str(tmp_path))
    monkeypatch.setenv("DCFNET_SCENE", "simulated")
    folder = tmp_path / "simulated"
    folder.mkdir()
    (folder / ".train.h5.9.part").touch()  # left by a process that was killed
    assert cli.main(["data"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["test.h5", "train.h5", "valid.h5"]
    for split in ("train", "valid", "test"):
        path = data_file(split)
        assert path == tmp_path / "simulated" / f"{split}.h5"
        assert str(path) in capsys.readouterr().out or split != "train"
        check_h5(path, WV3)

    first = data_file("valid")
    monkeypatch.setenv("DCFNET_DATA", str(tmp_path / "elsewhere"))
    second = build_data("simulated", progress=False)["valid"]
    with h5py.File(first) as one, h5py.File(second) as other:
        assert list(one) == list(other)
        for key in one:
            np.testing.assert_array_equal(one[key][:], other[key][:])


def test_who_builds_data_waits_for_who_builds_it_already(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DCFNET_DATA", str(tmp_path))
    for act in ("load_scene", "reduce_resolution", "patch_windows"):
        monkeypatch.setattr(f"dcfnet.imagery.pancollection.{act}", lambda *_, **__: None)
    written = []
    monkeypatch.setattr(
        "dcfnet.imagery.pancollection.write_h5", lambda path, *_, **__: written.append(path)
    )
    lock = tmp_path / "simulated" / ".lock"
    lock.parent.mkdir()
    with FileLock(lock):
        builder = threading.Thread(target=build_data, args=("simulated",), daemon=True)
        builder.start()
        builder.join(1)
        assert builder.is_alive() and written == []
    builder.join(30)
    assert [path.stem for path in written] == ["train", "test", "valid"]
    assert "waiting for another process" in capsys.readouterr().err


# Properties, for any sample

# On a busy machine anything may be slow.
properties = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def samples(draw):
    """Small, of any type that holds digital numbers, with gaps anywhere."""
    h, w = (4 * draw(st.integers(1, 12)) for _ in range(2))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = st.sampled_from(("u2", ">u2", "i4", "f4", "f8"))

    def image(*shape):
        return chance.integers(0, 2048, shape).astype(draw(kinds))

    lms = chance.uniform(-2047, 2 * 2047, (8, h, w)).astype(draw(st.sampled_from(("f4", "f8"))))
    mask = chance.random((h, w)) > draw(st.sampled_from((0, 0.001, 0.01)))
    return Sample(image(8, h, w), image(8, h // 4, w // 4), lms, image(h, w), mask, WV3)


@properties
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


@properties
@given(samples(), st.sampled_from(("train", "valid", "test")), st.integers(1, 4), st.integers(1, 4))
def test_patches_are_all_those_with_data_and_no_other(sample, split, size, stride):
    size, stride = 4 * size, 4 * stride
    (area,) = regions(sample.shape, split)
    expected = [
        (y, x)
        for y in range(0, sample.pan.shape[0], stride)
        for x in range(area.cols.start, area.cols.stop, stride)
        if y + size <= sample.pan.shape[0] and x + size <= area.cols.stop
        if sample.mask[y : y + size, x : x + size].all()
    ]
    if not expected:
        with pytest.raises(DataError, match="no .* patch with data"):
            patch_windows(sample, split, size=size, stride=stride)
        return
    found = patch_windows(sample, split, size=size, stride=stride)
    assert [(w.rows.start, w.cols.start) for w in found] == expected
    assert all(w.rows.stop - w.rows.start == w.cols.stop - w.cols.start == size for w in found)


@properties
@given(st.integers(1, 6), st.integers(0, 7), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_symmetries_are_a_group_and_keep_the_images_of_a_patch_together(size, one, other, seed):
    gt, lms = torch.rand((2, 8, 4 * size, 4 * size), generator=torch.Generator().manual_seed(seed))
    patch = {"gt": gt, "lms": lms, "ms": lms[:, 2::4, 2::4], "pan": gt[:1] * 0.5}

    def same(a, b):
        return all(torch.equal(a[key], b[key]) for key in patch)

    turned = symmetry(patch, one)
    assert torch.equal(turned["pan"], turned["gt"][:1] * 0.5)
    assert torch.equal(turned["ms"], turned["lms"][:, 2::4, 2::4])
    assert any(same(symmetry(turned, number), patch) for number in range(8))
    both = symmetry(turned, other)
    assert any(same(symmetry(patch, number), both) for number in range(8))
