// A network's part and one of its maps, chosen in lists or in the drawing. See parts.py.
"use strict";
((root) => {
  const { element, chooser, ends, palettes, fill, panel, drawing, together } = root.dcfnetPages;

  function mount(body, { groups, parts, picture, size, colours, drawing: svg }) {
    const tables = palettes(colours);
    const readout = element("p", { class: "dcf-words dcf-readout" },
      "Rest the pointer on the map to read its values.");
    const panels = [panel("Feature map", size, (words) => { readout.textContent = words; }),
      panel("The image", size, null, "img")];
    panels[1].picture.src = picture;
    const part = chooser("Part", groups, Object.keys(parts)[0], draw);
    const which = chooser("Map", {}, "0", draw);
    const palette = chooser("Colour map", Object.keys(tables), "viridis", draw);
    const facts = element("div", { "aria-live": "polite" });
    const drawn = drawing(svg, (name) => {
      part.select.value = name;
      draw();
    });

    function draw() {
      const { maps, titles, facts: words } = parts[part.select.value];
      const value = which.select.value in titles ? which.select.value : 0;
      which.offer({ ...titles }, value);
      facts.innerHTML = words;
      drawn.choose(part.select.value);
      const { data, shape } = maps[value];
      const [low, high] = ends(data);
      fill(panels[0], { title: "Feature map", what: titles[value], values: data, shape,
        range: [low, high], table: tables[palette.select.value],
        said: [low, high].map((end) => end.toPrecision(3)), words: (i) => data[i].toPrecision(4) });
    }

    draw();
    body.append(element("div", { class: "dcf-controls" },
      ...[part, which, palette].map(({ label }) => label)), facts,
    element("div", { class: "dcf-beside" },
      element("div", {}, ...panels.map(({ figure }) => figure), readout), drawn.box));
    together(panels, size);
  }

  root.dcfnetPages.kinds.parts = mount;
})(window);
