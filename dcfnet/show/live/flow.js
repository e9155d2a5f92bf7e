// A fusion or a PCFT as a flow of maps, joined by ribbons as wide as what they carry. See flow.py.
"use strict";
((root) => {
  const { element, chooser, buttons, fold, quantiles, ends, palettes, composite, coloured, fill,
    pointed, panel, runner, latest, busily, regionTools } = root.dcfnetPages;
  const OUT = { l: [-1, 0], r: [1, 0], t: [0, -1], b: [0, 1] };

  const extreme = (values) => Math.max(...ends(values).map(Math.abs));
  const digits = (value) => (value === 0 ? "0" : Math.abs(value) < 99.5 ? value.toPrecision(2)
    : `${Math.round(value)}`).replace("-", "−");

  function mount(body, data, live) {
    const { sensor, nodes, ribbons } = data;
    const tables = palettes(data.colours);
    const state = { patch: data.first, show: `${sensor.rgb[0]}`, scale: "own", reading: "signed",
      hook: "arrives", look: "0", part: data.chosen };
    const size = data.patches[state.patch].pan.shape;
    let net = null;
    let fused = ""; // the patch that the network has seen last
    let found = {}; // by part: channels, shape, features, the map, and maps of the supplement's bands

    // --- What is shown ----------------------------------------------------------------------

    const kind = () => (state.show === "features" ? "features" : "map");
    const inColour = () => kind() === "map" && state.scale === "supplement"; // maps of three bands
    const partOf = (node) => (state.hook === "arrives" ? node.part : node.last || node.part);
    // The bands of the map that is shown, which is their sum.
    function asked() {
      if (state.show === "all") return [...sensor.bands.keys()];
      return [kind() === "features" ? sensor.rgb[0] : Number(state.show)];
    }

    const refresh = latest(async () => {
      const wanted = [asked(), ...sensor.rgb_135.map((band) => [band])];
      const kept = (it, [map, ...three]) => ({ ...it, map, three });
      if (!region.mask && state.reading !== "before") {
        found = Object.fromEntries(Object.entries(data.patches[state.patch].maps).map(([part, it]) => {
          const { shape, data: features } = it.features;
          const summed = (bands) => bands.map((band) => it.signed[band].data)
            .reduce((one, other) => one.map((value, i) => value + other[i]));
          return [part, kept({ channels: it.channels, shape, features }, wanted.map(summed))];
        }));
        return draw();
      }
      if (!net) return run.say("Load the network: it answers then.");
      await busily(body, run, async () => {
        const { pan, ms, lms } = data.patches[state.patch];
        if (fused !== state.patch) {
          await net.fuse(pan, ms, lms, { maximum: sensor.maximum });
          fused = state.patch;
        }
        const parts = [...new Set(nodes.flatMap(({ part, last }) => (last ? [part, last] : [part])))];
        const key = state.reading === "before" ? "before" : "signed";
        const once = {}; // the band that is shown may be one of the supplement's
        for (const bands of wanted) once[bands] ??= await net.maps(bands, region.mask, parts);
        const answers = wanted.map((bands) => once[bands]);
        found = Object.fromEntries(parts.map((part) => {
          const { shape: [channels, ...shape], features } = answers[0].layers[part];
          return [part, kept({ channels, shape, features },
            answers.map(({ layers }) => layers[part][key]))];
        }));
        run.say(`The network has answered in ${answers[0].seconds.toFixed(2)} s.`);
      });
      return draw();
    });

    // Of a part: what is shown of it, unless three maps are shown in colour.
    function valuesOf(part, of) {
      const { features, map } = found[part];
      if (of === "features") return features;
      return state.reading === "after" ? map.map((value) => Math.max(value, 0)) : map;
    }
    const said = (value, of) => digits(of === "features" ? value : 1e6 * value);

    // How values are drawn; `most` is the end of the scale, or 0 for their own.
    function scaleOf(values, of, most) {
      const high = most || extreme(values) || 1e-12;
      if (of === "features") {
        const [low] = ends(values);
        return { table: tables.viridis,
          range: [state.scale === "supplement" ? low : Math.min(0, low), high] };
      }
      return state.reading === "signed" ? { table: tables.RdBu_r, range: [-high, high] }
        : { table: tables.magma, range: [0, high] };
    }

    // The supplement's own way: maps of three bands as red, green, blue, each to its own range.
    function paintInColour(canvas, { three, shape }) {
      const kept = three.map((map) => map.map((value) => Math.max(value, 0)));
      composite(canvas, kept, shape, kept.map((values) => quantiles(values, data.quantiles)));
    }

    // What the pointer reads on a part's map.
    const wordsInColour = (part) => (i) => found[part].three.map((map, k) =>
      `${sensor.bands[sensor.rgb_135[k]]} ${digits(1e6 * map[i])}`).join(", ") + " millionths";
    function wordsOf(part, of) {
      const values = valuesOf(part, of);
      return (i) => `${said(values[i], of)} ${of === "features" ? "mean over channels" : "millionths"}`;
    }

    // --- The drawing ------------------------------------------------------------------------

    const readout = element("p", { class: "dcf-words dcf-readout" },
      "Rest the pointer on a map to read it; choose a map to see it large.");
    const lines = element("svg", { class: "dcf-ribbons", "aria-hidden": "true" });
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
        const part = partOf(node);
        readout.textContent = pointed(canvas, { what: data.labels[part], shape: found[part].shape,
          words: inColour() ? wordsInColour(part) : wordsOf(part, kind()) }, event);
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

    let most = 0; // the largest value of all that is shown
    function draw() {
      const of = kind(), own = state.scale === "supplement";
      image.src = data.patches[state.patch].pictures[Number(state.look)];
      large.image.frame.querySelector("img").src = image.src;
      large.image.caption.textContent = `The patch, ${
        ["natural colour", "bands 5, 3, 1"][Number(state.look)]}`;
      const shown = cards.map(({ node }) => valuesOf(partOf(node), of));
      const tops = shown.map(extreme);
      most = Math.max(...tops, 1e-12);
      cards.forEach(({ node, canvas, meter, number }, i) => {
        const it = found[partOf(node)];
        if (inColour()) paintInColour(canvas, it);
        else {
          const { table, range } = scaleOf(shown[i], of, state.scale === "shared" ? most : 0);
          coloured(canvas, shown[i], it.shape, range, table);
        }
        meter.style.width = `${(100 * tops[i]) / most}%`;
        meter.parentElement.hidden = own;
        number.textContent = own ? "own range"
          : `${said(tops[i], of)} · ×${digits(tops[i] / most)}`;
      });
      legend.textContent = {
        own: `Each map has its own scale. Below it: its largest value${of === "features" ? ""
          : `${state.reading === "signed" ? " of either sign" : ""}, in millionths`}, how that `
          + "compares with the strongest map (×1), and the same as a bar.",
        shared: "All maps have one scale, that of the strongest map (×1).",
        supplement: inColour() ? "As the supplement draws: maps of bands 5, 3, 1 as red, green, "
          + "blue, each stretched to its own range. No map can be compared with another."
          : "As the supplement draws: each map from its own least to its own greatest value.",
      }[state.scale] + (of === "map" && !own && state.reading === "signed"
        ? " Red is positive, blue negative, white zero." : "");
      drawChosen();
      drawRibbons();
    }

    // The part that is chosen, large, with the image and the region.
    const title = element("p", { class: "dcf-numbers", role: "status" });
    const facts = element("p", { class: "dcf-words" });
    const say = (words) => { readout.textContent = words; };
    const large = { image: panel("The patch", size), features: panel("Feature map", size, say),
      map: panel("Class activation map", size, say),
      supplement: panel("As the supplement draws it", size, say) };
    large.image.canvas.hidden = true;
    large.image.frame.prepend(element("img", { alt: "The patch" }));
    function drawChosen() {
      for (const { node, button } of cards)
        button.setAttribute("aria-pressed", node.part === state.part);
      const part = partOf(cardOf[state.part].node), { channels, shape, map, three } = found[part];
      const what = data.labels[part];
      title.textContent = what;
      const ribbon = ribbons.find((it) => it.part === state.part);
      const spread = ribbon && ribbon.factor * data.patches[state.patch].spread[ribbon.part];
      const share = ribbon && ribbon.factor !== 1 ? ` Learned weight ${ribbon.factor.toFixed(3)}.` : "";
      const black = map.filter((value) => value <= 0).length / map.length;
      const [low, high] = ends(map).map((value) => digits(1e6 * value));
      facts.textContent = `${channels} channels of ${shape.join(" × ")} values.${share}${
        ribbon ? ` A spread of ${digits(spread)} passes on.` : ""} Map from ${low} to ${
        high} millionths${black ? `; ${Math.round(100 * black)
        } % of it is not positive, and black after the ReLU` : ""}.`;
      const fillWith = (of, name) => {
        const values = valuesOf(part, of);
        const { table, range } = scaleOf(values, of,
          of === kind() && state.scale === "shared" ? most : 0);
        const [from, to] = range.map((value) => said(value, of));
        fill(large[of], { title: name, what, values, shape, range, table,
          said: [from, of === "features" ? to : `${to} millionths`], words: wordsOf(part, of) });
      };
      fillWith("features", `Feature map of ${channels} channels`);
      fillWith("map", `Map of ${state.show === "all" ? "all bands" : sensor.bands[asked()[0]]}`);
      const { canvas, scale } = large.supplement;
      paintInColour(canvas, found[part]);
      scale.replaceChildren("bands 5, 3, 1, each to its own range");
      canvas.setAttribute("aria-label", `As the supplement draws it: ${what}, maps of bands 5, 3, 1`);
      large.supplement.now = { what, shape, words: wordsInColour(part) };
      Object.assign(body.dataset, { part, top: extreme(map), three: three.map(extreme) });
    }

    // --- Controls ---------------------------------------------------------------------------

    function change(more) {
      Object.assign(state, more);
      return refresh();
    }
    function choose(part) {
      state.part = part;
      drawChosen();
    }
    const region = regionTools(Object.values(large), size, () => refresh());
    const patch = chooser("Patch", Object.keys(data.patches), state.patch,
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
    const more = fold("Another region, another reading",
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
