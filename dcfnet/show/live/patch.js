// What pages do with a patch: alter what enters, measure what comes out, mark a region. Images are
// { data, shape }, as in engine.js; masks have an entry for each pixel. See apart.py.
"use strict";
((root) => {
  const SHIFT = [-1 / 16, 9 / 16, 9 / 16, -1 / 16]; // a cubic, half-way between two pixels
  const SIGMA = 2, REACH = 6; // of the blur, in pixels

  // --- What is altered and measured -----------------------------------------------------------

  const within = (value, end) => Math.min(Math.max(value, 0), end - 1);

  // Along rows (step 1) or columns of an image, borders continued; taps from `first` on.
  function filtered({ data, shape: [rows, cols] }, taps, first, down = false) {
    const out = new Float32Array(data.length);
    for (let y = 0; y < rows; y++) for (let x = 0; x < cols; x++) {
      let sum = 0;
      taps.forEach((tap, i) => {
        sum += tap * (down ? data[within(y + first + i, rows) * cols + x]
          : data[y * cols + within(x + first + i, cols)]);
      });
      out[y * cols + x] = sum;
    }
    return { data: out, shape: [rows, cols] };
  }

  function alteredPan(pan, how) {
    if (how === "shifted") return filtered(pan, SHIFT, -2);
    if (how !== "blurred") return pan;
    const taps = Array.from({ length: 2 * REACH + 1 }, (_, i) => Math.exp(-((i - REACH) ** 2)
      / (2 * SIGMA ** 2)));
    const sum = taps.reduce((a, b) => a + b, 0);
    const even = taps.map((tap) => tap / sum);
    return filtered(filtered(pan, even, -REACH), even, -REACH, true);
  }

  function alteredMs(ms, how) {
    if (how !== "mean") return ms;
    const [bands, rows, cols] = ms.shape;
    const data = new Float32Array(ms.data.length);
    for (let c = 0; c < bands; c++) {
      const band = ms.data.subarray(c * rows * cols, (c + 1) * rows * cols);
      data.fill(band.reduce((a, b) => a + b, 0) / band.length, c * rows * cols,
        (c + 1) * rows * cols);
    }
    return { data, shape: ms.shape };
  }

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

  Object.assign(root.dcfnetPages, { within, alteredPan, alteredMs, ergas, errorOf, boxed, drawn,
    maskOf, outline });
})(window);
