// Images and maps in panels (panels.py): what is drawn, in which colours, over which scale.
((views) => {
  const array = (values, shape) =>
    Bokeh.require("core/util/ndarray").ndarray(values, { shape });

  // One of the maps of a store, by its name; nothing if the store lacks it.
  function pick(store, key) {
    const [keys, codes, shapes, low, high] =
      ["keys", "codes", "shapes", "low", "high"].map((name) => store.data[name][0]);
    const index = keys.indexOf(key);
    if (index < 0) return undefined;
    let start = 0;
    for (let i = 0; i < index; i++) start += shapes[2 * i] * shapes[2 * i + 1];
    const shape = [shapes[2 * index], shapes[2 * index + 1]];
    const range = { low: low[index], high: high[index] };
    const values = Float32Array.from(codes.slice(start, start + shape[0] * shape[1]), (code) =>
      range.low + ((range.high - range.low) * code) / 255);
    return { values, shape, ...range };
  }

  // Some three round numbers, not too near the ends to be written under a scale.
  function ticks(low, high) {
    const wanted = (high - low) / 3;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = power * [5, 2, 1].find((factor) => factor * power <= wanted);
    const margin = (high - low) / 20;
    const first = Math.ceil((low + margin) / step), last = Math.floor((high - margin) / step);
    return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  }

  // The colours of a mapper over their numbers.
  function drawScale({ scale, mapper: { low, high } }) {
    const [{ data_source: colours, glyph }] = scale.renderers;
    const ramp = Float32Array.from({ length: 256 }, (_, i) => low + ((high - low) * i) / 255);
    colours.data = { image: [array(ramp, [1, 256])] };
    glyph.setv({ x: { value: low }, dw: { value: high - low } });
    scale.x_range.setv({ start: low, end: high });
    const [from, to] = [low, high].map((number) => number.toPrecision(3));
    scale.html_attributes = { role: "img", "aria-label": `Colour scale from ${from} to ${to}` };
    scale.below[0].ticker.ticks = ticks(low, high);
  }

  function drawMap({ source, mapper, scale }, { values, shape, low, high }) {
    mapper.setv({ low, high });
    source.data = { image: [array(values, shape)] };
    drawScale({ scale, mapper });
  }

  function showMap({ key, ...panel }) {
    drawMap(panel, pick(panel.store, key));
  }

  // Three bands of store.data.cube (bands, rows, columns) as red, green and blue, left of a column
  // if one is given: the rest stays transparent.
  function showColours({ store, source, bands: [red, green, blue], columns = Infinity }) {
    const cube = store.data.cube[0];
    const [, height, width] = cube.shape;
    const size = height * width;
    const out = new Uint32Array(size);
    for (let row = 0; row < height; row++) {
      for (let i = row * width; i < row * width + Math.min(width, columns); i++) {
        out[i] = 0xff000000
          | (cube[blue * size + i] << 16) | (cube[green * size + i] << 8) | cube[red * size + i];
      }
    }
    source.data = { image: [array(out, [height, width])] };
  }

  function choosePalette({ mappers, palettes }, control) {
    const palette = palettes[control.options.indexOf(control.value)];
    for (const mapper of mappers) mapper.palette = palette;
  }

  Object.assign(views, { pick, drawScale, drawMap, showMap, showColours, choosePalette });
})((window.dcfnetViews ??= {}));
