// Two images over each other, parted by a curtain or blended. See pictures.py.
"use strict";
((root) => {
  const { element, chooser, slider, panel, together } = root.dcfnetPages;

  function mount(body, { title, labels, pictures, size, amount, open }) {
    const made = panel(title, size, null, "img");
    const [above, below] = [element("img", { class: "dcf-above", draggable: "false" }), made.picture];
    const line = element("div", { class: "dcf-line" });
    [above, below].forEach((image, i) => {
      image.src = pictures[i];
      image.alt = labels[i];
    });
    made.layer.append(above, line);
    const mode = chooser("Compare by", ["curtain", "blend"], "curtain", draw);
    const share = slider(`${labels[0]} (%)`, { min: 0, max: 100, value: amount }, draw);
    function draw() {
      const { value } = share.input;
      line.hidden = mode.select.value === "blend";
      above.style.clipPath = line.hidden ? "none" : `inset(0 ${100 - value}% 0 0)`;
      above.style.opacity = line.hidden ? value / 100 : 1;
      line.style.left = `${value}%`;
    }
    draw();
    body.append(element("div", { class: "dcf-controls" }, mode.label, share.label), made.figure,
      together([made], size, open));
  }

  root.dcfnetPages.kinds.comparison = mount;
})(window);
