// The spectrum of the pixel that the reader points at or steps to (spectrum.py).
((views) => {
  function showSpectrum({ store, line, mark, axis, usual, rows, columns, order }) {
    const { codes: [codes], low: [low], high: [high] } = store.data;
    const [, height, width] = codes.shape;
    const at = rows.value * width + columns.value;
    const value = order.map((band) => low + ((high - low) * codes[band * height * width + at]) / 255);
    line.data = { ...line.data, value };
    axis.end = 1.05 * Math.max(usual, ...value);
    mark.data = { x: [columns.value + 0.5], y: [rows.value + 0.5] };
  }

  function pointAt({ rows, columns }, { x, y }) {
    const clip = (value, slider) => Math.max(0, Math.min(slider.end, Math.floor(value)));
    rows.value = clip(y, rows);
    columns.value = clip(x, columns);
  }

  Object.assign(views, { showSpectrum, pointAt });
})((window.dcfnetViews ??= {}));
