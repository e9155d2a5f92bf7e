// Class activation maps to choose from (cams.py): which map, in which colours, and what it says.
// The page carries all its maps in the store; in JupyterLab the kernel puts there what is asked for.
((views) => {
  // Three digits, as HTML.
  function number(value) {
    const sign = (it) => String(it).replace("-", "−");
    const size = Math.abs(value);
    if (size === 0 || (size >= 1e-3 && size < 1e5)) return sign(+value.toPrecision(3));
    const [digits, power] = value.toExponential(2).split("e").map(Number);
    return `${sign(digits)} × 10<sup>${sign(power)}</sup>`;
  }

  // What the controls ask for: the name of a map in the store, and of those it is compared with.
  function wanted({ patch, part, band, region, kind, sharing, edges, rows, columns, parts }) {
    const count = (band.labels ?? band.options).length;
    const pressed = band.labels ? [...band.active].sort((a, b) => a - b) : [Number(band.value)];
    const bands = pressed.length ? pressed : [0];
    const [p, r] = [Number(patch.value), Number(region.value)];
    const box = edges[r]?.[p] ?? [...rows.value, ...columns.value].map(Math.round);
    const stored = kind.value === "after" ? "signed" : kind.value;
    const key = (name, bands) => JSON.stringify([
      p, parts.indexOf(name), stored, ...(stored === "feature" ? [] : [bands, box]),
    ]);
    const shown = key(part.value, bands);
    // A sum of bands is compared with the single bands as it is, not with other sums.
    const shared = (what) => [what, "all"].includes(sharing.value);
    const singles = shared("bands") ? Array.from({ length: count }, (_, i) => [i]) : [];
    const compared = (shared("parts") ? parts : [part.value])
      .flatMap((name) => [bands, ...singles].map((some) => key(name, some)));
    const empty = box[0] >= box[1] || box[2] >= box[3];
    return { keys: [...new Set([shown, ...compared])], box, empty };
  }

  function showCam(args) {
    const { store, asked, pictures, picture, outline, patch, part, band, region, look } = args;
    const { kind, colours, palettes, signed, parts, facts, words } = args;
    const { keys, box: [top, bottom, left, right], empty } = wanted(args);
    if (empty) return;
    const stored = store.data.keys[0];
    // The kernel's answer has the values of its first map alone.
    if ((asked && stored[0] !== keys[0]) || !keys.every((key) => stored.includes(key))) {
      if (asked.data.keys.join() !== keys.join()) asked.data = { keys };
      return;
    }
    const map = views.pick(store, keys[0]);
    const rectified = kind.value === "after" || kind.value === "before";
    const { low, high } = store.data;
    const range = keys.map((key) => stored.indexOf(key));
    let least = rectified ? 0 : Math.min(0, ...range.map((i) => low[0][i]));
    let most = Math.max(0, ...range.map((i) => high[0][i]));
    if (kind.value === "signed") {
      most = Math.max(most, -least);
      least = -most;
    }
    if (most <= least) most = least + 1;
    const values = rectified ? map.values.map((value) => Math.max(value, 0)) : map.values;
    const chosen = palettes[colours.options.indexOf(colours.value)];
    const palette = kind.value === "signed" ? signed : chosen;
    views.drawMap(args, { ...map, values, low: least, high: most }, palette);

    outline.data = { left: [left], right: [right], top: [top], bottom: [bottom] };
    const image = Number(patch.value) * look.options.length + Number(look.value);
    views.showColours({
      store: pictures, source: picture, bands: [0, 1, 2].map((i) => 3 * image + i),
    });
    band.disabled = region.disabled = kind.value === "feature";
    const [lowest, greatest] = [Math.min, Math.max].map(
      (better) => number(values.reduce((a, b) => better(a, b))));
    words.text = `${facts[parts.indexOf(part.value)]} The map runs from ${lowest} to ${greatest}.`;
  }

  // The box that the reader draws on an image, or sets with the sliders.
  function ownBox(args, { geometry, final, origin: plot }) {
    const { region, rows, columns } = args;
    if (geometry) {
      if (!final || geometry.type !== "rect") return;
      const span = (one, other, { reset_start, reset_end }) => {
        const [first, end] = [reset_start, reset_end].sort((a, b) => a - b);
        const inside = (at) => Math.max(first, Math.min(end, at));
        return [Math.floor(inside(Math.min(one, other))), Math.ceil(inside(Math.max(one, other)))];
      };
      rows.value = span(geometry.y0, geometry.y1, plot.y_range);
      columns.value = span(geometry.x0, geometry.x1, plot.x_range);
    }
    region.value = region.options.at(-1)[0];
    showCam(args);
  }

  Object.assign(views, { showCam, ownBox });
})((window.dcfnetViews ??= {}));
