// Curves of training runs: which networks, against what, which measure, how smooth (curves.py).
((views) => {
  function showCurves({ x, y, scale, smooth, shown, tables, lines, marks, best, plots }) {
    const reach = (smooth.value - 1) / 2;
    tables.forEach(({ data }, i) => {
      const raw = Array.from(data[y.value]);
      const mean = raw.map((_, k) => {
        const near = raw.slice(Math.max(0, k - reach), k + reach + 1);
        return near.reduce((a, b) => a + b) / near.length;
      });
      const all = { x: data[x.value], y: mean, epoch: data.epoch };
      lines[i].data = all;
      marks[i].data = { x: [all.x[best[i]]], y: [mean[best[i]]], epoch: [all.epoch[best[i]]] };
    });
    const title = ({ options, value }) => options.find(([name]) => name === value)[1];
    plots.forEach((plot, i) => {
      plot.visible = scale.options[i] === scale.value;
      plot.below[0].axis_label = title(x);
      plot.left[0].axis_label = title(y);
      // A line and a dot for each run.
      plot.renderers.forEach((it, k) => { it.visible = shown.active.includes(Math.floor(k / 2)); });
    });
  }

  Object.assign(views, { showCurves });
})((window.dcfnetViews ??= {}));
