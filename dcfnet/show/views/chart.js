// Lines over two axes, linear or logarithmic, as large as the page allows; the pointer reads them.
"use strict";
((root) => {
  const { element, ends } = root.dcfnetPages;
  const LEFT = 72; // pixels, for what stands left of the axes
  const NEAR = 24; // pixels from a point at which the pointer reads it

  // Some six round numbers; of a logarithmic axis powers of ten, where those are enough.
  function ticks(low, high, log) {
    const inside = (value) => value >= low && value <= high;
    if (log) {
      const powers = [];
      for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high); k++) powers.push(Number(`1e${k}`));
      const few = powers.filter(inside);
      return few.length > 2 ? few : powers.flatMap((it) => [it, 2 * it, 5 * it]).filter(inside);
    }
    const wanted = (high - low) / 8;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= wanted);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
  }

  const written = (value) => String(Number(value.toPrecision(4)));

  // Where an axis puts a number, and its ticks. `pixels` are those of the axis' ends.
  function axis({ label, log, values, from }, pixels) {
    const along = log ? Math.log10 : Number;
    const [low, high] = ends(values.map(along));
    const margin = 0.04 * (high - low || 1);
    const [start, end] = [from ?? low - margin, high + margin];
    const place = (value) =>
      pixels[0] + ((along(value) - start) / (end - start)) * (pixels[1] - pixels[0]);
    const back = log ? (it) => 10 ** it : Number;
    return { label, place, ticks: ticks(back(start), back(end), log) };
  }

  // `draw({ x, y, lines })` draws lines, each { x, y, colour, dashes, dots, name }; `dots` are the
  // indices of its points that are marked. Axes are { label, log, from }; `said(line, i)` is what
  // the pointer reads.
  function chart(title, said, say) {
    const svg = element("svg", { role: "img", "aria-label": title, class: "dcf-chart" });
    let shown = null;
    let points = [];

    function draw(now = shown) {
      shown = now;
      const { width, height } = svg.getBoundingClientRect();
      if (!width) return;
      const { lines } = shown;
      svg.replaceChildren();
      points = [];
      if (!lines.length) return;
      const of = (name) => ({ ...shown[name], values: lines.flatMap((line) => [...line[name]]) });
      const [x, y] = [axis(of("x"), [LEFT, width - 16]), axis(of("y"), [height - 44, 8])];
      const grid = (number, line, at) =>
        `<path class="dcf-grid" d="${line}"/><text ${at}>${written(number)}</text>`;
      points = lines.flatMap((line) => [...line.x].map((value, i) =>
        ({ line, i, x: x.place(value), y: y.place(line.y[i]) })));
      const drawn = lines.map((line) => {
        const own = points.filter((point) => point.line === line);
        const dots = line.dots.map((i) =>
          `<circle cx="${own[i].x}" cy="${own[i].y}" r="4.5" fill="${line.colour}"/>`);
        return `<path d="M${own.map((it) => `${it.x} ${it.y}`).join("L")}" stroke="${line.colour}"`
          + ` stroke-dasharray="${line.dashes}"/>${dots.join("")}`;
      });
      svg.innerHTML = [
        ...x.ticks.map((it) => grid(it, `M${x.place(it)} 8V${height - 44}`,
          `x="${x.place(it)}" y="${height - 28}" text-anchor="middle"`)),
        ...y.ticks.map((it) => grid(it, `M${LEFT} ${y.place(it)}H${width - 16}`,
          `x="${LEFT - 6}" y="${y.place(it) + 4}" text-anchor="end"`)),
        `<text x="${width / 2}" y="${height - 8}" text-anchor="middle">${x.label}</text>`,
        `<text transform="translate(10 ${height / 2 - 18}) rotate(-90)" text-anchor="middle">${
          y.label}</text>`,
        ...drawn,
      ].join("");
    }

    svg.addEventListener("pointermove", ({ clientX, clientY }) => {
      const { left, top } = svg.getBoundingClientRect();
      const far = points.map((it) => Math.hypot(it.x - clientX + left, it.y - clientY + top));
      const nearest = far.indexOf(Math.min(...far));
      say(far[nearest] < NEAR ? said(points[nearest].line, points[nearest].i) : "");
    });
    new ResizeObserver(() => draw()).observe(svg);
    return { svg, draw };
  }

  Object.assign(root.dcfnetPages, { chart });
})(window);
