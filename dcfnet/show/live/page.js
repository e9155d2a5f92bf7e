// Pieces of a page in which a network runs: what all of them need. See page.py.
// A piece is <div class="dcf-live" data-kind="apart"> with its data as JSON inside.
"use strict";
((root) => {
  const pages = (root.dcfnetPages ??= { kinds: {} });

  // --- Elements -----------------------------------------------------------------------------

  // element("button", { class: "main", onclick }, "Run") and the like.
  function element(tag, attributes = {}, ...children) {
    const made = tag === "svg" ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made[name] = value;
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  // Value to what is read; of a list, each value is read as it is.
  const read = (options) => (Array.isArray(options) ? options.map((it) => [it, it])
    : Object.entries(options));

  // A choice with its name before it.
  function chooser(title, options, value, changed) {
    const select = element("select", { onchange: () => changed(select.value) },
      ...read(options).map(([key, words]) => element("option", { value: key }, words)));
    select.value = value;
    return { select, label: element("label", { class: "dcf-choice" }, `${title} `, select) };
  }

  // Buttons of which one is pressed, below their name.
  function buttons(title, options, value, changed) {
    const row = element("div", { class: "dcf-buttons", role: "group", "aria-label": title });
    const press = (key) => {
      for (const button of row.children)
        button.setAttribute("aria-pressed", button.dataset.key === key);
    };
    const add = (key, words) => row.append(element("button", { type: "button", "data-key": key,
      onclick: () => { press(key); changed(key); } }, words));
    for (const option of read(options)) add(...option);
    press(value);
    const name = element("span", { "aria-hidden": "true" }, title);
    return { group: element("div", { class: "dcf-choice" }, name, row), press, add };
  }

  // --- Numbers ------------------------------------------------------------------------------

  // What page.py's packed() wrote: JSON, and after it the whole numbers of arrays, which become
  // { shape, data }.
  async function unpacked(text) {
    const bytes = Uint8Array.fromBase64?.(text)
      ?? Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const content = await new Response(stream).arrayBuffer();
    const start = 4 + new DataView(content).getUint32(0, true);
    const json = new TextDecoder().decode(content.slice(4, start));
    return JSON.parse(json, (_, value) => {
      if (!value?.steps) return value;
      const { shape, steps: [below, above], bytes: [from, to], bits } = value;
      const codes = new (bits === 8 ? Int8Array : Int16Array)(content.slice(start + from, start + to));
      return { shape, data: Float32Array.from(codes, (code) => code * (code > 0 ? above : below)) };
    });
  }

  function quantiles(values, shares) {
    const sorted = Float32Array.from(values).sort();
    return shares.map((share) =>
      sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
  }

  const quantile = (values, share) => quantiles(values, [share])[0];

  // The least and the greatest value.
  function ends(values) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return [low, high];
  }

  // --- Pictures -----------------------------------------------------------------------------

  // A colour as one number, as a canvas holds it (little-endian, as all of today's machines).
  const packed = (red, green, blue) => (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
  const byte = (value) => (value < 0 ? 0 : value > 255 ? 255 : Math.round(value));

  // Tables of 256 colours, by name, as page.py's colours() wrote them.
  const palettes = (written) => Object.fromEntries(Object.entries(written).map(([name, { data }]) =>
    [name, Uint32Array.from({ length: 256 }, (_, i) => packed(...data.subarray(3 * i, 3 * i + 3)))]));

  // A canvas of as many pixels as the image has; style sheets say how large it is.
  function picture(canvas, [rows, cols], colourOf) {
    canvas.width = cols;
    canvas.height = rows;
    const pixels = new Uint32Array(rows * cols);
    for (let i = 0; i < pixels.length; i++) pixels[i] = colourOf(i);
    canvas.getContext("2d").putImageData(
      new ImageData(new Uint8ClampedArray(pixels.buffer), cols, rows), 0, 0);
  }

  // Three images of one value for each pixel as red, green and blue, each between its limits.
  function composite(canvas, images, shape, limits) {
    const [red, green, blue] = images.map((values, k) => {
      const [low, high] = limits[k];
      const step = 255 / (high - low || 1);
      return (i) => byte((values[i] - low) * step);
    });
    picture(canvas, shape, (i) => packed(red(i), green(i), blue(i)));
  }

  // Three bands as red, green and blue; `image` is { data, shape: [bands, rows, columns] }.
  function natural(canvas, { data, shape: [, rows, cols] }, { rgb, limits }) {
    const size = rows * cols;
    composite(canvas, rgb.map((band) => data.subarray(band * size, (band + 1) * size)),
      [rows, cols], rgb.map((band) => limits[band]));
  }

  // One value for each pixel, from `low` to `high`, in a table of 256 colours.
  function coloured(canvas, values, shape, [low, high], table) {
    const step = 255 / (high > low ? high - low : 1);
    picture(canvas, shape, (i) => table[byte((values[i] - low) * step)]);
  }

  // A picture below its title and above its scale, with room for what lies over it. `read`, if
  // given, gets what the pointer rests on: `now` says what that is, set { what, shape, words }.
  function panel(title, [rows, cols], read) {
    const canvas = element("canvas", { role: "img", "aria-label": title });
    const border = element("svg", { viewBox: `0 0 ${cols} ${rows}`, "aria-hidden": "true" });
    border.innerHTML = '<path class="dcf-under"/><path/>';
    const frame = element("div", { class: "dcf-frame" }, canvas, border);
    const caption = element("figcaption", {}, title);
    const scale = element("div", { class: "dcf-scale" });
    const made = { canvas, border, frame, caption, scale, now: null,
      figure: element("figure", {}, caption, frame, scale) };
    canvas.addEventListener("pointermove", (event) => read?.(pointed(canvas, made.now, event)));
    return made;
  }

  // What a canvas shows where the pointer is, in words.
  function pointed(canvas, now, { clientX, clientY }) {
    if (!now) return "";
    const box = canvas.getBoundingClientRect();
    const [rows, cols] = now.shape;
    const at = (share, end) => within(Math.floor(end * share), end - 1);
    const y = at((clientY - box.top) / box.height, rows);
    const x = at((clientX - box.left) / box.width, cols);
    return `${now.what}, row ${y}, column ${x} of ${rows} × ${cols}: ${now.words(y * cols + x)}`;
  }

  // Colours over their numbers.
  function scaled(box, table, low, high) {
    const stops = [0, 64, 128, 192, 255].map((i) =>
      `rgb(${[0, 8, 16].map((shift) => (table[i] >> shift) & 255)})`);
    const bar = element("span", { class: "dcf-bar" });
    bar.style.background = `linear-gradient(to right, ${stops})`;
    box.replaceChildren(element("span", {}, low), bar, element("span", {}, high));
  }

  // What a panel shows: values in a table of colours, the words at the ends of its scale, its title,
  // and what the pointer reads there.
  function fill(made, { title, what = title, values, shape, range, table, said, words }) {
    coloured(made.canvas, values, shape, range, table);
    scaled(made.scale, table, ...said);
    made.caption.textContent = title;
    made.canvas.setAttribute("aria-label", what === title ? title : `${title}: ${what}`);
    made.now = { what, shape, words };
  }

  // --- The network --------------------------------------------------------------------------

  // A button that says how much it brings, a bar, and words that a screen reader reads out.
  // `ready(net, name)` is called once the network is there.
  // In JupyterLab `live` is the kernel (kernel.js), which is there at once.
  function runner(networks, ready, live = root.dcfnetLive) {
    const names = Object.keys(networks);
    const words = element("p", { class: "dcf-words", role: "status" });
    const bar = element("progress", { max: 1, value: 0, hidden: true,
      "aria-label": "The network is loading" });
    const cannot = live ? live.unsupported() : "The network runs in the rendered book, whose pages "
      + "bring it: build that with make book. Here you see what was computed beforehand.";
    const box = element("div", { class: "dcf-run" });
    const offers = element("div", { class: "dcf-offers" });
    box.append(offers, bar, words);
    if (cannot) {
      words.textContent = cannot;
      return { box, say: (text) => { words.textContent = text; } };
    }

    async function bring(name) {
      for (const button of offers.children) button.disabled = true;
      bar.hidden = false;
      try {
        const net = await live.load(name, { onProgress: ({ step, bytes: come, total }) => {
          bar.value = total ? come / total : 1;
          words.textContent = step === "loading"
            ? `Loading: ${(come / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`
            : "Starting the network";
        } });
        words.textContent = "";
        await ready(net, name);
      } catch (error) {
        words.textContent = error.message;
      }
      bar.hidden = true;
      label();
    }

    function label() {
      [...offers.children].forEach((button, i) => {
        const size = live.megabytes(names[i]);
        const what = size ? `${size.toFixed(1)} MB` : live.place ?? "loaded";
        button.textContent = `${networks[names[i]]} (${what})`;
        button.disabled = false;
      });
    }

    names.forEach((name, i) => offers.append(element("button", { type: "button",
      class: i ? "" : "dcf-main", "data-network": name, onclick: () => bring(name) })));
    label();
    if (live.place) queueMicrotask(() => bring(names[0]));
    return { box, say: (text) => { words.textContent = text; } };
  }

  // The latest question alone is answered: those that came while one was worked on, but the last,
  // are left out.
  function latest(work) {
    let running = null;
    let again = false;
    return async function ask() {
      if (running) { again = true; return running; }
      running = (async () => {
        do { again = false; await work(); } while (again);
      })();
      try { await running; } finally { running = null; }
      return undefined;
    };
  }

  // Has a network answer: meanwhile the piece is busy, and what goes wrong is said.
  async function busily(body, run, work) {
    body.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      run.say(error.message);
    }
    body.removeAttribute("aria-busy");
  }

  async function mount(node, live) {
    node.dataset.state = "loading";
    const body = node.querySelector(".dcf-live-body");
    try {
      if (root.DecompressionStream) {
        const data = await unpacked(node.querySelector(".dcf-live-data").textContent);
        pages.kinds[node.dataset.kind](body, data, live);
      } else body.textContent = "This needs Chrome, Edge or Firefox of 2023, or Safari from 16.4 on.";
      node.dataset.state = "ready";
    } catch (error) {
      node.dataset.state = "failed";
      throw error;
    }
  }

  function mountAll() {
    for (const node of document.querySelectorAll(".dcf-live:not([data-state])")) mount(node);
  }

  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const within = (value, end) => Math.min(Math.max(value, 0), end);

  // Has an element get all of a pointer's events until it is let go.
  function capture(node, { pointerId }) {
    try { node.setPointerCapture(pointerId); } catch { /* no pointer, in a test */ }
  }

  const fold = (title, ...children) =>
    element("details", {}, element("summary", {}, title), ...children);

  Object.assign(pages, { MOVES, element, chooser, buttons, fold, capture, within, quantile, quantiles,
    ends, packed, palettes, composite, natural, coloured, fill, panel, pointed, runner, latest, busily,
    mount, mountAll });
})(window);
