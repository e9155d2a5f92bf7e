// Pictures of which the reader chooses, in panels that move and zoom together. See pictures.py.
"use strict";
((root) => {
  const { element, chooser, palettes, panel, scaled, together } = root.dcfnetPages;

  function mount(body, { controls, panels, pictures, size, open, narrow, scale }) {
    const choosers = controls.map(({ title, options, value }) =>
      chooser(title, { ...options }, value, draw));
    const shown = panels.map(({ title }) => panel(title, size, null, "img"));

    // Each panel shows one of its pictures, by the controls that it follows, in row-major order.
    function draw() {
      panels.forEach(({ title, from, follows }, i) => {
        const at = follows.reduce((sum, k) =>
          sum * controls[k].options.length + Number(choosers[k].select.value), 0);
        const words = follows.map((k) => choosers[k].select.selectedOptions[0].label);
        const { picture } = shown[i];
        picture.src = pictures[from][at];
        picture.alt = [title, ...words].join(", ");
      });
    }

    draw();
    body.append(element("div", { class: "dcf-controls" }, ...choosers.map(({ label }) => label)),
      element("div", { class: `dcf-panels ${narrow ? "" : "dcf-three-panels"}` },
        ...shown.map(({ figure }) => figure)),
      together(shown, size, open));
    if (scale) {
      const bar = element("div", { class: "dcf-scale" });
      scaled(bar, palettes(scale.colours).magma, "Error: 0", scale.most);
      body.append(bar);
    }
  }

  root.dcfnetPages.kinds.pictures = mount;
})(window);
