// Two GeoTIFFs as the command `dcfnet fuse` takes them: read, checked with its sentences, and what
// is fused written as a third. See dcfnet/imagery/geotiff.py and ground.py.
"use strict";
((root) => {
  const RATIO = 4, WHOLE = 1e-3, TOLERANCE = 0.1; // as there
  const GEO = ["GeoKeyDirectory", "GeoDoubleParams", "GeoAsciiParams"];

  function refuse(sentence) { throw new Error(sentence); }

  // As Python writes numbers in :.7g and the like.
  function general(value, digits) {
    const [, exponent] = value.toExponential(digits - 1).split("e").map(Number);
    if (exponent >= -4 && exponent < digits) return String(Number(value.toPrecision(digits)));
    const [mantissa] = value.toExponential(digits - 1).split("e");
    const sign = exponent < 0 ? "-" : "+";
    return `${Number(mantissa)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }

  // --- A file ---------------------------------------------------------------------------------

  async function open(file) {
    try {
      const tiff = await root.GeoTIFF.fromBlob(file);
      const image = await tiff.getImage();
      const directory = image.fileDirectory;
      const tags = {};
      for (const name of [...GEO, "ModelPixelScale", "ModelTiepoint", "ModelTransformation",
        "ExtraSamples", "SampleFormat", "BitsPerSample"])
        tags[name] = directory.hasTag(name) ? await directory.loadValue(name) : undefined;
      const keys = image.getGeoKeys() ?? {};
      const code = keys.ProjectedCSTypeGeoKey ?? keys.GeographicTypeGeoKey;
      return { name: file.name, image, tags, shape: [image.getHeight(), image.getWidth()],
        count: image.getSamplesPerPixel(), nodata: image.getGDALNoData(), crs: code ? (code === 32767
          ? "a system of its own" : `EPSG:${code}`) : null, affine: affineOf(tags, keys) };
    } catch (error) {
      return refuse(`cannot read ${file.name} (${error.message}): expected a GeoTIFF`);
    }
  }

  // [a, b, c, d, e, f]: x = a col + b row + c, y = d col + e row + f. Null: not georeferenced.
  function affineOf({ ModelPixelScale: size, ModelTiepoint: tie, ModelTransformation: m }, keys) {
    let found = null;
    if (m) found = [m[0], m[1], m[3], m[4], m[5], m[7]];
    else if (size && tie?.length === 6) found = [size[0], 0, tie[3] - tie[0] * size[0], 0, -size[1],
      tie[4] + tie[1] * size[1]];
    if (found && keys.GTRasterTypeGeoKey === 2) { // tied to the middle of a pixel
      const [a, b, c, d, e, f] = found;
      return [a, b, c - (a + b) / 2, d, e, f - (d + e) / 2];
    }
    return found;
  }

  function checkBands(raster, expected, sensor) {
    const kind = expected === 1 ? "a PAN image" : `an MS image of ${sensor.title}`;
    const { name, count } = raster;
    const extra = [...(raster.tags.ExtraSamples ?? [])];
    raster.bands = expected;
    if (count === expected) return;
    if (count !== expected + 1) refuse(`${name} has ${count} bands, expected ${expected} for ${
      kind}; check the order of the two files and the sensor`);
    const alpha = extra.findIndex((value) => value === 1 || value === 2);
    const band = alpha < 0 ? 0 : count - extra.length + alpha + 1;
    if (band === count) return;
    const found = band ? `band ${band} is marked as alpha` : "none is marked as alpha";
    const undo = band ? ` -colorinterp_${band} undefined` : "";
    refuse(`${name} has ${count} bands, expected ${expected} for ${kind}, or one more that is alpha,`
      + ` the last; here ${found}. If the last one is, say so with \`gdal_translate${undo
      } -colorinterp_${count} alpha\`, else check the order of the two files and the sensor`);
  }

  // --- Common ground --------------------------------------------------------------------------

  const times = ([a, b, c, d, e, f], [x, y]) => [a * x + b * y + c, d * x + e * y + f];

  // The second after the inverse of the first.
  function between([a, b, c, d, e, f], [a2, b2, c2, d2, e2, f2]) {
    const det = a * e - b * d;
    const [ia, ib, id, ie] = [e / det, -b / det, -d / det, a / det];
    return [ia * a2 + ib * d2, ia * b2 + ib * e2, ia * (c2 - c) + ib * (f2 - f),
      id * a2 + ie * d2, id * b2 + ie * e2, id * (c2 - c) + ie * (f2 - f)];
  }

  function cure(ms, pan) {
    const [a, b, c, d, e, f] = ms.affine;
    if (b || d || a < 0 || e > 0) return "bring both onto grids with north up with `gdalwarp -tr`, "
      + `PAN's pixels ${RATIO} times smaller`;
    const [right, bottom] = times(ms.affine, [ms.shape[1], ms.shape[0]]);
    const words = [a / RATIO, -e / RATIO, c, bottom, right, f].map((value) => general(value, 15));
    return `resample PAN with \`gdalwarp -r cubic -tr ${words[0]} ${words[1]} -te ${
      words.slice(2).join(" ")} ${pan.name} NEW.tif\``;
  }

  function refuseShapes(ms, pan) {
    const [h, w] = ms.shape.map((size, i) => Math.min(size, Math.floor(pan.shape[i] / RATIO)));
    const crops = [[ms, h, w], [pan, RATIO * h, RATIO * w]]
      .filter(([{ shape }, rows, cols]) => shape[0] !== rows || shape[1] !== cols)
      .map(([{ name }, rows, cols]) => `\`gdal_translate -srcwin 0 0 ${cols} ${rows} ${name
      } NEW.tif\``);
    refuse(`neither ${ms.name} nor ${pan.name} is georeferenced, so both must show the same ground: `
      + `expected PAN of ${RATIO * ms.shape[0]} x ${RATIO * ms.shape[1]} pixels, ${RATIO} times MS, `
      + `found ${pan.shape[0]} x ${pan.shape[1]}; ` + (h && w
        ? `if they share their first pixel, crop with ${crops.join(" and ")}`
        : "check that they belong together"));
  }

  function toPan(ms, pan) {
    if (!ms.affine !== !pan.affine) {
      const [bare, other] = ms.affine ? [pan, ms] : [ms, pan];
      const corners = [...times(other.affine, [0, 0]),
        ...times(other.affine, [other.shape[1], other.shape[0]])].map((it) => general(it, 15));
      refuse(`${bare.name} is not georeferenced, ${other.name} is: expected both, or neither; if `
        + `both show the same ground, say so with \`gdal_translate -a_ullr ${corners.join(" ")} ${
          bare.name} NEW.tif\``);
    }
    if (ms.crs !== pan.crs) refuse(`${ms.name} has the coordinate system ${ms.crs ?? "none"}, ${
      pan.name} has ${pan.crs ?? "none"}: expected the same; reproject one with \`gdalwarp -t_srs\`, `
      + "or set one that is missing with `gdal_translate -a_srs`");
    if (ms.affine) return between(pan.affine, ms.affine);
    if (pan.shape.some((size, i) => size !== RATIO * ms.shape[i])) refuseShapes(ms, pan);
    return [RATIO, 0, 0, 0, RATIO, 0];
  }

  // Whole MS pixels that PAN covers, and PAN's pixel where they begin.
  function commonGround(ms, pan) {
    const [a, b, c, d, e, f] = toPan(ms, pan);
    const drift = Math.max(...ms.shape) * Math.max(...[a - RATIO, e - RATIO, b, d].map(Math.abs));
    if (drift > TOLERANCE) refuse(`a pixel of ${ms.name} is ${general(a, 7)} x ${general(e, 7)
    } pixels of ${pan.name}, expected ${RATIO} x ${RATIO} on parallel grids: over the image they `
      + `drift apart by ${general(drift, 3)} PAN pixels, at most ${TOLERANCE} is allowed; ${
        cure(ms, pan)}`);
    const [rows, cols] = [f, c].map((shift, i) => {
      const start = Math.max(0, Math.ceil(-Math.round(shift) / RATIO));
      const stop = Math.min(ms.shape[i], Math.floor((pan.shape[i] - Math.round(shift)) / RATIO));
      return { start, stop, pan: Math.round(shift) + RATIO * start };
    });
    if (rows.stop <= rows.start || cols.stop <= cols.start) refuse(`${ms.name} and ${pan.name} do `
      + "not overlap by a single MS pixel: expected two images of the same ground; check that they "
      + "belong to one acquisition");
    if ([f, c].some((shift) => Math.abs(shift - Math.round(shift)) > TOLERANCE))
      refuse(`${ms.name} begins ${c.toFixed(2)} columns and ${f.toFixed(2)} rows from the corner of `
        + `${pan.name}, expected whole PAN pixels; ask to resample MS (--resample), or ${
          cure(ms, pan)}`);
    return [rows, cols];
  }

  // --- Values ---------------------------------------------------------------------------------

  // A window as { data, shape, mask }: whole digital numbers, 0 where there is no data.
  async function read(raster, rows, cols, sensor) {
    const { name, image, bands, count, nodata } = raster;
    let layers;
    try {
      layers = await image.readRasters({ window: [cols.start, rows.start, cols.stop, rows.stop] });
    } catch (error) {
      refuse(`cannot read ${name}, rows ${rows.start} to ${rows.stop} (${error.message}): expected a `
        + "complete GeoTIFF that fits into memory; copy it again");
    }
    const shape = [rows.stop - rows.start, cols.stop - cols.start];
    const size = shape[0] * shape[1];
    const floats = /^Float/.test(layers[0].constructor.name);
    const mask = new Uint8Array(size).fill(1);
    for (let c = 0; c < count; c++) for (let i = 0; i < size; i++) {
      const value = layers[c][i];
      if (c === bands ? value === 0 : value === nodata || Number.isNaN(value)) mask[i] = 0;
    }
    const at = (i, band) => `in band ${band + 1}, row ${rows.start + Math.floor(i / shape[1])
    }, column ${cols.start + (i % shape[1])}`;
    const wanted = `0 to ${sensor.maximum} (${sensor.bits} bits)`;
    const type = layers[0].constructor.name.replace("Array", "").toLowerCase();
    const data = new Uint16Array(bands * size);
    let [low, high] = [[0, 0, 0], [0, 0, 0]]; // value, pixel, band
    for (let c = 0; c < bands; c++) for (let i = 0; i < size; i++) {
      let value = mask[i] ? layers[c][i] : 0;
      if (floats) {
        if (!(Math.abs(value - Math.round(value)) <= WHOLE)) refuse(`${name} holds ${type} values, `
          + `expected whole digital numbers, ${wanted}, found ${general(value, 6)} ${at(i, c)
          }; reflectances must be scaled back first`);
        value = Math.round(value);
      }
      if (value < low[0]) low = [value, i, c];
      if (value > high[0]) high = [value, i, c];
      data[c * size + i] = value;
    }
    if (low[0] < 0 || high[0] > sensor.maximum) {
      const [value, i, band] = low[0] < 0 ? low : high;
      refuse(`${name} holds ${general(value, 6)} ${at(i, band)}, expected ${wanted}: check the `
        + "sensor; for another bit depth use dataclasses.replace(sensor, bits=...); products scaled "
        + "to 16 bits or to reflectance must be scaled back first");
    }
    for (let i = 0; i < size; i++) {
      let any = false;
      for (let c = 0; c < bands; c++) any ||= data[c * size + i] !== 0;
      mask[i] = any ? 1 : 0;
    }
    if (!mask.some((valid) => valid)) refuse(`${name} holds no data where both images lie: expected `
      + "digital numbers there, found 0, the no-data value, or what a mask leaves out");
    return { data, mask, shape: bands === 1 ? shape : [bands, ...shape] };
  }

  // Both files as a pair on common ground, or an error with the command's sentence.
  async function openPair(msFile, panFile, sensor) {
    const [ms, pan] = [await open(msFile), await open(panFile)];
    checkBands(ms, sensor.bands.length, sensor);
    checkBands(pan, 1, sensor);
    const [rows, cols] = commonGround(ms, pan);
    const fine = [rows, cols].map(({ start, stop, pan: first }) =>
      ({ start: first, stop: first + RATIO * (stop - start) }));
    const [coarse, sharp] = [await read(ms, rows, cols, sensor), await read(pan, ...fine, sensor)];
    const nodata = Number.isInteger(ms.nodata) && ms.nodata >= 0 && ms.nodata <= 65535
      ? ms.nodata : 0;
    return { ms: coarse, pan: sharp, nodata, tags: pan.tags,
      affine: pan.affine && [...pan.affine.slice(0, 2), times(pan.affine, [cols.pan, rows.pan])[0],
        ...pan.affine.slice(3, 5), times(pan.affine, [cols.pan, rows.pan])[1]] };
  }

  // --- Writing --------------------------------------------------------------------------------

  // What is fused as whole numbers, 1 to the sensor's largest, and the no-data value where there is
  // none; as dcfnet.fusion.work does.
  function whole(fused, { ms, pan, nodata }, sensor) {
    const [bands, rows, cols] = fused.shape;
    const size = rows * cols;
    const valid = (i) => pan.mask[i] && ms.mask[Math.floor(Math.floor(i / cols) / RATIO)
      * (cols / RATIO) + Math.floor((i % cols) / RATIO)];
    const out = new Uint16Array(bands * size);
    const beside = nodata > 1 ? nodata - 1 : 2; // no pixel with data may read as no data
    for (let i = 0; i < size; i++) for (let c = 0; c < bands; c++) {
      const value = Math.min(Math.max(Math.round(fused.data[c * size + i]), 1), sensor.maximum);
      out[c * size + i] = valid(i) ? (value === nodata ? beside : value) : nodata;
    }
    return { data: out, shape: fused.shape };
  }

  // A GeoTIFF of 16 bits, band after band, not compressed. Little-endian, as all of today's machines.
  function write({ data, shape: [bands, rows, cols] }, { affine, tags, nodata }) {
    const each = (value) => Array(bands).fill(value);
    const bytes = 2 * rows * cols;
    const entries = [[256, "L", [cols]], [257, "L", [rows]], [258, "S", each(16)], [259, "S", [1]],
      [262, "S", [1]], [273, "L", each(0)], [277, "S", [bands]], [278, "L", [rows]],
      [279, "L", each(bytes)], [284, "S", [2]], [338, "S", each(0).slice(1)], [339, "S", each(1)]];
    if (affine) {
      const [a, b, c, d, e, f] = affine;
      if (b || d) entries.push([34264, "D", [a, b, 0, c, d, e, 0, f, 0, 0, 0, 0, 0, 0, 0, 1]]);
      else entries.push([33550, "D", [a, -e, 0]], [33922, "D", [0, 0, 0, c, f, 0]]);
      const keys = tags.GeoKeyDirectory && [...tags.GeoKeyDirectory];
      for (let i = 4; keys && i < keys.length; i += 4) // the place is that of a pixel's corner
        if (keys[i] === 1025) keys[i + 3] = 1;
      if (keys) entries.push([34735, "S", keys]);
      if (tags.GeoDoubleParams) entries.push([34736, "D", [...tags.GeoDoubleParams]]);
      if (tags.GeoAsciiParams) entries.push([34737, "A", ascii(tags.GeoAsciiParams)]);
    }
    entries.push([42113, "A", ascii(String(nodata))]);
    const kinds = { S: [3, 2, "setUint16"], L: [4, 4, "setUint32"], D: [12, 8, "setFloat64"],
      A: [2, 1, "setUint8"] };
    const head = 8 + 2 + 12 * entries.length + 4;
    const room = entries.reduce((sum, [, kind, values]) => {
      const length = kinds[kind][1] * values.length;
      return sum + (length > 4 ? length + (length % 2) : 0);
    }, 0);
    const start = head + room + ((head + room) % 2);
    const view = new DataView(new ArrayBuffer(start));
    view.setUint32(0, 0x002a4949, true); // "II", 42
    view.setUint32(4, 8, true);
    view.setUint16(8, entries.length, true);
    let free = head;
    entries.forEach(([tag, kind, values], i) => {
      const [type, length, set] = kinds[kind];
      const numbers = tag === 273 ? values.map((_, band) => start + band * bytes) : values;
      let at = 10 + 12 * i;
      view.setUint16(at, tag, true);
      view.setUint16(at + 2, type, true);
      view.setUint32(at + 4, numbers.length, true);
      at += 8;
      if (length * numbers.length > 4) {
        view.setUint32(at, free, true);
        at = free;
        free += length * numbers.length + ((length * numbers.length) % 2);
      }
      numbers.forEach((value, j) => view[set](at + j * length, value, true));
    });
    return new Blob([view, data], { type: "image/tiff" });
  }

  const ascii = (text) => [...`${text.replace(/\0+$/, "")}\0`].map((letter) => letter.charCodeAt(0));

  Object.assign(root.dcfnetPages, { openPair, whole, writeGeotiff: write });
})(window);
