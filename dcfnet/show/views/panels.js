// Images and maps in panels (panels.py): what is drawn, in which colours, over which scale.
((views) => {
  const array = (values, shape) =>
    Bokeh.require("core/util/ndarray").ndarray(values, { shape });

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

  // One of the maps of a store, by its name.
  function showMap({ key, store, source, mapper, scale }) {
    const at = store.data.keys.indexOf(key);
    const [codes, low, high] = ["codes", "low", "high"].map((name) => store.data[name][at]);
    const values = Float32Array.from(codes, (code) => low + ((high - low) * code) / 255);
    mapper.setv({ low, high });
    source.data = { image: [array(values, codes.shape)] };
    drawScale({ scale, mapper });
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

  Object.assign(views, { drawScale, showMap, showColours, choosePalette });
})((window.dcfnetViews ??= {}));
