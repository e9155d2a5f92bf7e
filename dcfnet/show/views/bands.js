// A scene's bands in colour, and the spectrum of the pixel that the reader points at. See bands.py.
"use strict";
((root) => {
  const { element, chooser, slider, ends, palettes, natural, fill, panel, mark, within, chart, together,
  } = root.dcfnetPages;
  const OWN = "own choice";

  function mount(body, { sensor, wavelengths, ms, pan, presets, colours }) {
    const [, rows, cols] = ms.shape;
    const tables = palettes(colours);
    const readout = element("p", { class: "dcf-words dcf-readout" },
      "Rest the pointer on PAN or on the spectrum to read values; choose a pixel of MS by a click.");
    const say = (words) => { readout.textContent = words; };
    const panels = [panel("MS", [rows, cols]), panel("PAN", [rows, cols], say)];
    const [photo, sharp] = panels;

    // Red, green and blue are chosen among the bands, by name or one by one.
    const preset = chooser("Composite", [...Object.keys(presets), OWN], OWN,
      (name) => compose(presets[name] ?? chosen()));
    const channels = ["Red", "Green", "Blue"].map((title) =>
      chooser(title, { ...sensor.bands }, 0, () => compose(chosen())));
    const chosen = () => channels.map(({ select }) => Number(select.value));
    function compose(rgb) {
      channels.forEach(({ select }, i) => { select.value = rgb[i]; });
      preset.select.value = Object.keys(presets).find((name) => presets[name].join() === rgb.join())
        ?? OWN;
      natural(photo.picture, ms, { rgb, limits: sensor.limits });
    }

    const palette = chooser("PAN's colour map", Object.keys(tables), "gray", drawPan);
    function drawPan() {
      const [low, high] = ends(pan.data);
      fill(sharp, { title: "PAN (digital numbers)", what: "PAN", values: pan.data,
        shape: pan.shape, range: [low, high], table: tables[palette.select.value],
        said: [low, high], words: (i) => `${pan.data[i]} digital numbers` });
    }

    const order = [...sensor.bands.keys()].sort((a, b) => wavelengths[a] - wavelengths[b]);
    const { svg, draw } = chart("Digital number against wavelength", ({ y }, i) =>
      `${sensor.bands[order[i]]}: ${y[i]} digital numbers`, say);
    const [row, column] = [["Row", rows], ["Column", cols]].map(([title, size]) =>
      slider(title, { min: 0, max: size - 1, value: Math.floor(size / 2) }, showSpectrum));
    function showSpectrum() {
      const [y, x] = [row, column].map(({ input }) => Number(input.value));
      const values = order.map((band) => ms.data[(band * rows + y) * cols + x]);
      draw({ x: { label: "wavelength (nm)" }, y: { label: "digital number", from: 0 }, lines: [{
        x: order.map((band) => wavelengths[band]), y: values, colour: "var(--dcf-accent)", dashes: "",
        dots: [...values.keys()] }] });
      const reach = rows / 32;
      const arc = `a${reach} ${reach} 0 1 0`;
      mark([photo], `M${x + 0.5 - reach} ${y + 0.5}${arc} ${2 * reach} 0${arc} ${-2 * reach} 0`
        + `h${2 * reach}m${-reach} ${-reach}v${2 * reach}`);
      Object.assign(body, { values }); // for tests
    }
    photo.picture.addEventListener("click", ({ clientX, clientY }) => {
      const { left, top, width, height } = photo.picture.getBoundingClientRect();
      row.set(within(Math.floor((rows * (clientY - top)) / height), rows - 1));
      column.set(within(Math.floor((cols * (clientX - left)) / width), cols - 1));
      showSpectrum();
    });

    compose(Object.values(presets)[0]);
    drawPan();
    body.append(element("div", { class: "dcf-controls" },
      ...[preset, ...channels, palette].map(({ label }) => label)),
    element("div", { class: "dcf-panels" }, ...panels.map(({ figure }) => figure)),
    element("div", { class: "dcf-controls" }, row.label, column.label), svg, readout);
    together(panels, [rows, cols]);
    showSpectrum();
  }

  root.dcfnetPages.kinds.bands = mount;
})(window);
