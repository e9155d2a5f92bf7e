// A network in the page: what a page calls. Nothing is asked for before load().
//
//   dcfnetLive.megabytes("narrow")      what load() would ask for now, for a button to say
//   dcfnetLive.unsupported()            "" or a sentence: why this browser cannot
//   const net = await dcfnetLive.load("narrow", { onProgress })
//   const fused = await net.fuse(pan, ms, lms, { gates })
//   const maps = await net.maps([4, 2], mask, layers)        of the image that fuse() made last
//   const scene = await net.fuseWhole(pan, ms, { masks, onProgress, signal })
//
// Images are { data, shape }: a typed array of digital numbers and [rows, columns] or, channel
// first, [bands, rows, columns]. fuseWhole() interpolates `ms` itself. Times in seconds come with the
// results. All work is done in a worker.
"use strict";
(function (root) {
  if (root.dcfnetLive) return;

  const here = root.document.currentScript?.src || root.location.href;
  const RATIO = 4;
  const pieces = {}; // of what has come by script, by name and number
  const networks = {}; // by name, as promises
  const opened = new Set(); // what the worker has: the runtime and networks
  const waiting = new Map(); // questions to the worker that it has not answered
  let worker = null;
  let asked = 0;

  // A function of three instructions that handles sixteen bytes at once.
  const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0,
    65, 0, 253, 15, 253, 98, 11];

  function unsupported() {
    const lacks = [];
    if (typeof root.WebAssembly !== "object") lacks.push("WebAssembly");
    else if (!root.WebAssembly.validate(new Uint8Array(SIMD))) lacks.push("WebAssembly SIMD");
    if (typeof root.Worker !== "function") lacks.push("workers");
    if (typeof root.DecompressionStream !== "function") lacks.push("DecompressionStream");
    return lacks.length === 0 ? "" : `This browser lacks ${lacks.join(" and ")}, so it cannot run `
      + "the network: Chrome, Edge or Firefox of 2023 or later can, and Safari from 16.4 on.";
  }

  // --- Loading ----------------------------------------------------------------------------------

  const missing = (name) => ["runtime", name].filter((part) => !opened.has(part));
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  const size = (name) => sum(Object.values(live.offers[name]));

  function script(file) {
    return new Promise((loaded, failed) => {
      const element = root.document.createElement("script");
      element.src = new URL(file, here).href;
      element.onload = () => { element.remove(); loaded(); };
      element.onerror = () => { element.remove(); failed(new Error(
        `${file} could not be loaded: it belongs beside ${here}; build the book again.`)); };
      root.document.head.append(element);
    });
  }

  // What scripts have brought, which is then forgotten here.
  function taken(name) {
    const all = pieces[name];
    delete pieces[name];
    return all;
  }

  function ask(command, question) {
    return new Promise((answered, failed) => {
      if (worker === null) throw new Error("The network has stopped: load it again.");
      waiting.set(++asked, { answered, failed });
      worker.postMessage({ id: asked, command, ...question });
    });
  }

  function start(code) {
    const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    worker = new Worker(address);
    worker.onmessage = ({ data }) => {
      const { answered, failed } = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error === undefined) answered(data.answer);
      else failed(new Error(data.error));
    };
    worker.onerror = (event) => {
      worker.terminate();
      worker = null;
      const error = new Error(`The network stopped: ${event.message || "out of memory?"}`);
      for (const { failed } of waiting.values()) failed(error);
      waiting.clear();
      for (const name of Object.keys(networks)) delete networks[name];
      opened.clear();
    };
  }

  async function bring(name, onProgress) {
    const parts = missing(name);
    const total = sum(parts.map(size));
    let bytes = 0;
    const report = (step) => onProgress({ step, bytes, total });
    report("loading");
    for (const part of parts) for (const [file, more] of Object.entries(live.offers[part])) {
      await script(file);
      bytes += more;
      report("loading");
    }
    report("starting");
    if (parts.includes("runtime")) {
      start(taken("code")[0]);
      await ask("start", { pieces: taken("runtime") });
      opened.add("runtime");
    }
    const description = await ask("open", { network: name, pieces: taken(name) });
    opened.add(name);
    report("ready");
    return network(name, description);
  }

  let last = Promise.resolve(); // networks are brought one after the other: they share a runtime

  async function load(name, { onProgress = () => {} } = {}) {
    if (!(name in networks)) {
      const brought = last.then(() => bring(name, onProgress));
      networks[name] = brought;
      last = brought.catch(() => { if (networks[name] === brought) delete networks[name]; });
    }
    return networks[name];
  }

  // --- A network --------------------------------------------------------------------------------

  function network(name, { bands, gates, margin, layers: parts }) {
    const gateValues = (given = {}) => Float32Array.from(gates, (gate) => given[gate] ?? 1);

    // One patch, kept for maps(). Returns { data, shape, seconds }, neither rounded nor clipped.
    async function fuse(pan, ms, lms, { gates: given, maximum = 2047 } = {}) {
      const [rows, cols] = pan.shape;
      const answer = await ask("fuse", { network: name, rows, cols, pan: pan.data, ms: ms.data,
        lms: lms.data, gates: gateValues(given), maximum, keep: true });
      return { ...answer, shape: [bands, ...pan.shape] };
    }

    // Grad-CAM. `which`: bands that are summed, counted from 0. `mask`: one entry for each pixel, or
    // null for the whole image. Returns by layer { shape, alpha, features, signed, after, before },
    // the maps on the layer's own grid; "after" and "before" say on which side of the sum over
    // channels the ReLU stands.
    function maps(which, mask = null, layers = Object.keys(parts)) {
      const weights = Float32Array.from({ length: bands }, (_, band) => which.includes(band));
      return ask("maps", { network: name, weights, layers, mask });
    }

    // An image of any size, in overlapping tiles of which the margins are discarded, as
    // dcfnet.fuse_scene does. `masks`, { pan, ms } with an entry for each pixel, say where there is
    // data; elsewhere the result means nothing. `signal`, of an AbortController, ends it after the
    // tile in work.
    async function fuseWhole(pan, ms, { maximum = 2047, tile = 256, overlap = 16, masks = {},
      onProgress = () => {}, signal } = {}) {
      const [rows, cols] = tilesOf(ms.shape.slice(1), tile, overlap);
      const out = new Float32Array(bands * pan.data.length);
      let done = 0;
      for (const row of rows) for (const col of cols) {
        signal?.throwIfAborted();
        onProgress({ done: done++, total: rows.length * cols.length });
        const [y, x] = [scaled(row, RATIO), scaled(col, RATIO)];
        if (masks.ms && !maskOf(ms, masks.ms, row, col).some((valid) => valid)) continue;
        const { data } = await ask("fuse", { network: name, gates: gateValues(), maximum,
          rows: y.stop - y.start, cols: x.stop - x.start,
          pan: filledCut(pan, masks.pan, y, x, 0),
          ms: filledCut(ms, masks.ms, row, col, margin) });
        paste(out, pan.shape, data, y, x);
      }
      onProgress({ done, total: done });
      return { data: out, shape: [bands, ...pan.shape] };
    }

    return { fuse, maps, fuseWhole };
  }

  // --- Tiles ------------------------------------------------------------------------------------

  // Along each axis, in MS pixels: what the network sees, and what of it is kept.
  function tilesOf(sizes, tile, overlap) {
    const [side, margin] = [tile / RATIO, overlap / RATIO];
    return sizes.map((size) => {
      const starts = [];
      for (let start = 0; start < size - side; start += side - 2 * margin) starts.push(start);
      starts.push(Math.max(0, size - side));
      const border = (i) => (starts[i - 1] + side + starts[i]) >> 1;
      return starts.map((start, i) => ({
        start, stop: Math.min(size, start + side),
        keepStart: i === 0 ? 0 : border(i),
        keepStop: i === starts.length - 1 ? size : border(i + 1),
      }));
    });
  }

  const scaled = (tile, factor) =>
    Object.fromEntries(Object.entries(tile).map(([key, value]) => [key, factor * value]));

  // A window of an image and a margin around it; beyond the image its border is repeated.
  function cut({ data, shape }, row, col, margin = 0) {
    const [height, width] = shape.slice(-2);
    const [rows, cols] = [row, col].map((tile) => tile.stop - tile.start + 2 * margin);
    const channels = data.length / (height * width);
    const out = new data.constructor(channels * rows * cols);
    const inside = (value, end) => Math.min(Math.max(value, 0), end - 1);
    const xs = Array.from({ length: cols }, (_, x) => inside(col.start - margin + x, width));
    let at = 0;
    for (let k = 0; k < channels; k++) for (let y = 0; y < rows; y++) {
      const line = (k * height + inside(row.start - margin + y, height)) * width;
      for (const x of xs) out[at++] = data[line + x];
    }
    return { data: out, shape: [...shape.slice(0, -2), rows, cols] };
  }

  const maskOf = ({ shape }, mask, row, col) =>
    cut({ data: mask, shape: shape.slice(-2) }, row, col).data;

  // As cut(), where pixels without data get the nearest value that is one before the border is
  // repeated, so that filters see no cliff; as dcfnet.fusion.tiled.read_tile.
  function filledCut(image, mask, row, col, margin) {
    const [rows, cols] = [row, col].map(({ start, stop }, axis) => ({
      start: Math.max(0, start - margin),
      stop: Math.min(image.shape.at(axis - 2), stop + margin),
    }));
    const part = cut(image, rows, cols);
    if (mask) fill(part, maskOf(image, mask, rows, cols));
    const inside = (tile, wide) => ({ start: tile.start - wide.start, stop: tile.stop - wide.start });
    return cut(part, inside(row, rows), inside(col, cols), margin).data;
  }

  // Of several values that are equally near the one furthest left, then furthest up, as SciPy's.
  function fill({ data, shape }, mask) {
    const [height, width] = shape.slice(-2);
    if (mask.every((valid) => valid) || !mask.some((valid) => valid)) return;
    const size = height * width;
    const near = new Int32Array(size).fill(-1); // the nearest row with data in the same column
    for (let x = 0; x < width; x++) {
      for (let y = 0, last = -1; y < height; y++) {
        if (mask[y * width + x]) last = y;
        near[y * width + x] = last;
      }
      for (let y = height - 1, next = -1; y >= 0; y--) {
        const at = y * width + x;
        if (mask[at]) next = y;
        if (next >= 0 && (near[at] < 0 || next - y < y - near[at])) near[at] = next;
      }
    }
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      if (mask[y * width + x]) continue;
      let [best, from] = [Infinity, 0];
      for (let other = 0; other < width; other++) {
        const row = near[y * width + other];
        const distance = (other - x) ** 2 + (row - y) ** 2;
        if (row >= 0 && distance < best) [best, from] = [distance, row * width + other];
      }
      for (let at = 0; at < data.length; at += size) data[at + y * width + x] = data[at + from];
    }
  }

  function paste(out, [height, width], tile, row, col) {
    const [rows, cols] = [row, col].map((t) => t.stop - t.start);
    for (let k = 0; k < tile.length / (rows * cols); k++)
      for (let y = row.keepStart; y < row.keepStop; y++) {
        const line = (k * rows + y - row.start) * cols - col.start;
        out.set(tile.subarray(line + col.keepStart, line + col.keepStop),
          (k * height + y) * width + col.keepStart);
      }
  }

  const live = {
    offers: {},
    megabytes: (name) => sum(missing(name).map(size)) / 1e6,
    unsupported, load, script, cut,
    receive: (name, index, text) => { (pieces[name] ??= [])[index] = text; },
  };
  root.dcfnetLive = live;
})(window);
