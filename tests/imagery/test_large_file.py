"""A file as large as PanCollection's is never read whole."""

import h5py
import pytest

from dcfnet import WV3
from dcfnet.imagery.pancollection import PatchDataset
from tests.benchmarks.bench_data import alone, make_file


@pytest.mark.slow
def test_shuffling_through_a_large_file_takes_little_memory(tmp_path):
    large = tmp_path / "train.h5"
    make_file(large, 1000)
    assert large.stat().st_size > 500 * 2**20
    assert alone(large, "patch by patch")["peak_mib_above_import"] < 300
    large.unlink()


def test_opening_and_the_first_item_read_a_few_patches_only(tmp_path, monkeypatch):
    path, read = tmp_path / "train.h5", []
    make_file(path, 30)
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, i: read.append(i) or original(self, i)
    )
    data = PatchDataset(path, WV3)
    data[17]
    assert set(read) == {0, 15, 29, 17}
