// Curves of training runs: which networks, against what, which measure, how smooth. See curves.py.
"use strict";
((root) => {
  const { element, chooser, slider, chart } = root.dcfnetPages;

  function mount(body, { runs, axes }) {
    const readout = element("p", { class: "dcf-words dcf-readout" },
      "Rest the pointer on a curve to read it.");
    const { svg, draw } = chart("Training curves", ({ name, y, epochs }, i) =>
      `${name}, epoch ${epochs[i]}: ${y[i].toPrecision(5)}`, (words) => { readout.textContent = words; });
    const x = chooser("Against", axes.x, "epoch", show);
    const y = chooser("Measure", axes.y, "valid_loss", show);
    const scale = chooser("Scale", ["log", "linear"], "log", show);
    const smooth = slider("Mean over epochs", { min: 1, max: 21, step: 2, value: 1 }, show);
    const boxes = runs.map(() => element("input", { type: "checkbox", checked: true, onchange: show }));
    const names = runs.map(({ name, colour, dashes }, i) => {
      const line = element("svg", { viewBox: "0 0 30 8", "aria-hidden": "true" });
      line.innerHTML = `<path d="M0 4H30" stroke="${colour}" stroke-dasharray="${dashes}"/>`;
      return element("label", {}, boxes[i], line, name);
    });

    function show() {
      const reach = (Number(smooth.input.value) - 1) / 2;
      const lines = runs.map(({ name, colour, dashes, best, table }) => {
        const raw = table[y.select.value];
        const mean = raw.map((_, k) => {
          const near = raw.slice(Math.max(0, k - reach), k + reach + 1);
          return near.reduce((a, b) => a + b) / near.length;
        });
        return { name, colour, dashes, dots: [best], epochs: table.epoch, y: mean,
          x: table[x.select.value] };
      });
      draw({ x: { label: axes.x[x.select.value] }, lines: lines.filter((_, i) => boxes[i].checked),
        y: { label: axes.y[y.select.value], log: scale.select.value === "log" } });
      Object.assign(body, { lines }); // for tests
    }

    body.append(element("div", { class: "dcf-controls" },
      ...[x, y, scale, smooth].map(({ label }) => label)),
    element("div", { class: "dcf-names", role: "group", "aria-label": "Networks" }, ...names),
    svg, readout);
    show();
  }

  root.dcfnetPages.kinds.curves = mount;
})(window);
