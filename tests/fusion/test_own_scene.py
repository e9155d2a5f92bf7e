"""A pair of one's own, from the command line alone: four bands, off its grid, without truth."""

import json

import h5py
import numpy as np
import pytest
import rasterio

from dcfnet import WV3, full_resolution, load_scene, load_trained
from dcfnet.cli import main
from dcfnet.imagery.building import build_pairs
from dcfnet.imagery.classical import METHODS
from dcfnet.imagery.registration import PERFECT, displacements
from dcfnet.imagery.scene import open_scene
from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.measure import metrics
from dcfnet.networks import load_weights, save_weights
from tests.support.rasters import hide, write_pair, write_tif

QUICKBIRD = [1, 2, 4, 6]  # blue, green, red and near infrared of eight bands


@pytest.fixture(scope="module")
def town():
    return simulate_scene(224, seed=6)


def flags_of_pair(folder, ms, pan, **of_ms):
    ms, pan = write_pair(folder, ms, pan, **of_ms)
    return ["--ms", str(ms), "--pan", str(pan)]


def call(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.slow
def test_four_bands_go_through_every_command(town, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dcfnet.fusion.adapt.STEPS", 4)
    pair = [*flags_of_pair(tmp_path, town.ms[QUICKBIRD], town.pan), "--sensor", "qb"]

    assert call("check", *pair) == 0
    said = capsys.readouterr().out
    assert "QuickBird: 4 bands of uint16, 224 x 224 MS pixels" in said
    assert "one another" in said and all(f"\n{band} " in said for band in ("PAN", *"BGRN"))

    built = tmp_path / "data"
    assert call("data", built, *pair, "--size", 32) == 0
    for split in ("train", "valid", "test"):
        with h5py.File(built / f"{split}.h5") as file:
            assert file["gt"].shape[1:] == (4, 32, 32) and file.attrs["sensor"] == "qb"
    assert call("check", built / "train.h5") == 0
    assert "images of QuickBird" in capsys.readouterr().out

    run = tmp_path / "run"
    train = ["train", "pnn", "--train", built / "train.h5", "--valid", built / "valid.h5"]
    train += ["--run-dir", run, "--epochs", 1, "--batch-size", 2, "--device", "cpu"]
    assert call(*train) == 0
    of_test = ["evaluate", "pnn", "--data", built / "test.h5", "--device", "cpu"]
    for weights in ([], ["--weights", run / "weights.safetensors"]):  # the book's are fitted
        assert call(*of_test, *weights) == 0
        assert "PNN on" in capsys.readouterr().out

    adapted, out = tmp_path / "adapted", tmp_path / "out.tif"
    assert call("adapt", *pair, adapted, "--network", "pnn") == 0  # of eight bands, by wavelength
    weights = ["--weights", adapted / "weights.safetensors", "--device", "cpu"]
    assert call("fuse", *pair, out, *weights) == 0
    assert "PNN" in capsys.readouterr().err
    with rasterio.open(out) as file:
        assert file.count == 4 and file.shape == (896, 896)

    assert call("evaluate", "--fused", out, *pair, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"d_lambda", "d_s", "hqnr"} and 0.3 < found["hqnr"] < 1


@pytest.mark.slow
def test_four_bands_of_worldview_go_through_every_command(tmp_path, capsys, monkeypatch):
    pytest.importorskip("dgsamples", reason="it is a crop of a scene of dgsamples")
    scene = load_scene("wv2-longmont").crop(slice(100, 324), slice(100, 324))
    test_four_bands_go_through_every_command(scene, tmp_path, capsys, monkeypatch)


def test_several_pairs_make_one_file(town, tmp_path, capsys):
    (tmp_path / "b").mkdir()
    one = flags_of_pair(tmp_path, town.ms, town.pan)
    two = flags_of_pair(tmp_path / "b", town.ms[:, :, ::-1], town.pan[:, ::-1])
    given = [*one, *two, "--sensor", "wv3", "--size", "32"]
    assert call("data", tmp_path / "alone", *one, "--sensor", "wv3", "--size", "32") == 0
    assert call("data", tmp_path / "both", *given) == 0
    with (
        h5py.File(tmp_path / "alone" / "test.h5") as few,
        h5py.File(tmp_path / "both" / "test.h5") as all_,
    ):
        n = len(few["gt"])
        assert len(all_["gt"]) == 2 * n
        np.testing.assert_array_equal(all_["gt"][:n], few["gt"][()])
    assert call("data", tmp_path / "c", *one, "--sensor", "wv3", "--size", "128") == 2
    assert "no 128 x 128 patch" in capsys.readouterr().err


def test_a_pair_is_read_block_by_block(town, tmp_path, monkeypatch):
    """As in one block, in another order; only what lies at the scene's border is interpolated
    otherwise."""
    pairs = [flags_of_pair(tmp_path, town.ms, town.pan)[1::2]]
    files = {}
    for block in (1024, 64):
        monkeypatch.setattr("dcfnet.imagery.building.BLOCK", block)
        built = build_pairs(pairs, WV3, tmp_path / f"{block}", size=32, progress=False)
        with h5py.File(built["train"]) as file:
            order = np.argsort([patch.tobytes() for patch in file["gt"][()]])
            files[block] = {key: file[key][()][order] for key in file}
    whole, blocks = files[1024], files[64]
    for key in ("gt", "ms", "pan"):
        np.testing.assert_array_equal(whole[key], blocks[key])
    off = np.abs(whole["lms"] - blocks["lms"]).max(axis=(1, 2, 3))
    assert (off < 1e-3).mean() > 0.4


# --- Grids and registration -----------------------------------------------------------------


@pytest.mark.slow
def test_a_grid_off_by_a_fraction_is_resampled_on_request(town, tmp_path, capsys):
    """MS is said to lie 0.4 PAN pixels to the right: its content has to move there."""
    pair = [*flags_of_pair(tmp_path, town.ms, town.pan, shift=(0.12, 0.0)), "--sensor", "wv3"]
    assert call("check", *pair) == 2
    assert "--resample" in capsys.readouterr().err
    assert call("check", *pair, "--resample") == 0
    assert "MS 0.40 PAN pixels off its grid" in capsys.readouterr().out
    asked = ["--resample", "--method", "exp", "--tile", "512"]
    assert call("fuse", *pair, *asked, tmp_path / "out.tif") == 0
    files = pair[1], pair[3]
    off = displacements(open_scene(*files, town.sensor, resample=True)) - displacements(town)
    np.testing.assert_allclose(off["right"], 0.4, atol=0.08)
    np.testing.assert_allclose(off["down"], 0, atol=0.08)
    with rasterio.open(tmp_path / "out.tif") as file:
        whole = full_resolution(open_scene(*files, town.sensor, resample=True)).lms
        assert np.abs(file.read() - np.clip(whole, 1, 2047))[:, 40:-40, 40:-40].max() < 1


@pytest.mark.slow
def test_aligned_bands_lie_on_pan(town, tmp_path, capsys):
    pair = [*flags_of_pair(tmp_path, town.ms, town.pan), "--sensor", "wv3"]
    before = displacements(town)
    assert call("fuse", *pair, "--align", "--method", "exp", tmp_path / "out.tif") == 0
    said = capsys.readouterr().err
    assert f"{before['down'].iloc[0] - PERFECT:.2f}" in said
    with rasterio.open(tmp_path / "out.tif") as file:
        image = file.read()
    plain = METHODS["exp"](full_resolution(town))
    inner = np.s_[60:-60, 60:-60]
    for band, (down, right) in enumerate(before[["down", "right"]].to_numpy()):
        moved = metrics.shift(plain[band][inner], image[band][inner])
        np.testing.assert_allclose(moved, (-down, -right), atol=0.12)


def test_a_pair_that_is_too_small_to_register_is_told_of_without_it(town, tmp_path, capsys):
    small = town.crop(slice(0, 64), slice(0, 64))
    pair = [*flags_of_pair(tmp_path, small.ms, small.pan), "--sensor", "wv3"]
    assert call("check", *pair) == 0
    assert "Registration was not measured: MS is 64 x 64" in capsys.readouterr().out
    assert call("fuse", *pair, "--align", "--method", "exp", tmp_path / "o.tif") == 2
    assert "expected at least 96 x 96" in capsys.readouterr().err


def test_check_counts_what_has_no_data(town, tmp_path, capsys):
    ms, pan = town.ms.copy(), town.pan.copy()
    ms[:, :56] = 0
    pan[:, :448] = 0
    ms[3, 100:, 100:] = 2047
    pair = flags_of_pair(tmp_path, ms, pan)
    assert call("check", *pair, "--sensor", "wv3") == 0
    said = capsys.readouterr().out
    assert "25.00% of MS, 50.00% of PAN" in said
    assert call("check", *pair) == 0
    assert "a sensor of 8 bands" in capsys.readouterr().out
    assert call("check", *flags_of_pair(tmp_path, ms * 0, pan), "--sensor", "wv3") == 2
    assert "nowhere have data both" in capsys.readouterr().err


# --- Measured ---------------------------------------------------------------------------------


@pytest.fixture
def measured(town, tmp_path):
    truth = np.rint(town.truth[:, 200:392, 200:360]).clip(1, 2047).astype(np.uint16)
    fused = truth + np.random.default_rng(0).integers(0, 40, truth.shape).astype(np.uint16)
    fused = fused.clip(1, 2047)
    write_tif(tmp_path / "truth.tif", truth, 0.3)
    write_tif(tmp_path / "fused.tif", fused, 0.3)
    return truth, fused, ["evaluate", "--fused", tmp_path / "fused.tif", "--sensor", "wv3"]


def test_a_fused_file_is_measured_against_a_truth(measured, tmp_path, capsys):
    truth, fused, command = measured
    assert call(*command, "--truth", tmp_path / "truth.tif", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sam"] == pytest.approx(metrics.sam(truth, fused))
    assert found["ergas"] == pytest.approx(metrics.ergas(truth, fused))
    assert found["q2n"] == pytest.approx(metrics.q2n(truth, fused))
    assert call(*command, "--truth", tmp_path / "truth.tif") == 0
    assert f"{found['sam']:.4f} degrees" in capsys.readouterr().out
    # Fused images may hold fractions.
    write_tif(tmp_path / "fused.tif", fused + np.float32(0.25), 0.3)
    assert call(*command, "--truth", tmp_path / "truth.tif", "--json") == 0
    assert json.loads(capsys.readouterr().out)["sam"] != found["sam"]


def test_what_a_mask_hides_does_not_count(measured, tmp_path, capsys):
    truth, fused, command = measured
    spoilt = fused.copy()
    spoilt[:, :64] = 2000
    write_tif(tmp_path / "fused.tif", spoilt, 0.3)
    hide(tmp_path / "fused.tif", np.s_[:64])
    assert call(*command, "--truth", tmp_path / "truth.tif", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    for name in ("sam", "ergas", "q2n"):
        whole = getattr(metrics, name)(truth[:, 64:], fused[:, 64:])
        assert found[name] == pytest.approx(whole), name


def test_json_is_json_where_there_is_nothing_to_measure(measured, tmp_path, capsys):
    truth, _, command = measured
    write_tif(tmp_path / "fused.tif", truth, 0.3)
    assert call(*command, "--truth", tmp_path / "truth.tif", "--json") == 0

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found["psnr"] is None and found["sam"] == pytest.approx(0, abs=1e-3)


def test_files_on_other_grids_are_refused(measured, town, tmp_path, capsys):
    truth, _, command = measured
    for other in ({"shift": (0.3, 0)}, {"image": truth[:, :100]}):
        write_tif(tmp_path / "truth.tif", **{"image": truth, "pixel": 0.3} | other)
        assert call(*command, "--truth", tmp_path / "truth.tif") == 2
        assert "expected one grid" in capsys.readouterr().err
    assert call(*command, *flags_of_pair(tmp_path, town.ms, town.pan)) == 2
    assert "expected one grid" in capsys.readouterr().err
    write_tif(tmp_path / "truth.tif", truth * np.uint16(0), 0.3)
    assert call(*command, "--truth", tmp_path / "truth.tif") == 2
    assert "nowhere have data both" in capsys.readouterr().err


def test_patches_at_full_resolution_are_measured_without_a_truth(town, tmp_path, capsys):
    sample = full_resolution(town).crop(slice(0, 128), slice(0, 128))
    with h5py.File(tmp_path / "full.h5", "w") as file:
        for key, image in (("ms", sample.ms), ("lms", sample.lms), ("pan", sample.pan[None])):
            file[key] = np.stack([image, image * 0]).astype(float)  # one has no data
        file.attrs["sensor"] = "wv3"
    command = ["evaluate", "pannet", "--data", tmp_path / "full.h5", "--device", "cpu"]
    assert call(*command, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["patches"] == 2 and 0 < found["hqnr"] < 1
    assert found["hqnr"] == pytest.approx((1 - found["d_lambda"]) * (1 - found["d_s"]))
    assert call(*command) == 0
    assert "hqnr  0." in capsys.readouterr().out


def test_training_begins_with_given_weights(tmp_path, capsys, town):
    pair = [*flags_of_pair(tmp_path, town.ms, town.pan), "--sensor", "wv3"]
    assert call("data", tmp_path, *pair, "--size", 32) == 0
    given = ["--train", tmp_path / "train.h5", "--valid", tmp_path / "valid.h5", "--lr", 0]
    given += ["--epochs", 1, "--batch-size", 2, "--device", "cpu", "--precision", "fp32"]
    model = load_trained("pnn")
    save_weights(model, tmp_path / "start.safetensors")
    more = ["--run-dir", tmp_path / "run", "--weights", tmp_path / "start.safetensors"]
    assert call("train", "pnn", *given, *more) == 0
    after = load_weights(tmp_path / "run" / "weights.safetensors")
    for one, other in zip(model.parameters(), after.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach(), other.detach())
    assert call("train", "pannet", *given, *more) == 2
    assert "holds a PNN, not pannet" in capsys.readouterr().err
