// The frame of views: mounts what view.py writes, in a notebook and in the rendered book alike,
// and gives it keys, names for screen readers and the colours of the page's theme.
// A view is <div class="dcf-view"> with its Bokeh document as JSON inside; see View.html().
((root) => {
  const views = (root.dcfnetViews ??= {});
  if (views.mountAll) {  // a later cell of the notebook brings the scripts again
    views.mountAll();
    return;
  }

  const mounted = [];

  function* walk(view) {
    yield view;
    // From Bokeh 3.10 on, parts that are not shown have null for a view.
    for (const child of view.children_views()) if (child) yield* walk(child);
  }

  // Bokeh draws a slider's name above it, but does not tell a screen reader.
  function nameSlider({ model, shadow_el }) {
    const name = () => {
      for (const handle of shadow_el.querySelectorAll(".noUi-handle"))
        handle.setAttribute("aria-label", model.title);
    };
    name();
    // Bokeh may draw it anew when it changes.
    new MutationObserver(name).observe(shadow_el, { childList: true, subtree: true });
  }

  function clampedRange(range, start, end) {
    const [low, high] = [range.reset_start, range.reset_end].sort((a, b) => a - b);
    const size = Math.min(Math.abs(end - start), high - low);
    const first = Math.max(low, Math.min(Math.min(start, end), high - size));
    return start < end ? { start: first, end: first + size } : { start: first + size, end: first };
  }

  // What the mouse does to an image, for keys: move, zoom about the centre, reset.
  function onKey(event, figure) {
    const { x_range: x, y_range: y } = figure;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const factor = { "+": 0.8, "=": 0.8, "-": 1.25 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) {
      const [right, down] = moves[event.key];
      const dx = 0.1 * right * Math.abs(x.end - x.start);
      const dy = 0.1 * down * Math.abs(y.end - y.start);
      x.setv(clampedRange(x, x.start + dx, x.end + dx));
      y.setv(clampedRange(y, y.start + dy, y.end + dy));
    } else if (factor) {
      for (const range of [x, y]) {
        const centre = (range.start + range.end) / 2;
        const half = factor * (range.end - range.start) / 2;
        range.setv(clampedRange(range, centre - half, centre + half));
      }
    } else if (event.key === "0") {
      for (const range of [x, y]) range.setv({ start: range.reset_start, end: range.reset_end });
    } else {
      return;
    }
    event.preventDefault();
  }

  function prepareFigure(view) {
    const figure = view.model;
    // Of each figure's elements only an image's frame takes the focus.
    view.canvas_view.events_el.removeAttribute("tabindex");
    if (!figure.tags.includes("dcf-image")) return;
    view.el.addEventListener("keydown", (event) => onKey(event, figure));
    // A finger on an image scrolls the page.
    if (root.matchMedia("(pointer: coarse)").matches) {
      for (const tool of figure.toolbar.tools) if (tool.type === "PanTool") tool.active = false;
    }
  }

  // A drawing's chosen part stands out; a click on a part chooses it, as the control does that
  // comes with the drawing.
  function prepareDrawing(view) {
    const { model, shadow_el } = view;
    const control = model.tags.find((tag) => tag.type === "Select");
    const mark = () => {
      for (const part of shadow_el.querySelectorAll("[data-part]")) {
        part.classList.toggle("chosen", part.dataset.part === control.value);
      }
    };
    mark();
    control.properties.value.change.connect(mark);
    shadow_el.addEventListener("click", (event) => {
      const part = event.target.closest("[data-part]");
      if (part) control.value = part.dataset.part;
    });
  }

  function prepare(view) {
    for (const part of walk(view)) {
      if (part.model.type === "Figure") prepareFigure(part);
      else if (part.model.tags.includes("dcf-diagram")) prepareDrawing(part);
      else if (part.model.type === "Slider") nameSlider(part);
    }
  }

  async function mount(node) {
    node.dataset.state = "loading";
    const item = JSON.parse(node.querySelector("script.dcf-view-doc").textContent);
    try {
      const views = await root.Bokeh[item.version].embed.embed_item(
        item, node.querySelector(".dcf-view-body"));
      const view = views.roots[0];
      const doc = view.model.document;
      if (!doc.is_idle) await new Promise((done) => doc.idle.connect(() => done()));
      prepare(view);
      mounted.push({ node, view });
      node.dataset.state = "ready";
    } catch (error) {
      node.dataset.state = "failed";
      throw error;
    }
  }

  function mountAll() {
    for (const node of document.querySelectorAll(".dcf-view[data-view]:not([data-state])")) mount(node);
  }

  // Canvases read their colours from CSS when they paint, so a change of theme asks for a paint.
  function repaint() {
    for (const { node, view } of mounted) {
      if (!node.isConnected) continue;
      for (const part of walk(view)) if (part.model.type === "Figure") part.request_repaint();
    }
  }

  Object.assign(views, { mountAll, mounted });

  const themes = new MutationObserver(repaint);
  for (const node of [document.documentElement, document.body]) {
    if (node) {
      themes.observe(node, {
        attributes: true, attributeFilter: ["data-theme", "data-jp-theme-name", "class"],
      });
    }
  }
  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", mountAll);
  } else {
    mountAll();
  }
})(window);
