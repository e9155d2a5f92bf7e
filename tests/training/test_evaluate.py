"""A network measured, with batch normalisation that fits its weights."""

import pytest
import torch
from torch.utils.data import DataLoader

from dcfnet import DataError
from dcfnet.networks import build_network
from dcfnet.training.evaluate import evaluate_network, recompute_norms
from tests.support.training import checkpoint, network, quick_fit


def test_norms_are_those_of_the_batches(train):
    model = network("dcfnet")
    batches = list(DataLoader(train, batch_size=5))
    with torch.no_grad():
        inputs = (torch.cat((b["pan"], b["lms"]), 1) for b in batches)
        seen = torch.cat([model.stem[0].conv(x) for x in inputs])
    recompute_norms(model, batches)
    norm = model.stem[0].norm
    assert torch.allclose(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-6)
    assert norm.momentum == 0.01
    assert model.training


def test_validation_uses_recomputed_norms(train, valid, tmp_path):
    """The running statistics lag behind; those in the saved weights do not."""
    history = quick_fit(network(), train, valid, epochs=3, lr=1e-2, run_dir=tmp_path)
    saved = checkpoint(tmp_path)
    lagging = network()
    lagging.load_state_dict(saved["model"])
    assert evaluate_network(lagging, valid)["loss"] > 1.01 * history["valid_loss"][-1]


def test_patches_that_cannot_be_learned_from_are_refused(train, valid):
    blind = [{k: v for k, v in patch.items() if k != "gt"} for patch in train]
    odd = [{**patch, "gt": patch["gt"][:2]} for patch in train]
    for given, said in (
        ((network(), blind, valid), "has pan, ms, lms, but no gt"),
        ((network(), train, []), "valid holds no patches"),
        ((network(), odd, valid), r"gt has shape \(2, 16, 16\)"),
        ((build_network("dicnn", 8), train, valid), "for a network of 8 bands"),
    ):
        with pytest.raises(DataError, match=said):
            quick_fit(*given, epochs=1)


def test_a_patch_without_data_does_not_turn_the_result_into_nan(valid):
    patches = [valid[i] for i in range(len(valid))]
    empty = {key: torch.zeros_like(image) for key, image in patches[0].items()}
    model = network()
    whole, with_gap = (evaluate_network(model, p, full=True) for p in (patches, [*patches, empty]))
    assert {key: whole[key] for key in whole if key != "loss"} == pytest.approx(
        {key: with_gap[key] for key in with_gap if key != "loss"}
    )
