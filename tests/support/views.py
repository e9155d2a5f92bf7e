"""Opens a view in a browser, drives every control, looks whether its picture answers."""

# All that a view shows, as one string: the pixels of canvases, pictures, drawings, how they lie.
_PICTURE = """(view) => [...view.querySelectorAll("canvas, img, .dcf-layer, .dcf-line, .dcf-chart")]
  .map((it) => [it.tagName === "CANVAS" ? it.toDataURL() : it.src, it.style.cssText,
    it.matches(".dcf-chart") ? it.innerHTML : ""].join()).join()"""


def open_view(drawing, tmp_path, open_page, **options):
    """The tab and the view that shows a drawing, or a view that is one already."""
    from dcfnet.show.views import View

    view = drawing
    if not isinstance(drawing, View):
        view = View(drawing, name="trial", alt="A view made for a test alone.")
    page = tmp_path / "view.html"
    page.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><body style='max-width: 50rem'>"
        f"{view.html()}</body></html>",
        "utf-8",
    )
    tab = open_page(page.as_uri(), inside=tmp_path.as_uri(), **options)
    tab.page.wait_for_selector(".dcf-view[data-state=ready]", timeout=20_000)
    return tab, tab.page.locator(".dcf-view")


def answers(view, before: str) -> bool:
    """Whether the picture differs from the one before."""
    return view.evaluate(_PICTURE) != before


def drive(view) -> int:
    """Changes each control of a view in turn; the picture must change each time.

    Selects are chosen from, sliders are moved with keys, buttons and boxes are clicked, images are
    zoomed with keys.

    Returns:
        How many controls there are.

    Raises:
        AssertionError: a control has no name, or the picture does not answer it.
    """
    name = view.get_attribute("data-view")
    label_of = "(it) => it.labels[0]?.innerText ?? ''"
    count = 0

    for control in view.locator("select").all():
        label = control.evaluate(label_of)
        assert label, f"{name}: a choice has no label"
        values = control.evaluate("(it) => [...it.options].map((option) => option.value)")
        start = control.input_value()
        before = view.evaluate(_PICTURE)
        others = [value for value in values if value != start]
        assert others, f"{name}: {label} offers no choice"
        for value in others:
            control.select_option(value)
            if answers(view, before):
                break
        else:
            raise AssertionError(f"{name}: the picture does not answer {label}")
        count += 1

    for control in view.get_by_role("slider").all():
        label = control.evaluate(label_of)
        assert label, f"{name}: a slider has no name"
        before = view.evaluate(_PICTURE)
        at_end = control.evaluate("(it) => it.value === it.max")
        control.press("ArrowLeft" if at_end else "ArrowRight")
        assert answers(view, before), f"{name}: the picture does not answer {label}"
        count += 1

    for control in view.locator("button, input[type=checkbox]").all():
        before = view.evaluate(_PICTURE)
        control.click()
        assert answers(view, before), f"{name}: the picture does not answer {control.inner_text()}"
        count += 1

    for image in view.locator("[role=group][tabindex='0']").all():
        assert image.get_attribute("aria-label"), f"{name}: an image has no name"
        before = view.evaluate(_PICTURE)
        image.press("+")
        assert answers(view, before), f"{name}: the picture does not answer a key"
        zoomed = view.evaluate(_PICTURE)
        image.press("0")
        assert answers(view, zoomed), f"{name}: the picture does not return to its size"

    assert count, f"{name}: there is nothing to change"
    return count
