import pytest
import torch
from torch import nn
from torch.testing import assert_close

from dcfnet import DataError
from dcfnet.inside.hooks import kept
from dcfnet.networks import DCFNet, DCFNetConfig
from dcfnet.networks.bricks import normalise
from dcfnet.networks.dcfnet import REMOVABLE
from tests.support import golden_networks as golden
from tests.support.networks import images


def build(**options):
    torch.manual_seed(0)
    return DCFNet(DCFNetConfig(**options))


def narrow(**options):
    return build(width=0.25, inject_details=False, **options)


def random_inputs(height=64, width=64, batch=1):
    return images(height, width, batch=batch, seed=1)


@torch.no_grad()
def randomise(model):
    """Statistics and fusion weights as after training, some of them negative."""
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.3, 3),
                (module.weight, 0.5, 1.5),
                (module.bias, -0.3, 0.3),
            ):
                values.uniform_(low, high, generator=generator)
    for name, parameter in model.named_parameters():
        if name.endswith(("fusion.weight", "pair")):
            parameter.uniform_(-0.3, 1.5, generator=generator)
    nn.init.normal_(model.head.out.weight, std=0.1, generator=generator)
    return model


def outputs(model, names, *inputs):
    """What the named modules return, in the order in which they are called."""
    with kept(model, names) as seen:
        fused = model(*inputs)
    return {**seen, "fused": fused}


# --- The released network's numbers -----------------------------------------------------------


@pytest.fixture(scope="module")
def filled():
    model = DCFNet(DCFNetConfig(inject_details=False)).double().eval()
    golden.fill(model)
    return model


@torch.no_grad()
def set_fusions(model, case):
    for name, parameter in model.named_parameters():
        if name.endswith("pair"):
            values = [0.8, 1.2] if case in "BC" else [1.0, 1.0]
            parameter.copy_(torch.tensor(values, dtype=torch.float64))
        elif name.endswith("fusion.weight"):
            i = torch.arange(len(parameter), dtype=torch.float64)
            parameter.copy_(1 + 0.1 * i[:, None] + 0.2 * i if case in "BC" else torch.ones(()))
            if case == "C":
                parameter[0, 1] = -0.5


@pytest.mark.parametrize("key", golden.DCFNET)
@torch.no_grad()
def test_golden(filled, key):
    case, _, size = key.partition("_")
    set_fusions(filled, case)
    height, width = (96, 128) if size == "96x128" else (64, 64)
    found = golden.summary(filled(*golden.inputs(height, width)))
    assert found == pytest.approx(golden.DCFNET[key], rel=1e-9)


@torch.no_grad()
def test_golden_of_the_copy_for_inference(filled):
    set_fusions(filled, "C")
    fused = filled.fused_for_inference()(*golden.inputs(64, 64))
    assert golden.summary(fused) == pytest.approx(golden.DCFNET["C"], rel=1e-9)


def test_batch_normalisation_as_released():
    norms = [module for module in build().modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.01, 1e-5)}


# --- Sizes and options ------------------------------------------------------------------------


@torch.no_grad()
def test_odd_size_is_padded_by_the_border_and_cropped():
    model = narrow().eval()
    pan, ms, lms = random_inputs(61, 70)
    padded = [nn.functional.pad(image, (0, 2, 0, 3), mode="replicate") for image in (pan, lms)]
    expected = model(padded[0], ms, padded[1])[..., :61, :70]
    assert_close(model(pan, ms, lms), expected, rtol=0, atol=0)


@torch.no_grad()
def test_untrained_network_that_injects_details_returns_lms():
    pan, ms, lms = random_inputs()
    assert_close(build(width=0.25)(pan, ms, lms), lms, rtol=0, atol=0)


@torch.no_grad()
def test_inject_details_only_adds_lms():
    injecting, direct = randomise(build(width=0.25)), narrow()
    direct.load_state_dict(injecting.state_dict())
    pan, ms, lms = random_inputs()
    assert_close(injecting.eval()(pan, ms, lms), direct.eval()(pan, ms, lms) + lms)


