"""Forward hooks that last as long as a ``with`` block: what parts return is read, or changed.

Parts are named by the dotted names of modules, for DCFNet for example those of ``model.parts()``;
where a network has none of a name, a `ValueError` names those like it.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dcfnet.errors import unknown


def require_parts(model: nn.Module, names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once, if the network has modules of all of them."""
    known = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    names = tuple(dict.fromkeys(names))
    for name in names:
        if name not in known:
            said = unknown(f"layer of {type(model).__name__}", name, known)
            raise ValueError(f"{said}; model.named_modules() lists all")
    return names


@contextlib.contextmanager
def replaced(model: nn.Module, changes: Mapping[str, Callable[[Any], Tensor]]) -> Iterator[None]:
    """Inside the block, parts of a network hand on what a function makes of their output.

    Afterwards, also after an error, the network is as it was.

    Example:
        >>> with replaced(model, {"pcft2": torch.zeros_like}):
        ...     fused = model(pan, ms, lms)
    """
    require_parts(model, changes)
    with contextlib.ExitStack() as stack:
        for name, change in changes.items():
            handle = model.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, output, change=change: change(output)
            )
            stack.callback(handle.remove)
        yield


@contextlib.contextmanager
def kept(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Inside the block, a dictionary has what the named parts returned last."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, output: Tensor) -> Tensor:
        seen[name] = output
        return output

    with replaced(model, {name: partial(keep, name) for name in names}):
        yield seen


@contextlib.contextmanager
def resumed(model: nn.Module, part: str, *inputs: Tensor) -> Iterator[None]:
    """Inside the block, passes over the same inputs begin behind a part: it is not run again.

    One pass, in eval mode, notes what each module returns. Those that are done when the part is
    done return the same from then on; a block of `replaced` within this one changes what the part
    returns. The inputs, ``pan, ms, lms``, are to be given to the model in the block as well.
    """
    require_parts(model, [part])
    last = model.get_submodule(part)
    done: list[tuple[nn.Module, Any]] = []
    with contextlib.ExitStack() as stack, torch.no_grad():
        for module in model.modules():
            hook = module.register_forward_hook(
                lambda module, _inputs, output: done.append((module, output))
            )
            stack.callback(hook.remove)
        model(*inputs)
    passed = [module for module, _ in done]
    before = done[: passed.index(last) + 1]
    with contextlib.ExitStack() as stack:
        for module, output in before:
            # Who passes again, further on, may return something else there.
            if passed.count(module) == 1 and isinstance(output, Tensor):
                # A copy, because what follows may write into it.
                module.forward = lambda *_, output=output: output.clone()
                stack.callback(delattr, module, "forward")
        yield


@torch.no_grad()
def activations(model: nn.Module, names: Iterable[str], *inputs: Tensor) -> dict[str, Tensor]:
    """What the named parts of a network return for an image, by name and in that order.

    The network runs once, in the mode it is in, without gradients.

    Example:
        >>> seen = activations(model, ["stem", "head.concat"], pan, ms, lms)
        >>> seen["head.concat"].shape
        torch.Size([1, 224, 64, 64])
    """
    names = list(names)
    with kept(model, names) as seen:
        model(*inputs)
    return {name: seen[name] for name in names}
