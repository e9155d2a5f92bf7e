"""The commands adapt and fuse, as a user calls them."""

import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch

from dcfnet import WV3, adapt, build_network, full_resolution, load_trained
from dcfnet.cli import main
from dcfnet.errors import RunError
from dcfnet.fusion.below import below
from dcfnet.fusion.trial import ahead
from dcfnet.imagery.classical import METHODS
from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.networks import load_weights, save_weights
from dcfnet.paths import data_dir
from tests.support.networks import as_released
from tests.support.rasters import write_pair, write_tif


def test_released_weights_do_what_the_same_network_does(files, tmp_path, capsys):
    torch.save(as_released(load_trained("pannet")), tmp_path / "pannet.pth")
    out, given = tmp_path / "out.tif", ["--sensor", "wv3", "--device", "cpu"]
    given += ["--ms", str(files[0]), "--pan", str(files[1]), str(out)]
    assert main(["fuse", *given, "--released", str(tmp_path / "pannet.pth")]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    expected = out.read_bytes()
    assert main(["fuse", *given, "--network", "pannet"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["fuse", *given, "--network", "pannet", "--overwrite"]) == 0
    assert out.read_bytes() == expected


@pytest.mark.parametrize("wrong", [["--tile", "10"], ["--tile", "0"], ["--device", "cuda:97"]])
def test_settings_that_cannot_be_are_refused(files, tmp_path, capsys, wrong):
    given = ["--ms", str(files[0]), "--pan", str(files[1]), "--sensor", "wv3"]
    assert main(["fuse", *given, *wrong, "--network", "pnn", str(tmp_path / "out.tif")]) == 2
    assert capsys.readouterr().err.startswith("dcfnet fuse: ")


# --- Adapting -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def town():
    return simulate_scene(160, seed=4)


@pytest.fixture
def pair(town, tmp_path):
    """Flags that name MS and PAN of a scene which is large enough to adapt to."""
    ms, pan = write_pair(tmp_path / "town", town.ms, town.pan)
    return ["--ms", str(ms), "--pan", str(pan), "--sensor", "wv3"]


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr("dcfnet.fusion.adapt.STEPS", 4)


@pytest.mark.slow
def test_adapt_then_fuse(pair, few_steps, tmp_path, capsys):
    folder, out = tmp_path / "new" / "adapted", tmp_path / "out.tif"
    assert main(["adapt", *pair, str(folder), "--network", "pnn"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(folder / "weights.safetensors")
    assert "PNN as it was" in said.err and "MTF-GLP-FS" in said.err and "EXP" in said.err
    record = json.loads((folder / "adapted.json").read_text())
    verdict = "PNN adapted: SAM" if record["better"] else "PNN not adapted, since"
    assert verdict in said.err and f"{record['after']['sam']:.3f} after" in said.err
    for end in ("history.csv", "run.json"):
        assert (folder / end).exists()

    # It is found done, and not mistaken for that of another network or scene.
    assert main(["adapt", *pair, str(folder), "--network", "pnn"]) == 0
    assert f"it took {record['seconds']:.0f} s" in capsys.readouterr().err
    assert main(["adapt", *pair, str(folder), "--network", "pannet"]) == 2
    assert "holds an adaptation of another network: choose" in capsys.readouterr().err
    weights = ["--weights", str(folder / "weights.safetensors"), "--device", "cpu", "--quiet"]
    assert main(["fuse", *pair, *weights, str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(out) and not said.err


@pytest.mark.slow
def test_fuse_adapts_first(pair, few_steps, tmp_path, capsys):
    out = tmp_path / "out.tif"
    assert main(["fuse", *pair, "--network", "pnn", "--adapt", "--device", "cpu", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(out) and "on ground held back one scale down" in said.err
    weights = str(tmp_path / "out-adapted" / "weights.safetensors")
    assert main(["fuse", *pair, "--weights", weights, "--quiet", str(tmp_path / "c.tif")]) == 0
    assert read(tmp_path / "c.tif").tobytes() == read(out).tobytes()


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def test_a_network_that_falls_behind_is_told(pair, tmp_path, capsys):
    torch.manual_seed(0)
    save_weights(build_network("dicnn"), tmp_path / "fresh.safetensors")
    weights = ["--weights", str(tmp_path / "fresh.safetensors"), "--device", "cpu"]
    assert main(["fuse", *pair, *weights, str(tmp_path / "out.tif")]) == 0
    said = capsys.readouterr().err
    assert "DiCNN falls behind MTF-GLP-FS" in said
    assert "--adapt" in said and "--method mtf-glp-fs" in said


def test_ahead_counts_metrics_by_what_is_better():
    table = pd.DataFrame(
        {"sam": [3.0, 2.0, 2.0], "ergas": [3.0, 2.0, 4.0], "q2n": [0.9, 0.8, 0.8]},
        index=["net", "two better", "one better"],
    )
    assert ahead(table, "net") == ["two better"]


def test_scenes_too_small_to_adapt_to_are_refused_but_fused(files, tmp_path, capsys):
    given = ["--ms", str(files[0]), "--pan", str(files[1]), "--sensor", "wv3", "--device", "cpu"]
    small = tmp_path / "small.tif"
    with rasterio.open(files[0]) as file:
        image = file.read()[:, :64, :64]
    given[1] = str(write_tif(small, image, 1.2))
    assert main(["fuse", *given, "--network", "pnn", "--adapt", str(tmp_path / "o.tif")]) == 2
    assert "too small to adapt to" in capsys.readouterr().err
    assert main(["fuse", *given, "--network", "pnn", str(tmp_path / "o.tif")]) == 0
    assert str(tmp_path / "o.tif") in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_an_adaptation_that_is_stopped_goes_on_to_the_same_weights(
    pair, few_steps, tmp_path, capsys, name
):
    how = ["--network", "pnn"]
    if name == "SIGKILL":  # a network with batch normalisation
        narrow = data_dir() / "runs" / "dcfnet-narrow" / "fold0" / "weights.safetensors"
        how = ["--weights", str(narrow)]
    command = ["adapt", *pair, *how]
    assert main([*command, str(tmp_path / "whole")]) == 0
    code = f"""
import os, signal, sys
from dcfnet.cli import main
from dcfnet.training.loop import _Watch
import dcfnet.fusion.adapt
dcfnet.fusion.adapt.STEPS = 4
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
look, seen = _Watch.look, []
def stop(self, losses=()):
    seen.append(1)
    if len(seen) == 3: os.kill(os.getpid(), signal.{name})
    return look(self, losses)
_Watch.look = stop
sys.exit(main({[*command, str(tmp_path / "stopped")]!r}))
"""
    stopped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    signals = {"SIGKILL": -signal.SIGKILL, "SIGTERM": 143, "SIGINT": 130}
    assert stopped.returncode == signals[name], stopped.stderr
    assert name == "SIGKILL" or "the same command goes on" in stopped.stderr
    assert main([*command, str(tmp_path / "stopped")]) == 0
    found = [load_weights(tmp_path / each / "weights.safetensors") for each in ("whole", "stopped")]
    for one, other in zip(*(model.state_dict().values() for model in found), strict=True):
        assert torch.equal(one, other)
    capsys.readouterr()


def test_folders_of_other_runs_are_left_alone(pair, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "weights.safetensors").write_text("mine")
    assert main(["adapt", *pair, "--network", "pnn", str(tmp_path / "run")]) == 2
    assert "holds another run" in capsys.readouterr().err
    assert [*(tmp_path / "run").iterdir()] == [tmp_path / "run" / "weights.safetensors"]


def test_records_that_make_no_sense_are_refused(town, tmp_path):
    blocks, model = below(town), load_trained("pnn")
    for odd in ("", "[]", "{}", '{"of": 3}', '{"of": {}, "better": 1}', "[" * 100_000):
        (tmp_path / "adapted.json").write_text(odd)
        with pytest.raises(RunError, match="adaptation"):
            adapt(model, blocks, run_dir=tmp_path)


# --- Methods without learning ---------------------------------------------------------------


# BT-H takes the darkest pixel for haze, and that may lie at the border.
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"bt-h"}))
def test_methods_fuse_by_tiles_as_in_one_piece(pair, town, tmp_path, capsys, monkeypatch, name):
    monkeypatch.setattr("dcfnet.fusion.methods.SIDE", 64)
    out = tmp_path / "out.tif"
    assert main(["fuse", *pair, "--method", name, "--tile", "128", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    whole = METHODS[name](full_resolution(town))
    found, expected = read(out).astype(float), np.clip(np.rint(whole), 1, WV3.max_value)
    inner = np.s_[:, 64:-64, 64:-64]  # filters of the whole go round at the borders
    assert np.abs(found - expected)[inner].mean() < 0.2
    assert np.abs(found - expected)[inner].max() <= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mtf-glp-fs", "bt-h", "bdsd-pc"])
def test_tiles_of_any_size_give_the_same_by_a_method(pair, tmp_path, capsys, monkeypatch, name):
    images = []
    for side, tile in ((256, "1024"), (40, "96")):
        monkeypatch.setattr("dcfnet.fusion.methods.SIDE", side)
        out = tmp_path / f"{side}.tif"
        given = ["--method", name, "--tile", tile, "--overlap", "8"]
        assert main(["fuse", *pair, *given, str(out)]) == 0
        images.append(read(out).astype(int))
    assert np.abs(images[0] - images[1]).max() <= 1  # where rounding is even
    capsys.readouterr()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--method", "gsa", "--network", "pnn"], "exclusive"),
        (["--method", "gsa", "--adapt"], "--adapt or --method"),
        (["--method", "mtf"], "--method"),
        (["--minutes", "1"], "pass --adapt"),
        (["--adapt", "--minutes", "0"], "above 0"),
        (["--adapt", "--minutes", "nan"], "above 0"),
    ],
)
def test_what_does_not_go_together_is_refused(pair, tmp_path, capsys, wrong, said):
    assert main(["fuse", *pair, *wrong, str(tmp_path / "out.tif")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out.tif").exists()
