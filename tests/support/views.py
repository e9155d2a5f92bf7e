"""Opens a view in a browser, drives every control, looks whether its picture answers."""

# All canvases of a view, through shadow roots, as one string that changes with any pixel.
_PICTURE = """(view) => {
  const parts = [];
  const walk = (node) => {
    for (const child of node.querySelectorAll("*")) {
      if (child.tagName === "CANVAS" && child.width && child.height) parts.push(child.toDataURL());
      if (child.shadowRoot) walk(child.shadowRoot);
    }
  };
  walk(view);
  return parts.join();
}"""
_SETTLED = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30)))"


def open_view(layout, tmp_path, open_page, **options):
    """The tab and the view that shows a layout, or a view that is one already."""
    from dcfnet.show.views import View

    view = layout
    if not isinstance(layout, View):
        view = View(layout, name="trial", alt="A view made for a test alone.")
    page = tmp_path / "view.html"
    page.write_text(f"<!doctype html><html lang=en><body>{view.html()}</body></html>", "utf-8")
    tab = open_page(page.as_uri(), inside=tmp_path.as_uri(), **options)
    tab.page.wait_for_selector(".dcf-view[data-state=ready]", timeout=20_000)
    return tab, tab.page.locator(".dcf-view")


def picture(view) -> str:
    """What the canvases of a view show."""
    return view.evaluate(_PICTURE)


def answers(view, before: str, seconds: float = 2) -> bool:
    """Whether the picture differs from the one before, soon."""
    for _ in range(max(1, int(seconds / 0.05))):
        view.page.evaluate(_SETTLED)
        if picture(view) != before:
            return True
    return False


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
    count = 0

    for control in view.locator("select").all():
        label = control.evaluate("(it) => it.labels[0]?.textContent ?? ''")
        assert label, f"{name}: a choice has no label"
        values = control.evaluate("(it) => [...it.options].map((option) => option.value)")
        start = control.input_value()
        before = picture(view)
        quick = [value for value in values if value != start]
        assert quick, f"{name}: {label} offers no choice"
        changed = False
        for value in quick:
            control.select_option(value)
            changed = answers(view, before, 2 if value == quick[-1] else 0.3)
            if changed:
                break
        assert changed, f"{name}: the picture does not answer {label}"
        count += 1

    for control in view.get_by_role("slider").all():
        label = control.get_attribute("aria-label")
        assert label, f"{name}: a slider has no name"
        before = picture(view)
        at_end = control.get_attribute("aria-valuenow") == control.get_attribute("aria-valuemax")
        control.focus()
        for _ in range(5):
            control.press("ArrowLeft" if at_end else "ArrowRight")
        assert answers(view, before), f"{name}: the picture does not answer {label}"
        count += 1

    for control in view.locator("button:not(.bk-active), input[type=checkbox]").all():
        before = picture(view)
        control.click()
        assert answers(view, before), f"{name}: the picture does not answer {control.inner_text()}"
        count += 1

    for image in view.locator("[role=group][tabindex='0']").all():
        assert image.get_attribute("aria-label"), f"{name}: an image has no name"
        before = picture(view)
        image.press("+")
        assert answers(view, before), f"{name}: the picture does not answer a key"
        zoomed = picture(view)
        image.press("0")
        # Drawn before the next image is tried: those that move together would look alike.
        assert answers(view, zoomed), f"{name}: the picture does not return to its size"

    assert count, f"{name}: there is nothing to change"
    return count
