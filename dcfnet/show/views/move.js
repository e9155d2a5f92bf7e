// Panels over one ground that move and zoom together: by keys, by dragging, with two fingers, and by
// the wheel with Ctrl.
"use strict";
((root) => {
  const { MOVES, element, capture, within } = root.dcfnetPages;
  const FACTORS = { "+": 1.25, "=": 1.25, "-": 0.8 };
  const HINT = "Opened where the two differ most. On an image, the key 0 shows all of it, plus and "
    + "minus zoom; drag to move.";

  const apart = ([y0, x0], [y1, x1]) => Math.hypot(y1 - y0, x1 - x0);

  // `open` is what is seen first, if not all: how many times enlarged, and its corner in shares of
  // the whole. Returns the words that say so, for below the panels.
  function together(panels, [rows, cols], open) {
    const most = Math.max(1, Math.min(rows, cols) / 4); // four pixels of a side stay in sight
    let { zoom, y, x } = open ?? { zoom: 1, y: 0, x: 0 };

    function show() {
      [y, x] = [y, x].map((share) => within(share, 1 - 1 / zoom));
      for (const { layer: { style } } of panels) {
        style.transform = `scale(${zoom}) translate(${-100 * x}%, ${-100 * y}%)`;
        style.setProperty("--zoom", zoom);
      }
    }
    // By shares of what is seen.
    function move(down, right) {
      [y, x] = [y + down / zoom, x + right / zoom];
      show();
    }
    // About a point of the frame, which stays where it is.
    function magnify(factor, [down, right] = [0.5, 0.5]) {
      const next = Math.min(most, Math.max(1, zoom * factor));
      const more = 1 / zoom - 1 / next;
      [zoom, y, x] = [next, y + down * more, x + right * more];
      show();
    }

    function onKey(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in MOVES) move(...MOVES[event.key].map((step) => step / 10));
      else if (event.key in FACTORS) magnify(FACTORS[event.key]);
      else if (event.key === "0") magnify(0);
      else return;
      event.preventDefault();
    }

    for (const { frame, caption } of panels) {
      const held = new Map(); // pointers that are down, and where
      let dragged = false;
      const placeOf = ({ clientX, clientY }) => {
        const box = frame.getBoundingClientRect();
        return [(clientY - box.top) / box.height, (clientX - box.left) / box.width];
      };
      const release = ({ pointerId }) => held.delete(pointerId);
      frame.classList.add("dcf-moves");
      frame.setAttribute("tabindex", "0");
      frame.setAttribute("role", "group");
      frame.setAttribute("aria-label",
        `${caption.textContent}. Arrow keys move, plus and minus zoom, zero resets.`);
      frame.addEventListener("keydown", onKey);
      frame.addEventListener("pointerdown", (event) => {
        dragged = false;
        held.set(event.pointerId, placeOf(event));
      });
      frame.addEventListener("pointermove", (event) => {
        const before = held.get(event.pointerId);
        if (!before) return;
        const now = placeOf(event);
        const [, other] = [...held].find(([id]) => id !== event.pointerId) ?? [];
        if (event.pointerType !== "touch") { // of fingers, a single one scrolls the page
          if (!dragged && apart(now, before) < 0.01) return;
          capture(frame, event);
          move(before[0] - now[0], before[1] - now[1]);
        } else if (other) magnify(apart(now, other) / apart(before, other), other);
        dragged = true;
        held.set(event.pointerId, now);
      });
      frame.addEventListener("pointerup", release);
      frame.addEventListener("pointercancel", release);
      frame.addEventListener("click", (event) => dragged && event.stopPropagation(), true);
      frame.addEventListener("wheel", (event) => {
        if (!event.ctrlKey) return;
        event.preventDefault();
        magnify(2 ** (-event.deltaY / 200), placeOf(event));
      }, { passive: false });
    }
    show();
    return open ? element("p", { class: "dcf-words" }, HINT) : "";
  }

  Object.assign(root.dcfnetPages, { together });
})(window);
