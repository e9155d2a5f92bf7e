// What pages do with a patch: measure what comes out, mark a region. Images are { data, shape }, as
// in engine.js; masks have an entry for each pixel. See apart.py.
"use strict";
((root) => {
  const { MOVES, element, buttons, capture, within } = root.dcfnetPages;

  // --- What is measured -----------------------------------------------------------------------

  // As dcfnet.measure.metrics.ergas.
  function ergas(gt, fused) {
    const [bands, rows, cols] = gt.shape;
    const size = rows * cols;
    let sum = 0;
    for (let c = 0; c < bands; c++) {
      let [square, mean] = [0, 0];
      for (let i = c * size; i < (c + 1) * size; i++) {
        square += (fused.data[i] - gt.data[i]) ** 2;
        mean += gt.data[i];
      }
      sum += (square / size) / (mean / size) ** 2;
    }
    return 25 * Math.sqrt(sum / bands);
  }

  // For each pixel the root mean square over bands.
  function errorOf(gt, fused) {
    const [bands, rows, cols] = gt.shape;
    const size = rows * cols;
    return Float32Array.from({ length: size }, (_, i) => {
      let sum = 0;
      for (let c = 0; c < bands; c++) sum += (fused.data[c * size + i] - gt.data[c * size + i]) ** 2;
      return Math.sqrt(sum / bands);
    });
  }

  // --- Regions --------------------------------------------------------------------------------

  const boxed = ([y0, y1, x0, x1]) => (y, x) => y >= y0 && y < y1 && x >= x0 && x < x1;

  // Whether a point lies in a polygon of [y, x], by crossings.
  const drawn = (points) => (y, x) => {
    let inside = false;
    points.forEach(([y0, x0], i) => {
      const [y1, x1] = points[(i + 1) % points.length];
      if (y0 > y + 0.5 !== y1 > y + 0.5
        && x + 0.5 < x0 + ((x1 - x0) * (y + 0.5 - y0)) / (y1 - y0)) inside = !inside;
    });
    return inside;
  };

  function maskOf(inside, [rows, cols]) {
    return Uint8Array.from({ length: rows * cols },
      (_, i) => (inside(Math.floor(i / cols), i % cols) ? 1 : 0));
  }

  // The border of a region as the path of an SVG.
  function outline(mask, [rows, cols]) {
    const at = (y, x) => (y >= 0 && y < rows && x >= 0 && x < cols ? mask[y * cols + x] : 0);
    let path = "";
    for (let y = 0; y <= rows; y++) for (let x = 0; x <= cols; x++) {
      if (at(y, x) !== at(y - 1, x)) path += `M${x} ${y}h1`;
      if (at(y, x) !== at(y, x - 1)) path += `M${x} ${y}v1`;
    }
    return path;
  }

  // Tools that mark a region of the patch, by pointer and by keys, on the first of some panels; its
  // border is drawn on all of them. `changed` is called when another region is marked.
  function regionTools(panels, size, changed) {
    const hint = element("p", { class: "dcf-words" });
    const [{ frame: area, canvas }] = panels;
    let [tool, corners, points] = ["whole", [24, 40, 24, 40], null];
    const marked = { mask: null, hint, set }; // no mask for the whole patch
    const chips = buttons("Region to average over", { whole: "whole patch", box: "box",
      hand: "freehand", pixel: "pixel" }, "whole", (next) => {
      take(next);
      if (tool === "whole") mark(null);
      else if (tool === "pixel") box([corners[0], corners[0] + 1, corners[2], corners[2] + 1]);
      else if (tool === "box") box(corners);
    });
    marked.group = chips.group;
    area.setAttribute("tabindex", "0");
    area.setAttribute("role", "group");
    area.setAttribute("aria-label", "Image, to draw a region on. Arrow keys move a box or a pixel, "
      + "plus and minus change the size of a box.");

    function take(next) {
      tool = next;
      area.classList.toggle("dcf-drawing", tool !== "whole");
    }
    // A box, [top, bottom, left, right], or null for the whole patch; nobody is told.
    function set(edges) {
      take(edges ? "box" : "whole");
      chips.press(tool);
      corners = edges ?? corners;
      marked.mask = edges ? maskOf(boxed(edges), size) : null;
      show();
    }
    function box([y0, y1, x0, x1]) {
      const [height, width] = [Math.max(1, y1 - y0), Math.max(1, x1 - x0)];
      const y = within(y0, size[0] - height), x = within(x0, size[1] - width);
      corners = [y, y + height, x, x + width];
      mark(maskOf(boxed(corners), size));
    }
    function mark(mask) {
      marked.mask = mask;
      show();
      changed();
    }
    const draw = (path, some) => some.forEach(({ border }) =>
      [...border.children].forEach((line) => line.setAttribute("d", path)));
    function show() {
      const { mask } = marked;
      draw(mask ? outline(mask, size) : "", panels);
      const count = mask?.reduce((a, b) => a + b, 0);
      hint.textContent = mask ? `Region: ${count} pixels, ${(100 * count / mask.length).toFixed(1)
      } % of the patch. Arrow keys move it.` : "Region: the whole patch. Choose a tool to draw one.";
    }

    function place({ clientX, clientY }) {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      return [(size[0] * (clientY - top)) / height, (size[1] * (clientX - left)) / width];
    }
    const dragged = () => {
      const ends = (values, end) => [values[0], values.at(-1)].sort((a, b) => a - b)
        .map((value, i) => within(Math.floor(value), end - 1) + i);
      return [...ends(points.map(([y]) => y), size[0]), ...ends(points.map(([, x]) => x), size[1])];
    };
    area.addEventListener("pointerdown", (event) => {
      if (tool === "whole") return;
      points = [place(event)];
      capture(area, event);
      event.preventDefault();
      area.focus();
    });
    area.addEventListener("pointermove", (event) => {
      if (!points) return;
      points.push(place(event));
      const inside = tool === "hand" ? drawn(points) : boxed(dragged());
      if (tool !== "pixel") draw(outline(maskOf(inside, size), size), panels.slice(0, 1));
    });
    area.addEventListener("pointerup", () => {
      if (!points) return;
      const [y, x] = points[0].map(Math.floor);
      const byHand = tool === "hand" && maskOf(drawn(points), size);
      if (byHand && byHand.some((inside) => inside)) mark(byHand);
      else box(tool === "box" ? dragged() : [y, y + 1, x, x + 1]);
      points = null;
    });
    area.addEventListener("pointercancel", () => { points = null; });
    area.addEventListener("keydown", (event) => {
      const grows = { "+": 1, "=": 1, "-": -1 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in MOVES && (tool === "box" || tool === "pixel")) {
        const [dy, dx] = MOVES[event.key];
        box([corners[0] + dy, corners[1] + dy, corners[2] + dx, corners[3] + dx]);
      } else if (grows && tool === "box") {
        box([corners[0], corners[1] + grows, corners[2], corners[3] + grows]);
      } else return;
      event.preventDefault();
    });
    show();
    return marked;
  }

  Object.assign(root.dcfnetPages, { ergas, errorOf, regionTools });
})(window);
