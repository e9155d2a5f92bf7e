import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from dcfnet import DataError
from dcfnet.networks import (
    NETWORKS,
    build_network,
    load_released,
    load_released_folder,
    load_trained,
    load_weights,
    save_weights,
)
from tests.support.networks import as_released

# Small ones, each with other options.
VARIANTS = [
    *((name, 4, {}) for name in NETWORKS if name != "dcfnet"),
    ("dcfnet", 8, {"width": 0.1}),
    ("dcfnet", 4, {"width": 0.1, "inject_details": False, "without": ("pcft2",)}),
    ("dcfnet", 1, {"width": 0.1, "without": ["stage3.fusion.transfers.2_to_0", "pcft1"]}),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "some-run" / "weights.safetensors"


def build(name="dcfnet", bands=4, **options):
    torch.manual_seed(3)
    return build_network(name, bands, **({"width": 0.1} if name == "dcfnet" else {}) | options)


@pytest.mark.parametrize(("name", "bands", "options"), VARIANTS)
@torch.no_grad()
def test_round_trip(path, name, bands, options):
    model = build_network(name, bands, **options)
    for value in model.state_dict().values():
        value.copy_(torch.rand(value.shape) * 0.2 if value.is_floating_point() else 7)
    save_weights(model, path)
    loaded = load_weights(path)
    assert type(loaded) is type(model)
    assert (loaded.bands, loaded.options) == (model.bands, model.options)
    assert not loaded.training
    assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    images = torch.rand(1, 1, 16, 16), torch.rand(1, bands, 4, 4), torch.rand(1, bands, 16, 16)
    assert_close(loaded(*images), model.eval()(*images), rtol=0, atol=0)


def test_double_precision_and_layout_survive(path):
    model = build().double().to(memory_format=torch.channels_last)
    save_weights(model, path)
    assert_close(load_weights(path).state_dict(), model.state_dict(), rtol=0, atol=0)


def test_metadata(path):
    save_weights(build(without=("pcft1",)), path, metadata={"epoch": "17"})
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert header["network"] == "dcfnet"
    assert header["bands"] == "4"
    assert header["epoch"] == "17"
    assert json.loads(header["options"]) == {
        "inject_details": True,
        "width": 0.1,
        "without": ["pcft1"],
        "learn_shares": True,
        "high_pass": False,
    }


def test_interrupted_save_leaves_the_old_file(path, monkeypatch):
    save_weights(build("dicnn"), path)
    old = path.read_bytes()

    write = Path.write_bytes

    def fail(unfinished, content):
        write(unfinished, content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(build("pnn"), path)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="who may read a file is said otherwise there")
def test_others_may_read_the_file_as_any_other(path):
    save_weights(build("dicnn"), path)
    plain = path.with_name("plain")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_copy_for_inference_is_not_saved(path):
    with pytest.raises(ValueError, match="fused_for_inference"):
        save_weights(build().fused_for_inference(), path)
    assert not path.exists()


# --- Files that are refused -------------------------------------------------------------------


def test_no_file(tmp_path):
    for load in (load_weights, lambda path: load_released("pnn", path)):
        with pytest.raises(DataError, match=r"there is no file .*absent"):
            load(tmp_path / "absent")


def test_incomplete_safetensors(path):
    save_weights(build("dicnn"), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="not a complete safetensors file"):
        load_weights(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"network": "dcfnet"},
        {"network": "resnet", "bands": "8", "options": "{}"},
        {"network": "dicnn", "bands": "four", "options": "{}"},
        {"network": "dicnn", "bands": "4", "options": "[1]"},
        {"network": "dicnn", "bands": "4", "options": "{"},
        {"network": "dcfnet", "bands": "4", "options": '{"depth": 3}'},
    ],
)
def test_safetensors_of_something_else(tmp_path, metadata):
    save_file({"a": torch.zeros(2)}, tmp_path / "a", metadata=metadata)
    with pytest.raises(DataError, match="does not say which network"):
        load_weights(tmp_path / "a")


def test_safetensors_with_other_layers(path):
    save_weights(build("dicnn"), path)
    state = load_file(path)
    header = {"network": "dicnn", "bands": "4", "options": "{}"}
    state["conv9.bias"] = state.pop("conv3.bias")
    state["conv1.bias"] = torch.zeros(5)
    save_file(state, path, metadata=header)
    with pytest.raises(DataError) as error:
        load_weights(path)
    for part in ("missing: conv3.bias", "not expected: conv9.bias", "of another shape: conv1.bias"):
        assert part in str(error.value)


# --- Training runs ----------------------------------------------------------------------------


