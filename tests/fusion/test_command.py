import shutil
import zipfile

import pytest
import torch

from dcfnet import load_trained
from dcfnet.cli import main
from dcfnet.networks import NETWORKS


def test_the_command(files, tmp_path, capsys):
    args = ["fuse", "--ms", str(files[0]), "--pan", str(files[1]), "--sensor", "wv3"]
    args += ["--network", "pannet", "--device", "cpu", str(tmp_path / "out.tif")]
    assert main(args) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out.tif")
    assert main(args) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_command_with_archives_and_released_weights(files, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        for path in files:
            archive.write(path, path.name)
    model, layers = load_trained("pannet"), NETWORKS["pannet"].released_layers
    state = {
        f"module.{theirs}.{leaf}": model.state_dict()[f"{ours}.{leaf}"]
        for theirs, ours in layers.items()
        for leaf in ("weight", "bias")
    }
    torch.save(state, tmp_path / "pannet.pth")
    out, given = tmp_path / "out.tif", ["--sensor", "wv3", "--device", "cpu"]
    archived = ["--ms", f"/vsizip/{tmp_path}/both.zip/ms.tif"]
    archived += ["--pan", f"zip://{tmp_path}/both.zip!pan.tif"]
    released = ["--released", str(tmp_path / "pannet.pth")]
    assert main(["fuse", *archived, *given, *released, str(out)]) == 0
    expected = shutil.copy(out, tmp_path / "expected.tif")
    plain = ["--ms", str(files[0]), "--pan", str(files[1]), "--network", "pannet", "--overwrite"]
    assert main(["fuse", *plain, *given, str(out)]) == 0
    assert out.read_bytes() == expected.read_bytes()
    capsys.readouterr()


@pytest.mark.parametrize("wrong", [["--tile", "10"], ["--tile", "0"], ["--device", "cuda:97"]])
def test_settings_that_cannot_be_are_refused(files, tmp_path, capsys, wrong):
    given = ["--ms", str(files[0]), "--pan", str(files[1]), "--sensor", "wv3"]
    assert main(["fuse", *given, *wrong, "--network", "pnn", str(tmp_path / "out.tif")]) == 2
    assert capsys.readouterr().err.startswith("dcfnet fuse: ")


def test_an_address_is_named_as_it_was_given(files, tmp_path, capsys):
    given = ["--ms", "https://127.0.0.1:9/ms.tif", "--pan", str(files[1]), "--sensor", "wv3"]
    assert main(["fuse", *given, "--network", "pnn", str(tmp_path / "out.tif")]) == 2
    assert "cannot read https://127.0.0.1:9/ms.tif" in capsys.readouterr().err
