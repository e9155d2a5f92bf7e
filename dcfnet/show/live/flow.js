// A fusion or a PCFT as a flow of maps, joined by ribbons as wide as what they carry. See flow.py.
"use strict";
((root) => {
  const { element, chooser, buttons, bytes, decoded, quantile, quantiles, picture, coloured, scaled, pointed,
    panel, runner, latest, regionTools } = root.dcfnetPages;
  const SVG = "http://www.w3.org/2000/svg";
  const OUT = { l: [-1, 0], r: [1, 0], t: [0, -1], b: [0, 1] };

  const extreme = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const digits = (value) => (value === 0 ? "0" : Math.abs(value) < 99.5 ? value.toPrecision(2)
    : `${Math.round(value)}`).replace("-", "−");

  function mount(body, data, live) {
    const { sensor, nodes, ribbons } = data;
    const tables = Object.fromEntries(Object.entries(data.colours).map(([k, v]) => [k, bytes(v)]));
    const state = { patch: data.first, show: `${sensor.rgb[0]}`, scale: "own", reading: "signed",
      hook: "arrives", look: "0", part: data.chosen };
    const stored = new Map(); // of what has come with the page, what has been needed
    function decodedOnce(map) {
      if (!stored.has(map)) stored.set(map, decoded(map));
      return stored.get(map);
    }
    const size = decoded(data.patches[state.patch].pan).shape;
    let net = null;
    let fused = ""; // the patch that the network has seen last
    let found = {}; // by part: channels, shape, features, and maps of the bands that are asked for

    // --- What is shown ----------------------------------------------------------------------

    const isFeature = () => state.show === "features";
    const inColour = () => state.scale === "supplement" && !isFeature();
    const partOf = (node) => (state.hook === "arrives" ? node.part : node.last || node.part);
    // Lists of bands: one map each, summed over its bands.
    function asked() {
      if (inColour()) return sensor.rgb_135.map((band) => [band]);
      if (state.show === "all") return [sensor.bands.map((_, band) => band)];
      return [[isFeature() ? sensor.rgb[0] : Number(state.show)]];
    }

    const refresh = latest(async () => {
      const maps = asked();
      if (!region.mask && state.reading !== "before") {
        found = Object.fromEntries(Object.entries(data.patches[state.patch].maps).map(([part, it]) => {
          const { shape, data: features } = decodedOnce(it.features);
          const summed = (bands) => bands.map((band) => decodedOnce(it.signed[band]).data)
            .reduce((one, other) => one.map((value, i) => value + other[i]));
          return [part, { channels: it.channels, shape, features, maps: maps.map(summed) }];
        }));
        return draw();
      }
      if (!net) return run.say("Load the network: it answers then.");
      body.setAttribute("aria-busy", "true");
      try {
        const { pan, ms, lms } = data.patches[state.patch];
        if (fused !== state.patch) {
          await net.fuse(decoded(pan), decoded(ms), decoded(lms), { maximum: sensor.maximum });
          fused = state.patch;
        }
        const parts = [...new Set(nodes.flatMap(({ part, last }) => (last ? [part, last] : [part])))];
        const key = state.reading === "before" ? "before" : "signed";
        const answers = [];
        for (const bands of maps)
          answers.push(await net.maps(Object.fromEntries(bands.map((band) => [band, 1])),
            region.mask, parts));
        found = Object.fromEntries(parts.map((part) => {
          const { shape: [channels, ...shape], features } = answers[0].layers[part];
          return [part, { channels, shape, features,
            maps: answers.map(({ layers }) => layers[part][key]) }];
        }));
        run.say(`The network has answered in ${answers[0].seconds.toFixed(2)} s.`);
      } catch (error) {
        run.say(error.message);
      }
      body.removeAttribute("aria-busy");
      return draw();
    });

    // The one map of a part that is shown, unless three are shown in colour.
    function valuesOf(part) {
      const { features, maps } = found[part];
      if (isFeature()) return features;
      return state.reading === "after" ? maps[0].map((value) => Math.max(value, 0)) : maps[0];
    }
    const unit = () => (isFeature() ? "mean over channels" : "millionths");
    const said = (value) => digits(isFeature() ? value : 1e6 * value);

    // Draws a part's map; `most` is the end of the scale, or 0 for the map's own.
    function paint(canvas, part, most) {
      const { maps, shape } = found[part];
      if (inColour()) {
        const three = maps.map((map) => {
          const values = map.map((value) => Math.max(value, 0));
          const [low, high] = quantiles(values, data.quantiles);
          return values.map((value) => (255 * (value - low)) / (high - low || 1));
        });
        picture(canvas, ...shape, (i) => three.map((values) => values[i]));
        return null;
      }
      const values = valuesOf(part);
      const own = isFeature() && state.scale === "supplement";
      const high = most || extreme(values) || 1e-12;
      const low = own ? quantile(values, 0) : isFeature() ? Math.min(0, quantile(values, 0))
        : state.reading === "signed" ? -high : 0;
      const table = isFeature() ? tables.viridis
        : state.reading === "signed" ? tables.RdBu_r : tables.magma;
      coloured(canvas, values, shape, [low, high], table);
      return { table, low, high };
    }

    function wordsOf(node) {
      const part = partOf(node);
      if (inColour()) return (i) => found[part].maps.map((map, k) =>
        `${sensor.bands[sensor.rgb_135[k]]} ${digits(1e6 * map[i])}`).join(", ") + " millionths";
      const values = valuesOf(part);
      return (i) => `${said(values[i])} ${unit()}`;
    }

    // --- The drawing ------------------------------------------------------------------------

    const readout = element("p", { class: "dcf-words dcf-readout" },
      "Rest the pointer on a map to read it; choose a map to see it large.");
    const lines = document.createElementNS(SVG, "svg");
    lines.setAttribute("class", "dcf-ribbons");
    lines.setAttribute("aria-hidden", "true");
    const flow = element("div", { class: "dcf-flow" }, lines);
    const places = {}; // by name: what ribbons lead to
    const put = (made, wide, narrow) => {
      made.style.setProperty("--wide", wide);
      made.style.setProperty("--narrow", narrow);
      flow.append(made);
      return made;
    };
    for (const [lane, area] of Object.entries(data.lanes))
      places[lane] = put(element("div", { class: "dcf-lane" }), area, "auto");
    const image = element("img", { alt: "The patch" });
    if (data.picture) put(element("div", { class: "dcf-card" }, element("span", { class: "dcf-name" },
      "the patch, and MS"), image), ...data.picture);
    places.MS = image;
    const cards = nodes.map((node) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const meter = element("span");
      const number = element("span", { class: "dcf-number" });
      const button = element("button", { type: "button", class: "dcf-card", "data-part": node.part,
        onclick: () => choose(node.part) },
      element("span", { class: "dcf-name" }, node.title), canvas,
      element("span", { class: "dcf-meter", "aria-hidden": "true" }, meter), number);
      button.style.setProperty("--size", node.size);
      put(button, node.wide, node.narrow);
      places[node.part] = canvas;
      canvas.addEventListener("pointermove", (event) => {
        const { shape } = found[partOf(node)];
        readout.textContent = pointed(canvas, { what: data.labels[partOf(node)], shape,
          words: wordsOf(node) }, event);
      });
      return { node, button, canvas, meter, number };
    });
    const cardOf = Object.fromEntries(cards.map((card) => [card.node.part, card]));

    // Where on the page a ribbon's points lie, and the curve through them.
    function way(points, from) {
      const at = points.map(([name, side, share]) => {
        const box = places[name].getBoundingClientRect();
        const x = side === "l" ? box.left : side === "r" ? box.right : box.left + share * box.width;
        const y = side === "t" ? box.top : side === "b" ? box.bottom : box.top + share * box.height;
        return { x: x - from.left, y: y - from.top, out: OUT[side] };
      });
      const bend = (a, b) => [a, b].map(({ x, y, out: [right, down] }) => {
        const reach = Math.max(Math.abs(right ? a.x - b.x : a.y - b.y), 36) / 2;
        return { x: x + reach * right, y: y + reach * down };
      });
      const rest = at.slice(1).map((b, i) => {
        if (i > 0 && i < at.length - 2) return `L${b.x} ${b.y}`;
        return `C${bend(at[i], b).map(({ x, y }) => `${x} ${y}`)} ${b.x} ${b.y}`;
      });
      const [one, other] = bend(...at);
      const middle = ["x", "y"].map((axis) =>
        (at[0][axis] + 3 * one[axis] + 3 * other[axis] + at[1][axis]) / 8);
      return { at, middle, path: `M${at[0].x} ${at[0].y}${rest.join("")}` };
    }

    function drawRibbons() {
      const wide = flow.clientWidth >= data.width;
      flow.classList.toggle("dcf-wide", wide);
      const from = flow.getBoundingClientRect();
      const { spread } = data.patches[state.patch];
      const carries = ({ part, factor }) => factor * spread[part];
      const most = Math.max(...ribbons.filter((it) => it.part).map(carries));
      const drawn = ribbons.map((ribbon) => {
        const { at, middle, path } = way(wide ? ribbon.wide : ribbon.narrow, from);
        const thick = ribbon.part ? Math.max(1.5, ((wide ? 24 : 12) * carries(ribbon)) / most) : 1.5;
        const line = (d, width) =>
          `<path d="${d}" stroke="${ribbon.colour}" stroke-width="${width}"/>`;
        if (!ribbon.part) return line(path, thick);
        const number = digits(carries(ribbon));
        let [x, y] = middle;
        let tab = "";
        if (at.length > 2) { // the number stands on the ribbon over its map
          const box = cardOf[ribbon.part].button.getBoundingClientRect();
          const top = box.top - from.top;
          [x, y] = wide ? [box.left - from.left + box.width / 2, at[1].y] : [at[2].x, top - 9];
          if (wide) tab = line(`M${x - 0.35 * box.width} ${y}V${top + 4}`, 3);
        }
        const what = `${data.labels[ribbon.part] ?? "MS"}: a spread of ${number} passes`;
        return `<g data-part="${ribbon.part}"><title>${what}</title>${line(path, thick)}${tab}`
          + `<text x="${x}" y="${y + 4}">${number}</text></g>`;
      });
      lines.innerHTML = drawn.join("");
    }
    lines.addEventListener("click", (event) => {
      const part = event.target.closest("[data-part]")?.dataset.part;
      if (cardOf[part]) choose(part);
    });

    function draw() {
      const patch = data.patches[state.patch];
      image.src = patch.pictures[Number(state.look)];
      large.image.frame.querySelector("img").src = image.src;
      const looks = ["natural colour", "bands 5, 3, 1"];
      large.image.caption.textContent = `The patch, ${looks[Number(state.look)]}`;
      const tops = cards.map(({ node }) => extreme(valuesOf(partOf(node))));
      const most = Math.max(...tops, 1e-12);
      cards.forEach(({ node, button, canvas, meter, number }, i) => {
        paint(canvas, partOf(node), state.scale === "shared" ? most : 0);
        button.setAttribute("aria-pressed", node.part === state.part);
        meter.style.width = `${(100 * tops[i]) / most}%`;
        meter.parentElement.hidden = state.scale === "supplement";
        number.textContent = state.scale === "supplement" ? "own range"
          : `${said(tops[i])} · ×${digits(tops[i] / most)}`;
      });
      legend.textContent = {
        own: `Each map has its own scale. Below it: its largest value${
          isFeature() ? "" : " in millionths"}, how that compares with the strongest `
          + "map (×1), and the same as a bar.",
        shared: "All maps have one scale, that of the strongest map (×1).",
        supplement: inColour() ? "As the supplement draws: maps of bands 5, 3, 1 as red, green, "
          + "blue, each stretched to its own range. No map can be compared with another."
          : "As the supplement draws: each map from its own least to its own greatest value.",
      }[state.scale] + (inColour() || isFeature() || state.reading !== "signed" ? ""
        : " Red is positive, blue negative, white zero.");
      drawLarge(most);
      drawRibbons();
    }

    // The part that is chosen, large, with the image and the region.
    const title = element("p", { class: "dcf-numbers", role: "status" });
    const facts = element("p", { class: "dcf-words" });
    const say = (words) => { readout.textContent = words; };
    const large = { image: panel("The patch", size), features: panel("Feature map", size, say),
      map: panel("Class activation map", size, say) };
    large.image.canvas.hidden = true;
    large.image.frame.prepend(element("img", { alt: "The patch" }));
    function drawLarge(most) {
      const { node } = cardOf[state.part];
      const part = partOf(node), { channels, shape, features, maps } = found[part];
      title.textContent = data.labels[part];
      const ribbon = ribbons.find((it) => it.part === state.part);
      const spread = ribbon && ribbon.factor * data.patches[state.patch].spread[ribbon.part];
      const share = ribbon && ribbon.factor !== 1 ? ` Learned weight ${ribbon.factor.toFixed(3)}.` : "";
      const negative = maps[0].reduce((sum, value) => sum + (value <= 0 ? 1 : 0), 0) / maps[0].length;
      facts.textContent = `${channels} channels of ${shape.join(" × ")} values.${share}${
        ribbon ? ` A spread of ${digits(spread)} passes on.` : ""} Map from ${
        digits(1e6 * quantile(maps[0], 0))} to ${digits(1e6 * quantile(maps[0], 1))} millionths; ${
        Math.round(100 * negative)} % of it is not positive, and black after the ReLU.`;
      const drawIn = (target, show) => {
        const before = state.show;
        state.show = show;
        const scale = paint(target.canvas, part, before === show && state.scale === "shared" ? most : 0);
        const of = `${data.labels[part]}${isFeature() ? ", feature map" : ""}`;
        target.now = { what: of, shape, words: wordsOf(node) };
        if (scale) scaled(target.scale, scale.table, said(scale.low), `${said(scale.high)}${
          isFeature() ? "" : " millionths"}`);
        else target.scale.replaceChildren("each band stretched by itself");
        state.show = before;
      };
      drawIn(large.features, "features");
      large.features.caption.textContent = `Feature map of ${channels} channels`;
      drawIn(large.map, isFeature() ? `${sensor.rgb[0]}` : state.show);
      const band = isFeature() ? sensor.bands[sensor.rgb[0]] : state.show === "all" ? "all bands"
        : sensor.bands[Number(state.show)];
      large.map.caption.textContent = `Map of ${inColour() ? "bands 5, 3, 1" : band}`;
      body.dataset.part = part;
      body.dataset.top = extreme(maps[0]);
      for (const each of [large.features, large.map]) each.canvas.setAttribute("aria-label",
        `${each.caption.textContent}: ${data.labels[part]}`);
      return features;
    }

    // --- Controls ---------------------------------------------------------------------------

    function change(more) {
      Object.assign(state, more);
      return refresh();
    }
    function choose(part) {
      state.part = part;
      draw();
    }
    const region = regionTools([large.image, large.features, large.map], size, () => refresh());
    const names = Object.keys(data.patches);
    const patch = chooser("Patch", Object.fromEntries(names.map((name) => [name, name])), state.patch,
      (value) => change({ patch: value }));
    const show = chooser("Shown", { ...Object.fromEntries(sensor.bands.map((band, i) =>
      [`${i}`, `map of band ${i + 1}, ${band}`])), all: "map of all bands, summed",
    features: "feature maps" }, state.show, (value) => change({ show: value }));
    const scale = buttons("Scale", { own: "each its own scale", shared: "one scale for all",
      supplement: "as the supplement" }, state.scale, (value) => change({ scale: value }));
    const reading = chooser("Reading", { signed: "signed, without ReLU",
      after: "ReLU after the sum (Eq. 2)", before: "ReLU before the sum (asks the network)" },
    state.reading, (value) => change({ reading: value }));
    const hook = chooser("Transfers", { arrives: "as they arrive", last: "at their last convolution" },
      state.hook, (value) => change({ hook: value }));
    const look = chooser("Image", { 0: "natural colour", 1: "bands 5, 3, 1" }, state.look,
      (value) => change({ look: value }));
    const run = runner(data.networks, async (loaded) => {
      [net, fused] = [loaded, ""];
      run.say("The network is here: draw a region on the patch, or choose a reading.");
      if (region.mask || state.reading === "before") await refresh();
    }, live);
    const legend = element("p", { class: "dcf-words" });
    const more = element("details", {}, element("summary", {}, "Another region, another reading"),
      run.box, region.group, region.hint, element("div", { class: "dcf-controls" }, reading.label,
        ...(nodes.some(({ last }) => last) ? [hook.label] : []), look.label));
    body.append(element("div", { class: "dcf-controls" }, patch.label, show.label, scale.group),
      legend, flow, readout, title, facts,
      element("div", { class: "dcf-panels dcf-three-panels" },
        ...Object.values(large).map(({ figure }) => figure)), more);
    refresh();
    new ResizeObserver(drawRibbons).observe(flow);
    image.addEventListener("load", drawRibbons);
  }

  root.dcfnetPages.kinds.flow = mount;
})(window);
