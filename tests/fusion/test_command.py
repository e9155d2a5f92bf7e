from dcfnet.cli import main


def test_the_command(files, tmp_path, capsys):
    args = ["fuse", "--ms", str(files[0]), "--pan", str(files[1]), "--sensor", "wv3"]
    args += ["--network", "pannet", "--device", "cpu", str(tmp_path / "out.tif")]
    assert main(args) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out.tif")
    assert main(args) == 2
    assert "exists already" in capsys.readouterr().err
