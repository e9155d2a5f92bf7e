// The first page: coarse colours left of a curtain, the fused image right of it. See curtain.py.
"use strict";
((root) => {
  const { MOVES, element, buttons, capture, within, natural, runner } = root.dcfnetPages;
  const NAMES = ["branch 0, full resolution", "branch 1, half", "branch 2, a quarter"];

  function mount(body, data) {
    const { sensor, words, branches, colours } = data;
    const [, rows, cols] = branches.shape;
    const coarse = element("img", { class: "dcf-coarse", src: data.coarse, draggable: "false",
      alt: "The colours as the satellite took them, in pixels four times as large as PAN's." });
    const fine = element("img", { src: data.pictures.DCFNet, alt: words.DCFNet,
      draggable: "false" });
    const live = element("canvas", { role: "img", hidden: true,
      "aria-label": "The image that the network fused here just now" });
    const line = element("div", { class: "dcf-line" });
    const mark = element("div", { class: "dcf-mark", hidden: true });
    const stage = element("div", { class: "dcf-curtain" }, fine, live, coarse, line, mark);
    const slider = element("input", { type: "range", min: 0, max: 100, value: 50, "aria-label":
      "Curtain: share of the picture that shows coarse colours, in per cent",
      oninput: () => draw(Number(slider.value)) });
    const said = element("p", { class: "dcf-words", role: "status" }, words.DCFNet);

    function draw(share) {
      coarse.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
      line.style.left = `${share}%`;
      slider.value = share;
    }
    const chips = buttons("Right of the curtain", Object.keys(data.pictures), "DCFNet", show);
    function show(name) {
      live.hidden = name !== "here";
      fine.hidden = name === "here";
      if (name !== "here") fine.src = data.pictures[name];
      fine.classList.toggle("dcf-large-pixels", name === "error");
      fine.alt = words[name] ?? "";
      said.textContent = words[name];
      chips.press(name);
    }

    // A drag moves the curtain; a click asks which branch made a place sharp.
    let began = null;
    const shareAt = (event) => {
      const box = stage.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
        .map((part) => within(part, 0.9999));
    };
    stage.addEventListener("pointerdown", (event) => {
      began = event.clientX;
      capture(stage, event);
    });
    stage.addEventListener("pointermove", (event) => {
      if (began !== null && Math.abs(event.clientX - began) > 4) began = -1e6;
      if (began === -1e6) draw(100 * shareAt(event)[0]);
    });
    stage.addEventListener("pointerup", (event) => {
      if (began !== null && began !== -1e6) ask(...shareAt(event));
      began = null;
    });
    stage.addEventListener("pointercancel", () => { began = null; });
    stage.addEventListener("keydown", (event) => {
      if (!(event.key in MOVES)) return;
      const [dy, dx] = MOVES[event.key];
      ask(within(place[0] + dx / cols, 0.9999), within(place[1] + dy / rows, 0.9999));
      event.preventDefault();
    });
    stage.setAttribute("tabindex", "0");
    stage.setAttribute("role", "group");
    stage.setAttribute("aria-label", "The picture. Arrow keys choose a place to ask about.");

    // Three branches, and ribbons as wide as what each adds at a place.
    let place = [0.5, 0.5];
    const diagram = element("svg", { viewBox: "0 0 430 110", role: "img", class: "dcf-three" });
    const answer = element("p", { class: "dcf-told", role: "status" }, "Click on a car or a roof: "
      + "which of the three branches made it sharp?");
    const more = element("a", { href: data.chapter, hidden: true }, "How branches meet");
    function ribbons(values) {
      const most = Math.max(...values, 1e-9);
      const wide = values.map((value) => Math.max(0.8, (30 * value) / most));
      let y = 55 - wide.reduce((a, b) => a + b, 0) / 2;
      diagram.innerHTML = values.map((value, i) => {
        const from = 20 + 35 * i, to = y + wide[i] / 2;
        y += wide[i];
        const side = [24, 17, 12][i];
        return `<path d="M190 ${from}C250 ${from} 265 ${to} 325 ${to}" stroke="${colours[i]}"`
          + ` stroke-width="${wide[i]}" fill="none" opacity="0.75"/>`
          + `<rect x="${190 - side}" y="${from - side / 2}" width="${side}" height="${side}"`
          + ` fill="${colours[i]}"/><text x="160" y="${from + 4}" text-anchor="end">${NAMES[i]
          }</text>`;
      }).join("") + '<text x="331" y="59">the image</text>';
    }
    function ask(x, y) {
      place = [x, y];
      const at = Math.floor(y * rows) * cols + Math.floor(x * cols);
      const values = NAMES.map((_, i) => branches.data[i * rows * cols + at]);
      const best = values.indexOf(Math.max(...values));
      mark.hidden = false;
      mark.style.left = `${(100 * (Math.floor(x * cols) + 0.5)) / cols}%`;
      mark.style.top = `${(100 * (Math.floor(y * rows) + 0.5)) / rows}%`;
      ribbons(values);
      answer.textContent = `Most here comes by ${NAMES[best]}. If a branch hands nothing on at the `
        + `last fusion, this place changes by ${values.map((value) => value.toFixed(0)).join(", ")
        } digital numbers (branches 0, 1, 2). `;
      diagram.setAttribute("aria-label", answer.textContent);
      more.hidden = false;
    }

    const run = runner(data.networks, async (net, name) => {
      const began_ = performance.now();
      const fused = await net.fuseWhole(data.pan, data.ms, { maximum: sensor.maximum,
        onProgress: ({ done, total }) => run.say(`Fusing: ${done} of ${total} tiles`) });
      natural(live, fused, sensor);
      const seconds = ((performance.now() - began_) / 1000).toFixed(1);
      words.here = `Right: fused in this page just now, in ${seconds} s, by a network of ${
        name === "paper" ? "the paper's width" : "quarter width"}. Left: the `
        + "colours as the satellite took them.";
      if (!chips.group.querySelector("[data-key=here]")) chips.add("here", "DCFNet, run here");
      show("here");
      run.say("");
      body.dataset.fused = fused.data.reduce((a, b) => a + b, 0) / fused.data.length;
    });

    ribbons([1, 1, 1]);
    diagram.setAttribute("aria-label", "Three branches lead to the image.");
    draw(50);
    body.append(stage, slider, chips.group, said, diagram, answer, more, run.box);
  }

  root.dcfnetPages.kinds.curtain = mount;
})(window);
