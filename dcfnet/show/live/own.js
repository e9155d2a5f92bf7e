// Your own pair: two GeoTIFFs are dropped on the page, checked, fused in tiles, shown and saved; all
// of it here. See own.py.
"use strict";
((root) => {
  const { element, quantiles, packed, natural, coloured, panel, runner, openPair, whole,
    writeGeotiff } = root.dcfnetPages;
  const VIEW = 256; // PAN pixels that are shown along each side

  function mount(body, data) {
    const { sensor } = data;
    const files = {};
    let [pair, fused, net, stop] = [null, null, null, null];

    // --- Files ---
    const said = element("p", { class: "dcf-words", role: "status" }, "Nothing leaves the machine: "
      + "files are read, fused and saved by this page alone.");
    const names = {};
    const fields = Object.entries({ ms: `MS, ${sensor.bands.length} bands`, pan: "PAN, one band" })
      .map(([key, words]) => {
        const input = element("input", { type: "file", accept: ".tif,.tiff,.TIF,.TIFF",
          "data-file": key, onchange: () => take({ [key]: input.files[0] }) });
        names[key] = element("span", { class: "dcf-words" });
        return element("label", { class: "dcf-choice" }, words, input, names[key]);
      });
    const drop = element("div", { class: "dcf-drop" },
      element("p", {}, "Drop both GeoTIFFs here, or choose them:"),
      element("div", { class: "dcf-controls" }, ...fields));
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      // Of two files the larger number of bytes for a pixel is not known yet: names, then sizes.
      const two = [...event.dataTransfer.files];
      if (two.length === 1) return take(files.ms && !files.pan ? { pan: two[0] } : { ms: two[0] });
      if (two.length !== 2) { said.textContent = "Expected two files, MS and PAN."; return undefined; }
      const first = /pan|p[12]as/i.test(two[0].name) && !/pan|p[12]as/i.test(two[1].name);
      return take({ ms: two[first ? 1 : 0], pan: two[first ? 0 : 1] });
    });

    async function take(more) {
      Object.assign(files, more);
      for (const key of ["ms", "pan"]) names[key].textContent = files[key]?.name ?? "";
      [pair, fused] = [null, null];
      save.hidden = true;
      draw();
      if (!files.ms || !files.pan) return;
      said.textContent = "Reading";
      try {
        if (!root.GeoTIFF) await root.dcfnetLive.script("live/geotiff.js");
        pair = await openPair(files.ms, files.pan, sensor);
        const [rows, cols] = pair.pan.shape;
        said.textContent = `The pair fits: ${rows} × ${cols} PAN pixels on common ground.`;
        body.dataset.pair = "fits";
        for (const [slider, size] of [[down, rows], [right, cols]]) {
          slider.max = Math.max(0, size - VIEW);
          slider.value = slider.max / 2;
        }
        draw();
        if (net) await fuse();
      } catch (error) {
        said.textContent = error.message;
        body.dataset.pair = "refused";
      }
    }

    // --- Fusing ---
    const bar = element("progress", { max: 1, value: 0, hidden: true, "aria-label": "Fused so far" });
    const end = element("button", { type: "button", hidden: true, onclick: () => stop?.abort() },
      "Stop");
    const save = element("button", { type: "button", hidden: true, class: "dcf-main",
      onclick: () => {
        const link = element("a", { href: URL.createObjectURL(result()), download: "fused.tif" });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      } }, "Save as GeoTIFF");
    const result = () => writeGeotiff(fused, pair);

    async function fuse() {
      if (!pair) { run.say("The network is here. Now choose two files."); return; }
      const began = performance.now();
      stop = new AbortController();
      bar.hidden = end.hidden = false;
      try {
        const made = await net.fuseWhole(pair.pan, pair.ms, { maximum: sensor.maximum,
          masks: { pan: pair.pan.mask, ms: pair.ms.mask }, signal: stop.signal,
          onProgress: ({ done, total }) => {
            bar.value = done / total;
            run.say(`Fused ${done} of ${total} tiles`);
          } });
        fused = whole(made, pair, sensor);
        save.hidden = false;
        run.say(`Fused in ${((performance.now() - began) / 1000).toFixed(1)} s.`);
        body.dataset.fused = "yes";
        draw();
      } catch (error) {
        run.say(error.name === "AbortError" ? "Stopped." : error.message);
      }
      bar.hidden = end.hidden = true;
    }
    const run = runner(data.networks, async (loaded) => {
      net = loaded;
      await fuse();
    });

    // --- Pictures ---
    const panels = Object.fromEntries(["MS", "PAN", "fused"].map((name) =>
      [name, panel(name, [VIEW, VIEW])]));
    const slider = (title) => element("input", { type: "range", min: 0, max: 0, step: 4,
      "aria-label": title, oninput: () => draw() });
    const [down, right] = [slider("First row shown"), slider("First column shown")];

    // The part of an image that is seen; `ratio` PAN pixels make one of its pixels.
    const seenOf = (image, ratio = 1) => root.dcfnetLive.cut(image, ...[down, right].map((it, axis) => {
      const start = 4 * Math.floor(Number(it.value) / 4);
      const stop = start + Math.min(VIEW, pair.pan.shape[axis]);
      return { start: start / ratio, stop: stop / ratio };
    }));
    function draw() {
      seen.hidden = !pair;
      if (!pair) return;
      const ms = seenOf(pair.ms, 4);
      const size = ms.shape[1] * ms.shape[2];
      const limits = sensor.bands.map((_, c) =>
        quantiles(ms.data.subarray(c * size, (c + 1) * size), [0.02, 0.98]));
      const drawn = { rgb: sensor.rgb, limits };
      natural(panels.MS.canvas, ms, drawn);
      const pan = seenOf(pair.pan);
      coloured(panels.PAN.canvas, pan.data, pan.shape, quantiles(pan.data, [0.02, 0.98]), GREYS);
      if (fused) natural(panels.fused.canvas, seenOf(fused), drawn);
    }
    const GREYS = Uint32Array.from({ length: 256 }, (_, i) => packed(i, i, i));

    Object.assign(body, { result }); // for tests
    const seen = element("div", { hidden: true },
      element("div", { class: "dcf-panels dcf-three-panels" },
        ...Object.values(panels).map(({ figure }) => figure)),
      element("div", { class: "dcf-place" }, element("span", {}, "Rows shown"), down,
        element("span", {}, "Columns shown"), right), save);
    body.append(drop, said, run.box, bar, end, seen);
  }

  root.dcfnetPages.kinds.own = mount;
})(window);
