// A network in the page: what computes, in a worker, with ONNX Runtime before it in the same script.
"use strict";
const networks = {}; // by name: description, graphs, weights, sessions, and the values of one image

// --- What comes -----------------------------------------------------------------------------------

const fromBase64 = (text) => Uint8Array.fromBase64?.(text)
  ?? Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

async function unpacked(pieces) {
  const stream = new Blob(pieces.map(fromBase64)).stream();
  const content = new Response(stream.pipeThrough(new DecompressionStream("gzip")));
  return new Uint8Array(await content.arrayBuffer());
}

async function start({ pieces }) {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = (await unpacked(pieces)).buffer;
}

// As dcfnet/show/live/pack.py wrote it: a description, the graphs, the weights.
async function open({ network, pieces }) {
  const content = await unpacked(pieces);
  let at = 4;
  const take = (bytes) => content.slice(at, (at += bytes));
  const length = new DataView(content.buffer).getUint32(0, true);
  const description = JSON.parse(new TextDecoder().decode(take(length)));
  const graphs = {};
  for (const [name, bytes] of Object.entries(description.graphs)) graphs[name] = take(bytes);
  const weights = new Float32Array(description.weights.reduce((sum, [count]) => sum + count, 0));
  let end = 0;
  for (const [count, channels] of description.weights) {
    const out = weights.subarray(end, (end += count));
    if (channels === 0) out.set(new Float32Array(take(4 * count).buffer));
    else inSteps(out, channels, take);
  }
  networks[network] = { description, graphs, weights: new Uint8Array(weights.buffer), sessions: {},
    values: {} };
  await session(networks[network], "forward");
  return description;
}

function inSteps(out, channels, take) {
  const steps = new Float32Array(take(4 * channels).buffer);
  const [low, high, signs] = [take(out.length), take(out.length), take(Math.ceil(out.length / 8))];
  const each = out.length / channels;
  for (let i = 0; i < out.length; i++) {
    const size = (low[i] | (high[i] << 8)) * steps[Math.floor(i / each)];
    out[i] = (signs[i >> 3] >> (i & 7)) & 1 ? -size : size;
  }
}

// --- Running ----------------------------------------------------------------------------------

function session(network, graph) {
  network.sessions[graph] ??= ort.InferenceSession.create(network.graphs[graph], {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    externalData: [{ path: "weights", data: network.weights }],
  });
  return network.sessions[graph];
}

const tensor = (data, ...shape) => new ort.Tensor("float32", data, shape);

// Runs a graph on those of the values that it needs.
async function run(network, graph, values) {
  const made = await session(network, graph);
  return made.run(Object.fromEntries(made.inputNames.map((name) => [name, values[name]])));
}

// Bilinear interpolation along one axis, corners aligned, as a matrix.
function interpolation(inputs, outputs) {
  const out = new Float32Array(inputs * outputs);
  const step = outputs > 1 ? (inputs - 1) / (outputs - 1) : 0;
  for (let i = 0; i < outputs; i++) {
    const low = Math.min(Math.floor(i * step), inputs - 1);
    const share = i * step - low;
    out[i * inputs + low] += 1 - share;
    if (share > 0 && low + 1 < inputs) out[i * inputs + low + 1] += share;
  }
  return tensor(out, outputs, inputs);
}

function scaled(image, maximum) {
  return Float32Array.from(image, (value) => value / maximum);
}

// From digital numbers to digital numbers. Without `lms`, `ms` has a margin for its interpolation.
// Without `keep` nothing stays for maps().
async function fuse({ network, pan, ms, lms, rows, cols, gates, maximum, keep = false }) {
  const net = networks[network];
  const began = performance.now();
  const image = (data, height, width) =>
    tensor(scaled(data, maximum), 1, data.length / (height * width), height, width);
  const around = lms ? 0 : 2 * net.description.margin;
  const coarse = image(ms, rows / 4 + around, cols / 4 + around);
  const bands = lms ? { ms: coarse, lms: image(lms, rows, cols) }
    : await run(net, "lms", { wide: coarse });
  const values = { pan: image(pan, rows, cols), ...bands, gates: tensor(gates, gates.length) };
  for (const name of net.description.matrices) { // for example rows_4_2
    const [axis, from, to] = name.split("_");
    const length = axis === "rows" ? rows : cols;
    values[name] = interpolation(length / from, length / to);
  }
  const made = await run(net, keep ? "forward" : "fused", values);
  if (keep) net.values = { ...values, ...made };
  const data = made.fused.data.map((value) => value * maximum);
  return { data, seconds: (performance.now() - began) / 1000 };
}

async function maps({ network, weights, mask, layers }) {
  const net = networks[network];
  const began = performance.now();
  const [, bands, rows, cols] = net.values.fused.dims;
  const slopes = new Float32Array(bands * rows * cols);
  const area = mask ? mask.reduce((sum, inside) => sum + inside, 0) : rows * cols;
  for (let c = 0, i = 0; c < bands; c++)
    for (let p = 0; p < rows * cols; p++, i++) if (!mask || mask[p]) slopes[i] = weights[c] / area;
  const values = { ...net.values, slopes: tensor(slopes, 1, bands, rows, cols) };
  const parts = net.description.layers;
  const last = Math.max(...layers.map((layer) => parts[layer][2]));
  for (let i = 0; i <= last; i++) Object.assign(values, await run(net, `backward${i}`, values));
  const found = Object.fromEntries(layers.map((layer) =>
    [layer, summed(values[parts[layer][0]], values[parts[layer][1]].data)]));
  return { layers: found, seconds: (performance.now() - began) / 1000 };
}

// Eq. 2 in its two readings, and the mean over channels; sums in double precision.
function summed({ data, dims: [, channels, rows, cols] }, alpha) {
  const pixels = rows * cols;
  const [features, signed, before] = [0, 1, 2].map(() => new Float64Array(pixels));
  for (let k = 0, i = 0; k < channels; k++)
    for (let p = 0; p < pixels; p++, i++) {
      const share = alpha[k] * data[i];
      features[p] += data[i] / channels;
      signed[p] += share;
      if (share > 0) before[p] += share;
    }
  const maps = { features, signed, after: signed.map((value) => Math.max(value, 0)), before };
  for (const name of Object.keys(maps)) maps[name] = Float32Array.from(maps[name]);
  return { shape: [channels, rows, cols], alpha: Float32Array.from(alpha), ...maps };
}

// --- Questions and answers ----------------------------------------------------------------------

const commands = { start, open, fuse, maps };
let last = Promise.resolve(); // one after the other, in the order in which they were asked

onmessage = ({ data: { id, command, ...question } }) => {
  last = last.then(() => commands[command](question)).then(
    (answer) => postMessage({ id, answer }),
    (error) => postMessage({ id, error: error.message || String(error) }),
  );
};