def test_load_trained(tmp_path, monkeypatch):
    model = build("dicnn")
    save_weights(model, tmp_path / "runs" / "my-run" / "weights.safetensors")
    (tmp_path / "runs" / "unfinished").mkdir()
    loaded = load_trained("my-run", tmp_path / "runs")
    assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    monkeypatch.setenv("DCFNET_DATA", str(tmp_path))
    assert load_trained("my-run").name == "dicnn"
    save_weights(build("pnn"), tmp_path / "runs" / "my-run" / "fold1" / "weights.safetensors")
    assert load_trained("my-run").name == "dicnn"  # a folder may hold a run, and more of them
    assert load_trained("my-run/fold1").name == "pnn"
    with pytest.raises(DataError, match=r"did you mean 'my-run/fold1'"):
        load_trained("my-run/fold2")
    with pytest.raises(DataError, match="'unfinished': expected one of my-run, my-run/fold1 in"):
        load_trained("unfinished")
    with pytest.raises(DataError, match="there are none"):
        load_trained("my-run", tmp_path / "nowhere")
    save_weights(build("pnn"), tmp_path / "runs" / "other" / "fold0" / "weights.safetensors")
    assert load_trained("other").name == "pnn"  # all runs on folds: the name means the first


# --- Released checkpoints ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, network in NETWORKS.items() if network.released_layers])
@pytest.mark.parametrize("bands", [4, 8])
def test_released(tmp_path, name, bands):
    model, path = build_network(name, bands), tmp_path / "a.pth"
    for word, told in (("", name), ("module.", None)):  # several GPUs add it to each name
        torch.save({f"{word}{k}": v for k, v in as_released(model).items()}, path)
        loaded = load_released(told, path, bands)
        assert loaded.name == name
        assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
        assert not loaded.training


def test_released_is_told_from_safetensors(tmp_path):
    weights = as_released(build_network("pnn"))
    for kind in (True, False):
        torch.save(weights, tmp_path / "a", _use_new_zipfile_serialization=kind)
        with pytest.raises(DataError, match=r"is a \.pth file.*load_released"):
            load_weights(tmp_path / "a")


@pytest.mark.parametrize(
    ("held", "bands", "asked", "said"),
    [
        ("pnn", 4, "pnn", "not a checkpoint of PNN for 8 bands.*a PNN for 4 bands"),
        ("msdcnn", 4, None, "any network for 8 bands.*a MSDCNN for 4 bands"),
        ("dicnn", 8, "pnn", r"load_released\('dicnn', path, bands=8\)"),  # layers named alike
    ],
)
def test_released_of_something_else(tmp_path, held, bands, asked, said):
    torch.save(as_released(build_network(held, bands)), tmp_path / "a.pth")
    with pytest.raises(DataError, match=said):
        load_released(asked, tmp_path / "a.pth")


@pytest.mark.parametrize("change", ["missing", "extra", "disagreeing"])
def test_released_with_tensors_amiss(tmp_path, change):
    released = as_released(build_network("fusionnet"))
    if change == "missing":
        del released["conv3.bias"]
    elif change == "extra":
        released["conv4.bias"] = torch.zeros(3)
    else:
        released["backbone.2.conv20.bias"] += 1
    torch.save(released, tmp_path / "a.pth")
    with pytest.raises(DataError, match="not a checkpoint of FusionNet for 8 bands"):
        load_released("fusionnet", tmp_path / "a.pth")


class Attack:
    def __reduce__(self):
        return os.mkdir, (os.environ["ATTACK"],)


@pytest.mark.parametrize("save", [torch.save, lambda o, path: path.write_bytes(pickle.dumps(o, 2))])
def test_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch, save):
    monkeypatch.setenv("ATTACK", str(tmp_path / "run"))
    save({**as_released(build_network("dicnn")), "extra": Attack()}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="refused") as error:
        load_released("dicnn", tmp_path / "a.pth")
    assert not (tmp_path / "run").exists()
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"state_dict": {}, "epoch": 3}, "more than tensors, namely state_dict, epoch"),
        ([torch.zeros(3)], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({}, "its 0 tensors"),
    ],
)
def test_pickle_of_something_else(tmp_path, content, complaint):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(DataError, match=complaint):
        load_released("dicnn", tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"PK\x03\x04 half a zip"])
def test_no_pickle(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a file of tensors"):
        load_released("dicnn", tmp_path / "a.pth")


def test_nothing_was_released_of_dcfnet(tmp_path):
    with pytest.raises(ValueError, match="no released checkpoint of DCFNet.*only of pnn"):
        load_released("dcfnet", tmp_path / "a.pth")
    with pytest.raises(ValueError, match="unknown network 'resnet'"):
        load_released("resnet", tmp_path / "a.pth")


def test_a_folder_of_released_networks(tmp_path, monkeypatch):
    monkeypatch.delenv("DCFNET_RELEASED_WEIGHTS", raising=False)
    assert load_released_folder() == {}
    (tmp_path / "other.txt").touch()
    monkeypatch.setenv("DCFNET_RELEASED_WEIGHTS", str(tmp_path))
    assert load_released_folder() == {}
    (tmp_path / "odd.pth").write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match=r"odd\.pth"):
        load_released_folder()
