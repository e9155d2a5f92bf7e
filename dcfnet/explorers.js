// Mounts the views that dcfnet/explorers.py writes, in a notebook and in the rendered book alike.
// A view is <div class="dcf-view"> with its Bokeh document as JSON inside; see View.html().
(function (root) {
  if (root.dcfnetViews) {
    root.dcfnetViews.mountAll();
    return;
  }

  const mounted = [];

  // Bokeh draws names of sliders and groups beside them, but does not tell a screen reader.
  function nameControls(view) {
    const el = view.shadow_el ?? view.el;
    const title = view.model.title || view.model.name;
    if (title) {
      for (const handle of el.querySelectorAll(".noUi-handle")) {
        handle.setAttribute("aria-label", title);
      }
      for (const group of el.querySelectorAll(".bk-btn-group")) {
        group.setAttribute("role", "group");
        group.setAttribute("aria-label", title);
      }
    }
    for (const child of view.children()) nameControls(child);
  }

  function figures(view, found = []) {
    if (view.model.type === "Figure") found.push(view);
    for (const child of view.children()) figures(child, found);
    return found;
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
      nameControls(view);
      mounted.push({ node, view });
      node.dataset.state = "ready";
    } catch (error) {
      node.dataset.state = "failed";
      throw error;
    }
  }

  function mountAll() {
    for (const node of document.querySelectorAll(".dcf-view:not([data-state])")) mount(node);
  }

  // Canvases read their colours from CSS when they paint, so a change of theme asks for a paint.
  function repaint() {
    for (const { node, view } of mounted) {
      if (node.isConnected) figures(view).forEach((figure) => figure.request_repaint());
    }
  }

  function array(values, shape) {
    return root.Bokeh.require("core/util/ndarray").ndarray(values, { shape });
  }

  // Eight-bit codes as the numbers that they stand for.
  function decode(codes, low, step) {
    return array(Float32Array.from(codes, (code) => low + step * code), codes.shape);
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

  root.dcfnetViews = { mountAll, decode, show, mounted };

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
