"""Pictures to choose among and to compare: beside each other, over each other, whole scenes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from dcfnet.show.page import colours
from dcfnet.show.style import coloured, picture
from dcfnet.show.views.view import Drawing

Picture = npt.NDArray[np.uint8]

_SMALL = 128  # pixels of a side, below which a picture is shown whole


def comparison(first: Picture, second: Picture, *, labels: tuple[str, str], title: str) -> Drawing:
    """Two pictures over each other, parted by a curtain or blended.

    Large ones open where they differ most, with the curtain in the middle of what is seen.

    Args:
        first: (H, W, 3) or (H, W), seen left of the curtain.
        second: The same size, seen right of it.
        labels: What the two are.
        title: Stands above them.

    Raises:
        ValueError: The pictures differ in size, or are not uint8.
    """
    size = _size(dict(zip(labels, (first, second), strict=True)))
    opened = _where_they_differ(first, second)
    amount = round(100 * (opened["x"] + 1 / (2 * opened["zoom"]))) if opened else 50
    return Drawing(
        "comparison",
        {
            "title": title,
            "labels": labels,
            "pictures": [picture(first), picture(second)],
            "size": size,
            "amount": amount,
            "open": opened,
        },
    )


def frame_panels(stacks: Mapping[str, Picture], choices: Mapping[str, Sequence[str]]) -> Drawing:
    """Pictures of which the reader chooses: all panels follow the same choices.

    Args:
        stacks: Title of a panel to its pictures (n1, ..., nk, H, W, 3), or to one, (H, W, 3),
            which stays. Coarser ones are drawn over the same ground as those of the first panel.
        choices: Title of a control to its n options, one control for each of the k leading axes.

    Raises:
        ValueError: A stack does not fit the choices, or is not (..., H, W, 3) uint8.
    """
    counts = tuple(map(len, choices.values()))
    for title, stack in stacks.items():
        if stack.dtype != np.uint8 or stack.shape[:-3] not in (counts, ()) or stack.shape[-1] != 3:
            raise ValueError(
                f"{title!r} must be {(*counts, 'H', 'W', 3)} of uint8, got {stack.shape} of "
                f"{stack.dtype}"
            )
    return _panels(
        controls=[{"title": t, "options": list(o), "value": 0} for t, o in choices.items()],
        panels=[
            {"title": title, "from": title, "follows": list(range(stack.ndim - 3))}
            for title, stack in stacks.items()
        ],
        pictures={
            title: [picture(each) for each in stack.reshape(-1, *stack.shape[-3:])]
            for title, stack in stacks.items()
        },
        size=next(iter(stacks.values())).shape[-3:-1],
    )


def photographs(
    pictures: Mapping[str, Picture], *, first: str | None = None, second: str | None = None
) -> Drawing:
    """Two of several large pictures beside each other, moved and zoomed together.

    They are compressed with loss: a megabyte of the page for ten million pixels. To be looked at,
    not to be read off.

    Args:
        pictures: Name to (H, W, 3) or (H, W), all of one size.
        first: What is seen at the left, the first picture unless given.
        second: What is seen at the right, the last picture unless given.

    Raises:
        ValueError: A picture has another size or type, or one is named that is not there.
    """
    return _beside(pictures, first, second, kind="webp", quality=75, method=2)


def two_results(
    pictures: Mapping[str, Picture],
    errors: Mapping[str, npt.NDArray[np.floating]],
    *,
    unit: str,
    limit: float | None = None,
    first: str | None = None,
    second: str | None = None,
) -> Drawing:
    """Two methods beside each other, moved and zoomed together, each as a picture or its error.

    Args:
        pictures: Method to its composite, (H, W, 3), all under one stretch.
        errors: Method to its error, (H, W), at least 0; methods without one, such as the truth,
            are offered as pictures alone.
        unit: Of the errors.
        limit: What the brightest colour of the error maps stands for; by default the 99.5 %
            quantile of all of them. All maps share the scale.
        first: What is seen at the left, the first method unless given.
        second: What is seen at the right, the last method unless given.

    Raises:
        ValueError: The images differ in size, or a method is named that has no picture.
    """
    for name in (first, second, *errors):
        _check_name(name, pictures)
    if limit is None:
        limit = float(np.quantile(np.concatenate([it.ravel() for it in errors.values()]), 0.995))
    maps = {f"{name}, error": coloured(it, 0, limit, "magma") for name, it in errors.items()}
    scale = {"colours": colours("magma"), "most": f"{limit:.4g} {unit}"}
    return _beside({**pictures, **maps}, first, second or list(pictures)[-1], scale=scale)


def _beside(
    pictures: Mapping[str, Picture],
    first: str | None,
    second: str | None,
    scale: Mapping[str, Any] | None = None,
    **how: Any,
) -> Drawing:
    """Two panels over one store, each with a control that chooses its picture.

    ``how`` says how pictures are compressed, see `dcfnet.show.style.picture`.
    """
    size = _size(pictures)
    names = list(pictures)
    shown = [first or names[0], second or names[-1]]
    for name in shown:
        _check_name(name, pictures)
    titles = ("Left", "Right")
    return _panels(
        controls=[
            {"title": title, "options": names, "value": names.index(name)}
            for title, name in zip(titles, shown, strict=True)
        ],
        panels=[{"title": title, "from": "all", "follows": [k]} for k, title in enumerate(titles)],
        pictures={"all": [picture(image, **how) for image in pictures.values()]},
        size=size,
        open=_where_they_differ(*(pictures[name] for name in shown)),
        narrow=True,
        scale=scale,
    )


def _panels(**data: Any) -> Drawing:
    return Drawing("pictures", data)


def _check_name(name: str | None, pictures: Iterable[str]) -> None:
    if name is not None and name not in pictures:
        raise ValueError(f"there is no picture of {name!r}, only of {', '.join(pictures)}")


def _size(pictures: Mapping[str, Picture]) -> tuple[int, int]:
    """Rows and columns of pictures, which have to agree."""
    sizes = {image.shape[:2] for image in pictures.values()}
    if len(sizes) != 1 or any(
        image.dtype != np.uint8 or image.shape[2:] not in ((), (3,)) for image in pictures.values()
    ):
        raise ValueError(
            "expected pictures (H, W) or (H, W, 3) of uint8, of one size, got "
            + ", ".join(f"{name} {it.shape} {it.dtype}" for name, it in pictures.items())
        )
    return sizes.pop()


def _where_they_differ(one: Picture, other: Picture) -> dict[str, float] | None:
    """The third of large pictures, each way, where they differ most; as a whole they look alike."""
    if min(one.shape[:2]) < _SMALL:
        return None
    grey = [(image if image.ndim == 2 else image.mean(-1)).astype(float) for image in (one, other)]
    height, width = (size // 3 for size in one.shape[:2])
    apart = uniform_filter(np.abs(grey[0] - grey[1]), (height, width))
    inner = apart[height // 2 : -height // 2, width // 2 : -width // 2]
    top, left = np.unravel_index(inner.argmax(), inner.shape)
    return {"zoom": 3, "y": top / one.shape[0], "x": left / one.shape[1]}