def test_width_scales_every_number_of_channels():
    narrow_shapes = {name: p.shape for name, p in narrow().named_parameters()}
    for name, parameter in build().named_parameters():
        # The number of bands, and of branches, is what it is.
        expected = tuple(n if n in (1, 2, 3, 4, 8, 9) else n // 4 for n in parameter.shape)
        assert tuple(narrow_shapes[name]) == expected, name


@pytest.mark.parametrize("options", [{"bands": 0}, {"bands": 2.5}, {"width": 0}, {"width": -1}])
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DCFNet(DCFNetConfig(**options))


@pytest.mark.parametrize(
    ("shapes", "complaint"),
    [
        (((1, 64, 64), (1, 8, 16, 16), (1, 8, 64, 64)), r"pan must have shape \(B, 1, H, W\)"),
        (((1, 2, 64, 64), (1, 8, 16, 16), (1, 8, 64, 64)), "pan must have"),
        (((1, 1, 64, 64), (1, 4, 16, 16), (1, 4, 64, 64)), r"lms must have shape \(1, 8, 64, 64\)"),
        (((1, 1, 64, 64), (1, 8, 15, 16), (1, 8, 64, 64)), r"ms must have shape \(1, 8, 16, 16\)"),
        (((1, 1, 63, 64), (1, 8, 15, 16), (1, 8, 63, 64)), r"ms must have shape \(1, 8, 16, 16\)"),
        (((1, 1, 64, 64), (2, 8, 16, 16), (1, 8, 64, 64)), "ms must have"),
    ],
)
def test_inputs_that_do_not_fit(shapes, complaint):
    with pytest.raises(DataError, match=complaint):
        narrow()(*(torch.rand(shape) for shape in shapes))


# --- Gradients --------------------------------------------------------------------------------


@pytest.mark.parametrize("without", [(), *((name,) for name in REMOVABLE), REMOVABLE])
def test_gradients_reach_every_parameter(without):
    model = narrow(without=without)
    model(*random_inputs(batch=2)).square().mean().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_shares_that_are_not_learned_stay_equal_and_all_else_learns():
    learning, equal = build(width=0.25), build(width=0.25, learn_shares=False)
    equal.load_state_dict(learning.state_dict())
    inputs, truth = random_inputs(batch=2), torch.rand(2, 8, 64, 64)
    for model in (learning, equal):
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(3):  # the head starts at zero, so nothing before it moves in the first
            optimiser.zero_grad()
            (model(*inputs) - truth).square().mean().backward()
            optimiser.step()
    names = {f"stage{i}.fusion.weight" for i in (2, 3)}
    moved = {n for n, p in learning.named_parameters() if not (p == 1).all()}
    assert names <= moved
    for stage in (equal.stage2, equal.stage3):
        assert (stage.fusion.weight == 1).all()
    silent = {n for n, p in equal.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == names


@torch.no_grad()
def test_high_passed_it_sees_no_level_and_starts_from_the_same_weights():
    pan, ms, lms = random_inputs()
    for given in (False, True):
        torch.manual_seed(0)
        model = build(width=0.1, high_pass=given).eval()
        torch.nn.init.normal_(model.head.out.weight)
        details = model(pan, ms, lms) - lms
        apart = model(pan + 0.3, ms + 0.2, lms + 0.2) - (lms + 0.2)
        assert ((apart - details).abs().max() < 1e-4 * details.abs().max()) == given
    torch.manual_seed(0)
    usual = build(width=0.1, high_pass=False)
    torch.manual_seed(0)
    other = build(width=0.1, high_pass=True)
    same = zip(usual.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(*both) for both in same)


def test_gradients_pass_a_head_that_started_at_zero_after_one_step():
    model = build(width=0.25)
    inputs, truth = random_inputs(batch=2), torch.rand(2, 8, 64, 64)
    optimiser = torch.optim.Adam(model.parameters())
    for _ in range(2):
        optimiser.zero_grad()
        (model(*inputs) - truth).square().mean().backward()
        optimiser.step()
    assert [n for n, p in model.named_parameters() if not p.grad.any()] == []


# --- Parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (96, 128)])
@torch.no_grad()
def test_every_part_is_reachable_and_has_the_shape_it_says(size):
    model = narrow().eval()
    parts = model.parts()
    seen = outputs(model, parts, *random_inputs(*size, batch=2))
    for name, part in parts.items():
        assert part.name == name
        assert tuple(seen[name].shape) == (2, *part.shape(*size)), name
    assert list(parts) == [name for name in seen if name in parts], "parts are in order of use"


def test_parts_cover_what_the_figures_show():
    parts = narrow().parts()
    kinds = {kind: [p for p in parts.values() if p.kind == kind] for kind in
             ("branch", "transfer", "last convolution", "fused", "pcft")}  # fmt: skip
    pairs = {(p.stage, p.target, p.source) for p in kinds["transfer"]}
    square = {(stage, i, j) for stage in (2, 3) for i in range(stage) for j in range(stage)}
    assert pairs == square
    assert {(p.stage, p.target, p.source) for p in kinds["last convolution"]} == {
        (stage, i, j) for stage, i, j in square if i != j
    }
    assert {p.name for p in kinds["pcft"]} == {"pcft1", "pcft2"}
    for kind in ("branch", "fused"):
        assert {(p.stage, p.target) for p in kinds[kind]} == {(s, i) for s, i, _ in square}
    assert parts["head.concat"].channels == 8 + 16 + 32
    labels = [part.label for part in parts.values()]
    assert len(set(labels)) == len(labels)


def test_every_parameter_is_inside_a_part():
    model = narrow()
    inside = tuple(f"{name}." for name in model.parts())
    outside = [name for name, _ in model.named_parameters() if not name.startswith(inside)]
    assert outside == ["stage2.fusion.weight", "stage3.fusion.weight"]


def test_hooks_see_values_that_nothing_overwrites():
    model = narrow().eval()
    leaves = [name for name, module in model.named_modules() if not list(module.children())]
    copies = {}

    def copy(name):
        return lambda module, args, output: copies.__setitem__(name, output.detach().clone())

    for name in leaves:
        model.get_submodule(name).register_forward_hook(copy(name))
    seen = outputs(model, leaves, *random_inputs())
    assert len(copies) > 100
    for name, value in copies.items():
        assert_close(seen[name].detach(), value, rtol=0, atol=0, msg=name)


def test_transfer_of_a_branch_to_itself_has_its_own_derivative():
    model = narrow().eval()
    names = ["stage3.branches.0", *(f"stage3.fusion.transfers.0_to_{i}" for i in range(3))]
    seen = outputs(model, names, *random_inputs())
    whole, itself, *others = torch.autograd.grad(seen["fused"].mean(), [seen[n] for n in names])
    assert not torch.allclose(whole, itself)
    through_others = torch.zeros_like(whole)
    for i, gradient in enumerate(others, start=1):
        transfer = model.stage3.fusion.transfers[f"0_to_{i}"]
        x = seen["stage3.branches.0"].detach().requires_grad_()
        through_others += torch.autograd.grad(transfer(x), x, gradient)[0]
    assert_close(whole, itself + through_others)


# --- Dynamic fusion ---------------------------------------------------------------------------


@torch.no_grad()
def test_shares_are_normalised_columns():
    fusion = narrow().stage3.fusion
    assert_close(fusion.shares(), torch.full((4, 4), 1 / (4 + 1e-4)))
    fusion.weight[0, 1] = -5
    shares = fusion.shares()
    assert shares[0, 1] == 0
    assert_close(shares[1:, 1], torch.full((3,), 1 / (3 + 1e-4)))
    assert_close(shares[:, 2], torch.full((4,), 1 / (4 + 1e-4)))


@torch.no_grad()
def test_spare_column_does_nothing_and_spare_row_takes_its_share():
    model, inputs = narrow().eval(), random_inputs()
    before = model(*inputs)
    model.stage3.fusion.weight[:, 3] = 7
    assert_close(model(*inputs), before, rtol=0, atol=0)
    model.stage3.fusion.weight[3, 0] = 7
    assert not torch.allclose(model(*inputs), before)


# --- Switches ---------------------------------------------------------------------------------


def removed_keys(name, state):
    """What the named switch takes away: a transfer as a whole, a PCFT down to its plain way."""
    pcft, _, crossing = name.partition(".")
    if crossing == "crossing":
        of_ms = (f"{pcft}.channel_fusion.conv.", f"{pcft}.channel_fusion.pair", f"{pcft}.down0.")
        return {key for key in state if key.startswith(of_ms)}
    plain = {"pcft1": "pcft1.down.", "pcft2": "pcft2.down1."}.get(name, "nothing")
    return {key for key in state if key.startswith(f"{name}.") and not key.startswith(plain)}


@pytest.mark.parametrize("name", REMOVABLE)
@torch.no_grad()
def test_switch_changes_only_what_it_names(name):
    whole, cut = randomise(narrow()).eval(), narrow(without=(name,)).eval()
    for parameter_name, parameter in whole.named_parameters():
        if parameter_name.endswith(("fusion.weight", "pair")):
            parameter.abs_()  # every transfer counts
    state, inputs = whole.state_dict(), random_inputs()
    gone = removed_keys(name, state)
    assert gone
    kept = {key: value for key, value in state.items() if key not in gone}
    cut.load_state_dict(kept, strict=True)

    common = [part for part in whole.parts() if part in cut.parts()]
    stage, _, what = name.partition(".")
    first = {"": stage, "crossing": f"{stage}.channel_fusion"}.get(what, f"{stage}.fusion.fused.0")
    before = [part for part in common[: common.index(first)] if part != "pcft2.down_cross"]
    seen, seen_cut = outputs(whole, common, *inputs), outputs(cut, common, *inputs)
    for part in before:
        assert_close(seen_cut[part], seen[part], rtol=0, atol=0, msg=part)
    assert not torch.allclose(seen_cut["fused"], seen["fused"])


@torch.no_grad()
def test_shares_without_a_transfer():
    whole, cut = narrow(), narrow(without="stage3.fusion.transfers.2_to_0")
    weight = torch.rand(4, 4)
    for model in (whole, cut):
        model.stage3.fusion.weight.copy_(weight)
    shares, shares_cut = whole.stage3.fusion.shares(), cut.stage3.fusion.shares()
    assert_close(shares_cut[:, [0, 1, 3]], shares[:, [0, 1, 3]], rtol=0, atol=0)
    assert shares_cut[0, 2] == 0
    assert_close(shares_cut[1:, 2], weight[1:, 2] / (weight[1:, 2].sum() + 1e-4))


@torch.no_grad()
def test_plain_branches_in_place_of_pcfts():
    model = narrow(without=("pcft1", "pcft2")).eval()
    names = ["stage1", "stage2.branches.1", "pcft1", "pcft2"]
    pan, ms, lms = random_inputs()
    seen = outputs(model, names, pan, ms, lms)
    assert_close(seen["pcft1"], model.pcft1.down(seen["stage1"]))
    assert_close(seen["pcft2"], model.pcft2.down1(seen["stage2.branches.1"]))
    # Without a PCFT the MS image reaches the network as lms only.
    assert_close(model(pan, torch.zeros_like(ms), lms), seen["fused"], rtol=0, atol=0)


@torch.no_grad()
def test_a_pcft_without_its_crossing_has_the_next_finer_branch_alone():
    model = randomise(narrow(without=("pcft1.crossing", "pcft2.crossing"))).eval()
    names = ["stage1", "stage2.branches.1", "pcft1", "pcft2"]
    pan, ms, lms = random_inputs()
    seen = outputs(model, names, pan, ms, lms)
    first, second = model.pcft1, model.pcft2
    assert_close(seen["pcft1"], first.channel_fusion.block(first.down(seen["stage1"])))
    x1 = seen["stage2.branches.1"]
    a, b = normalise(second.pair)
    u = second.channel_fusion.block(second.down_cross(x1))
    assert_close(seen["pcft2"], a * second.down1(x1) + b * u)
    assert_close(model(pan, torch.zeros_like(ms), lms), seen["fused"], rtol=0, atol=0)


def rows_seen(model):
    """How many rows of PAN the middle of branch 2 depends on."""
    pan, ms, lms = random_inputs(192, 192)
    pan.requires_grad_()
    branch = outputs(model.eval(), ["stage3.branches.2"], pan, ms, lms)["stage3.branches.2"]
    (gradient,) = torch.autograd.grad(branch[0, :, 24, 24].sum(), pan)
    return int(gradient[0, 0].any(dim=1).sum())


def test_without_crossings_a_network_is_as_deep_and_without_pcfts_it_is_not():
    whole, control, plain = (
        rows_seen(build(width=0.1, without=without))
        for without in ((), ("pcft1.crossing", "pcft2.crossing"), ("pcft1", "pcft2"))
    )
    assert control == whole
    assert plain < whole


def test_switches_in_any_order_are_one_network():
    assert DCFNetConfig(without=("pcft1.crossing", "pcft1")) == DCFNetConfig(without="pcft1")
    one = DCFNetConfig(without=["pcft2", "pcft1"])
    assert one == DCFNetConfig(without=("pcft1", "pcft2", "pcft1"))
    assert DCFNetConfig(without="pcft1") == DCFNetConfig(without=("pcft1",))


def test_unknown_switch_names_near_matches():
    with pytest.raises(ValueError, match=r"'stage3\.fusion\.transfers\.0_to_3'.*did you mean") as e:
        DCFNetConfig(without=("stage3.fusion.transfers.0_to_3",))
    assert "stage3.fusion.transfers.0_to_2" in str(e.value)
    with pytest.raises(ValueError, match="pcft1"):
        DCFNetConfig(without=("something else",))


# --- Inference shortcuts ----------------------------------------------------------------------

NOTHING = {"fold_norms": False, "split_head": False, "channels_last": False, "in_place": False}
SHORTCUTS = {**{name: {**NOTHING, name: True} for name in NOTHING}, "all": {}}


def largest_relative_error(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("steps", SHORTCUTS.values(), ids=SHORTCUTS)
@pytest.mark.parametrize("size", [(64, 64), (61, 70), (96, 128)])
@torch.no_grad()
def test_shortcut_equals_plain(steps, size):
    model = randomise(build(width=0.5)).eval()
    inputs = random_inputs(*size)
    untouched = [image.clone() for image in inputs]
    expected = model(*inputs)
    assert largest_relative_error(model.fused_for_inference(**steps)(*inputs), expected) < 1e-5
    assert_close(inputs, tuple(untouched), rtol=0, atol=0)
    assert_close(model(*inputs), expected, rtol=0, atol=0)  # the plain network is as it was


def test_copy_for_inference_is_frozen_and_has_no_parts():
    model = narrow().train()
    fast = model.fused_for_inference()
    assert model.training
    assert not fast.training
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    with pytest.raises(RuntimeError, match="fused_for_inference"):
        fast.parts()
    assert model.parts()


def test_derivatives_with_respect_to_the_input_through_the_copy():
    model = randomise(narrow()).eval()
    pan, ms, lms = random_inputs()
    gradients = []
    for network in (model, model.fused_for_inference()):
        x = pan.clone().requires_grad_()
        gradients.append(torch.autograd.grad(network(x, ms, lms)[0, :, 30, 30].sum(), x)[0])
    assert gradients[0].any()
    assert largest_relative_error(gradients[1], gradients[0]) < 1e-4
