// Taking DCFNet apart: a patch, a region, bands, a part, and gates that close. See apart.py.
"use strict";
((root) => {
  const { element, chooser, buttons, fold, quantile, palettes, natural, fill, runner, latest, busily,
    ergas, errorOf, regionTools } = root.dcfnetPages;

  // --- The piece ------------------------------------------------------------------------------

  function mount(body, data, live) {
    const { sensor, patches, discoveries } = data;
    const tables = palettes(data.colours);
    const state = { patch: data.where, part: data.first, band: `${sensor.rgb[0]}`,
      pan: "as it is", ms: "as it is", gates: {}, error: "error", relu: "after" };
    const size = patches[data.where].lms.shape.slice(1);
    let [net, network, fused, plain] = [null, "", data.shown.fused, null];
    let found = { part: state.part, shape: data.shown.shape, ...Object.fromEntries(
      Object.entries(data.shown.maps).map(([key, map]) => [key, map.data])) };

    // Panels: fused, error, features, map.
    const readout = element("p", { class: "dcf-words dcf-readout" },
      "Rest the pointer on a picture to read its values.");
    const panel = (title) => root.dcfnetPages.panel(title, size, (words) => {
      readout.textContent = words;
    });
    const errors = buttons("Shown here", { error: "the error", growth: "its growth" }, "error",
      (value) => { state.error = value; draw(); });
    const panels = {
      fused: panel("Fused image"),
      error: panel("Error"),
      features: panel("Feature map"),
      map: panel("Class activation map"),
    };

    panels.error.figure.append(errors.group);
    const region = regionTools(Object.values(panels), size, () => refresh());

    // Controls.
    const chosen = {
      patch: chooser("Patch", Object.keys(patches), state.patch,
        (value) => change({ patch: value })),
      part: chooser("Part", data.parts, state.part, (value) => change({ part: value })),
      band: chooser("Band", { ...Object.fromEntries(sensor.bands.map((band, i) =>
        [`${i}`, `${i + 1} ${band}`])), all: "all, summed" }, state.band,
        (value) => change({ band: value })),
      pan: chooser("PAN", data.pan, state.pan, (value) => change({ pan: value })),
      ms: chooser("MS, for the PCFTs", data.ms, state.ms, (value) => change({ ms: value })),
      relu: chooser("Map", { after: "ReLU after the sum (Eq. 2)", before: "ReLU before the sum",
        signed: "signed, without ReLU" }, state.relu,
        (value) => { state.relu = value; draw(); }),
    };

    const gates = {};
    function gate(name, words) {
      const box = element("input", { type: "checkbox", "data-gate": name, onchange: () => {
        const now = { ...state.gates };
        if (box.checked) delete now[name]; else now[name] = 0;
        change({ gates: now });
      } });
      box.checked = true;
      gates[name] = box;
      return element("label", {}, box, ` ${words}`);
    }
    function gateTable(stage, branches) {
      const range = [...Array(branches).keys()];
      return element("table", { class: "dcf-gates" },
        element("caption", {}, `Fusion of stage ${stage}: open transfers`),
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "to \\ from"),
          ...range.map((j) => element("th", { scope: "col" }, `branch ${j}`)))),
        element("tbody", {}, ...range.map((i) => element("tr", {},
          element("th", { scope: "row" }, `branch ${i}`), ...range.map((j) => element("td", {},
            gate(`stage${stage}.fusion.transfers.${j}_to_${i}`, `T${i}${j}`)))))));
    }
    const passes = element("div", { class: "dcf-passes" }, gateTable(3, 3), gateTable(2, 2),
      element("fieldset", {}, element("legend", {}, "Open PCFTs"), gate("pcft1", "first"),
        gate("pcft2", "second")));

    // --- Answers ---
    const numbers = element("p", { class: "dcf-numbers", role: "status" });
    const alphas = element("canvas", { role: "img", class: "dcf-alphas" });
    const alphaWords = element("figcaption", {}, "Weights alpha of the part's channels");
    let stale = true; // whether the network has to fuse anew

    function change(more) {
      if (Object.keys(more).some((key) => key !== "part" && key !== "band")) stale = true;
      if ("patch" in more && more.patch !== state.patch) plain = null;
      Object.assign(state, more);
      for (const [key, { select }] of Object.entries(chosen)) select.value = state[key];
      for (const [name, box] of Object.entries(gates)) box.checked = !(name in state.gates);
      markPart();
      return refresh();
    }

    const refresh = latest(async () => {
      if (!net) {
        run.say("Load the network: it answers then.");
        return draw();
      }
      const { pan, ms, lms } = patches[state.patch];
      await busily(body, run, async () => {
        const options = { maximum: sensor.maximum };
        if (plain === null) {
          plain = await net.fuse(pan["as it is"], ms["as it is"], lms, options);
          stale = true;
        }
        if (stale) {
          stale = false;
          fused = await net.fuse(pan[state.pan], ms[state.ms], lms, { ...options, gates: state.gates });
        }
        const bands = state.band === "all" ? [...sensor.bands.keys()] : [Number(state.band)];
        const answer = await net.maps(bands, region.mask, [state.part]);
        found = { ...answer.layers[state.part], part: state.part,
          seconds: [fused.seconds, answer.seconds] };
      });
      return draw();
    });

    const isAltered = () => state.pan !== "as it is" || state.ms !== "as it is"
      || Object.keys(state.gates).length > 0;

    // Takes from panels what they have shown of something else.
    function empty(...names) {
      for (const name of names) {
        const { canvas, scale } = panels[name];
        canvas.width = canvas.width;
        scale.replaceChildren();
        panels[name].now = null;
      }
    }

    function draw() {
      const images = patches[state.patch];
      const pixels = size[0] * size[1];
      if (!net && (state.patch !== data.where || isAltered())) {
        empty(...Object.keys(panels));
        natural(panels.fused.canvas, images.lms, sensor);
        panels.fused.caption.textContent = "MS, interpolated (load the network to fuse it)";
        numbers.textContent = "";
        return;
      }
      natural(panels.fused.canvas, fused, sensor);
      panels.fused.caption.textContent = "Fused image";
      panels.fused.now = { what: "Fused image", shape: size, words: (i) => sensor.rgb.map((band) =>
        `${sensor.bands[band]} ${Math.round(fused.data[band * pixels + i])}`).join(", ")
        + " digital numbers" };

      const base = plain ?? fused;
      const before = errorOf(images.gt, base), now = errorOf(images.gt, fused);
      const grows = state.error === "growth";
      const values = grows ? now.map((value, i) => value - before[i]) : now;
      const most = Math.max(1, Math.ceil(quantile((grows ? values : before).map(Math.abs), 0.99)));
      fill(panels.error, { title: grows ? "Growth of the error" : "Error (rms over bands)", values,
        shape: size, range: [grows ? -most : 0, most], table: tables[grows ? "RdBu_r" : "magma"],
        said: grows ? [`−${most}`, `+${most} DN`] : ["0", `${most} DN`],
        words: (i) => `${values[i].toFixed(1)} digital numbers` });
      const [was, is] = [ergas(images.gt, base), ergas(images.gt, fused)];
      numbers.textContent = isAltered()
        ? `ERGAS ${is.toFixed(3)}; the network as it is: ${was.toFixed(3)} (${is >= was ? "+" : "−"
        }${Math.abs(100 * (is / was - 1)).toFixed(1)} %).`
        : `ERGAS ${is.toFixed(3)} (0 is best).`;
      Object.assign(body.dataset, { ergas: is, before: was });
      const differs = state.part !== data.first || state.band !== `${sensor.rgb[0]}` || region.mask;
      if (net || !differs) drawPart();
      else empty("features", "map");
    }

    function drawPart() {
      const [channels, rows, cols] = found.shape;
      const label = data.parts[found.part];
      const [low, high] = [0.005, 0.995].map((share) => quantile(found.features, share));
      const { features } = found;
      fill(panels.features, { title: `Feature map: mean of ${channels} channels`, what: label,
        values: features, shape: [rows, cols], range: [low, high], table: tables.viridis,
        said: [low.toPrecision(2), high.toPrecision(2)],
        words: (i) => `${features[i].toPrecision(3)}, mean over channels` });

      const values = found[state.relu];
      const most = Math.max(1e-12, quantile(values.map(Math.abs), 0.995));
      const signed = state.relu === "signed";
      const end = most > 1e-12 ? (1e6 * most).toPrecision(2) : "0";
      fill(panels.map, { title: `Class activation map, ${rows} × ${cols}`, what: label, values,
        shape: [rows, cols], range: [signed ? -most : 0, most],
        table: tables[signed ? "RdBu_r" : "magma"],
        said: [signed ? `−${end}` : "0", `${end} millionths`],
        words: (i) => `${(1e6 * values[i]).toPrecision(3)} millionths` });
      drawAlphas(channels, label);
      drawInside(values, rows, cols);
    }

    function drawAlphas(channels, label) {
      const sorted = Float32Array.from(found.alpha).sort().reverse();
      const most = Math.max(Math.abs(sorted[0]), Math.abs(sorted.at(-1)), 1e-12);
      const [height, wide] = [60, 4];
      alphas.width = channels * wide;
      alphas.height = 2 * height;
      const context = alphas.getContext("2d");
      sorted.forEach((value, i) => {
        context.fillStyle = value > 0 ? "#c2410c" : "#2563eb";
        const tall = (height * value) / most;
        context.fillRect(i * wide, height - Math.max(tall, 0), wide - 1, Math.abs(tall));
      });
      const up = sorted.filter((value) => value > 0).length;
      const words = `Weights alpha of ${channels} channels, largest first: ${up} raise the region's `
        + `mean, ${channels - up} do not; the largest is ${(1e6 * most).toPrecision(2)} millionths.`;
      alphaWords.textContent = words;
      alphas.setAttribute("aria-label", `${label}. ${words}`);
    }

    // The share of a map at full size that lies in the region.
    function drawInside(values, rows, cols) {
      delete body.dataset.inside;
      const { mask } = region;
      if (!mask || rows !== size[0] || cols !== size[1] || state.relu === "signed") return;
      const sum = (keep) => values.reduce((a, value, i) => (keep(i) ? a + value : a), 0);
      const inside = 100 * sum((i) => mask[i]) / sum(() => true);
      body.dataset.inside = inside;
      numbers.textContent += ` ${inside.toFixed(0)} % of the map lies in the region.`;
    }

    // --- The drawing ---
    const drawing = element("div", { class: "dcf-drawing-box" });
    drawing.innerHTML = data.drawing;
    drawing.querySelector("svg")?.setAttribute("aria-hidden", "true"); // the list says the same
    drawing.addEventListener("click", (event) => {
      const part = event.target.closest("[data-part]");
      if (part) change({ part: part.dataset.part });
    });
    function markPart() {
      for (const part of drawing.querySelectorAll("[data-part]"))
        part.classList.toggle("chosen", part.dataset.part === state.part);
    }

    // --- Discoveries: a question, then the controls are set, then what one should have seen ---
    const asked = element("p", { class: "dcf-asked" }, "Each of these asks a question first.");
    const told = element("p", { class: "dcf-told", role: "status" });
    const look = element("button", { type: "button", class: "dcf-look", hidden: true, disabled: true },
      "Look (load the network first)");
    const chips = buttons("Three things to find", Object.fromEntries(discoveries.map(({ title }, i) =>
      [`${i}`, `${i + 1}. ${title}`])), "", (i) => {
      asked.textContent = discoveries[i].question;
      told.textContent = "";
      look.hidden = false;
      look.onclick = () => setUp(discoveries[i]);
    });
    async function setUp({ set, told: sentences }) {
      passFold.open = passFold.open || "gates" in set || "ms" in set;
      state.error = set.error ?? "error";
      errors.press(state.error);
      region.set(set.box ?? null);
      await change({ patch: set.patch, part: set.part, band: `${set.band ?? sensor.rgb[0]}`,
        pan: "as it is", ms: set.ms ?? "as it is", gates: { ...set.gates }, relu: "after" });
      told.textContent = sentences[network];
    }

    // --- The whole ---
    const run = runner(data.networks, async (loaded, name) => {
      [net, network, plain, stale] = [loaded, name, null, true];
      look.disabled = false;
      look.textContent = "Look";
      told.textContent = "";
      await refresh();
      run.say(`${data.sizes[name]}: fused in ${found.seconds[0].toFixed(2)} s, a map in ${
        found.seconds[1].toFixed(2)} s.`);
    }, live);
    const passFold = fold("Change what enters and what passes",
      element("div", { class: "dcf-controls" }, chosen.pan.label, chosen.ms.label), passes,
      element("button", { type: "button",
        onclick: () => change({ pan: "as it is", ms: "as it is", gates: {} }) }, "All as it is"));
    const mapFold = fold("How the map is made, and its weights",
      element("div", { class: "dcf-controls" }, chosen.relu.label),
      element("figure", {}, alphaWords, alphas));
    const drawFold = fold("Choose the part in a drawing of the network", drawing);
    body.append(run.box,
      element("div", { class: "dcf-find" }, chips.group, asked, look, told),
      element("div", { class: "dcf-controls" }, chosen.patch.label, chosen.part.label,
        chosen.band.label),
      region.group, region.hint,
      element("div", { class: "dcf-panels" }, ...Object.values(panels).map((it) => it.figure)),
      numbers, readout, passFold, mapFold, drawFold);
    markPart();
    draw();
  }

  root.dcfnetPages.kinds.apart = mount;
})(window);
