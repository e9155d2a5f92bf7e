"""A file as large as PanCollection's is never read whole."""

import h5py
import pytest

from dcfnet import WV3
from dcfnet.imagery.pancollection import PatchDataset
from tests.benchmarks.bench_data import make_file, measure


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "train.h5"
    make_file(path, 1000)
    yield path
    path.unlink()


@pytest.mark.slow
def test_shuffling_through_a_large_file_takes_little_memory(large):
    assert large.stat().st_size > 500 * 2**20
    assert measure(large, "patch by patch")["peak_mib_above_import"] < 300


def test_opening_and_the_first_item_read_a_few_patches_only(large, monkeypatch):
    read = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, i: read.append(i) or original(self, i)
    )
    data = PatchDataset(large, WV3)
    data[17]
    assert set(read) == {0, 500, 999, 17}
