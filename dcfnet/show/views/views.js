// Mounts the views that dcfnet/show/views writes, in a notebook and in the rendered book alike.
// A view is <div class="dcf-view"> with its Bokeh document as JSON inside; see View.html().
(function (root) {
  if (root.dcfnetViews) {
    root.dcfnetViews.mountAll();
    return;
  }

  const mounted = [];

  function* walk(view) {
    yield view;
    // From Bokeh 3.10 on, parts that are not shown have null for a view.
    for (const child of view.children_views()) if (child) yield* walk(child);
  }

  // Bokeh draws names of sliders and groups beside them, and which buttons are pressed by their
  // colour, but does not tell a screen reader.
  function nameControl(view) {
    const { model, shadow_el } = view;
    const title = model.title || model.name;
    const describe = () => {
      const handles = shadow_el.querySelectorAll(".noUi-handle");
      handles.forEach((handle, i) => handle.setAttribute("aria-label",
        handles.length > 1 ? `${title}, ${["from", "to"][i]}` : title));
      for (const group of shadow_el.querySelectorAll(".bk-btn-group")) {
        group.setAttribute("role", "group");
        group.setAttribute("aria-label", title);
      }
      if (!Array.isArray(model.active)) return;
      shadow_el.querySelectorAll(".bk-btn-group > button").forEach((button, i) =>
        button.setAttribute("aria-pressed", model.active.includes(i)));
    };
    if (!title) return;
    describe();
    // Bokeh draws some controls anew when they change.
    new MutationObserver(describe).observe(shadow_el, { childList: true, subtree: true });
    model.properties.active?.change.connect(describe);
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

  // A click on a part of a drawing chooses it, as the control does that comes with the drawing.
  function prepareDrawing(view) {
    const control = view.model.tags.find((tag) => tag.type === "Select");
    view.shadow_el.addEventListener("click", (event) => {
      const part = event.target.closest("[data-part]");
      if (part) control.value = part.dataset.part;
    });
  }

  function prepare(view) {
    for (const part of walk(view)) {
      if (part.model.type === "Figure") prepareFigure(part);
      else if (part.model.tags.includes("dcf-diagram")) prepareDrawing(part);
      else if (part.shadow_el) nameControl(part);
    }
  }

  // The same for a view that jupyter_bokeh draws.
  function prepareLive(layout) {
    for (const view of root.Bokeh.index.roots) if (view.model === layout) prepare(view);
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

  function array(values, shape) {
    return root.Bokeh.require("core/util/ndarray").ndarray(values, { shape });
  }

  // Eight-bit codes as the numbers that they stand for.
  function decode(codes, low, step) {
    return array(Float32Array.from(codes, (code) => low + step * code), codes.shape);
  }

  // One of many maps of a store: its codes, its shape, and what they mean.
  function pick(store, index) {
    const [codes, shapes, low, step] = ["codes", "shapes", "low", "step"].map((key) => store.data[key][0]);
    let start = 0;
    for (let i = 0; i < index; i++) start += shapes[2 * i] * shapes[2 * i + 1];
    const shape = [shapes[2 * index], shapes[2 * index + 1]];
    const part = array(codes.slice(start, start + shape[0] * shape[1]), shape);
    return { codes: part, low: low[index], end: low[index] + 255 * step[index], step: step[index] };
  }

  // All colours of a scale in a row.
  function ramp(low, step) {
    return array(Float32Array.from({ length: 256 }, (_, i) => low + step * i), [1, 256]);
  }

  // Some three round numbers, not too near the ends to be written under a scale.
  function ticks(low, high) {
    const wanted = (high - low) / 3;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = power * [5, 2, 1].find((factor) => factor * power <= wanted);
    const out = [];
    for (let i = Math.ceil((low + (high - low) / 20) / step); i * step <= high - (high - low) / 20; i++) {
      out.push(i * step);
    }
    return out;
  }

  // Shows three bands of source.data.cube (bands, rows, columns) as red, green and blue, left of
  // a column if one is given: the rest stays transparent.
  function show(source, red, green, blue, columns = Infinity) {
    const cube = source.data.cube[0];
    const [, height, width] = cube.shape;
    const size = height * width;
    const out = new Uint32Array(size);
    for (let row = 0; row < height; row++) {
      for (let i = row * width; i < row * width + Math.min(width, columns); i++) {
        out[i] = 0xff000000
          | (cube[blue * size + i] << 16) | (cube[green * size + i] << 8) | cube[red * size + i];
      }
    }
    source.data = { ...source.data, image: [array(out, [height, width])] };
  }

  root.dcfnetViews = { mountAll, prepareLive, decode, show, pick, ramp, ticks, mounted };

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
