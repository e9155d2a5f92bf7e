// Colour images that the reader puts together, parts or turns over (composites.py, results.py).
((views) => {
  // Red, green and blue are chosen among the bands, by name or one by one.
  function chooseBands({ store, source, channels, preset, presets }, changed) {
    const names = preset.options;
    if (changed === preset) {
      const bands = presets[names.indexOf(preset.value)] ?? [];
      bands.forEach((band, i) => { channels[i].value = String(band); });
      return;
    }
    const bands = channels.map((channel) => Number(channel.value));
    views.showColours({ store, source, bands });
    const found = presets.findIndex((each) => each.join() === bands.join());
    preset.value = names.at(found);  // the last of them is the reader's own choice
  }

  // Two images over each other: the first up to a curtain, or mixed with the second.
  function compare({ store, source, mode, amount, glyph, edge }) {
    const share = amount.value / 100;
    const curtain = mode.value === "curtain";
    const width = store.data.cube[0].shape[2];
    const column = Math.round(width * share);
    views.showColours({ store, source, bands: [0, 1, 2], columns: curtain ? column : width });
    glyph.global_alpha = curtain ? 1 : share;
    edge.visible = curtain;
    edge.glyph.x = { value: column };
  }

  // Which of the images the controls choose, their axes in row-major order.
  const chosen = (selects) =>
    selects.reduce((sum, { options, value }) => sum * options.length + Number(value), 0);

  const escaped = (text) => Object.assign(document.createElement("p"), { textContent: text }).innerHTML;

  // One of the images of a store: addresses, or three bands of a cube for each. The heading, if one
  // is given, says which.
  function showImage({ store, source, selects, heading }) {
    const index = chosen(selects);
    if (heading) heading.text = escaped(selects[0].options[index][1]);
    if (store.data.url) source.data = { url: [store.data.url[index]] };
    else views.showColours({ store, source, bands: [0, 1, 2].map((i) => 3 * index + i) });
  }

  Object.assign(views, { chooseBands, compare, showImage });
})((window.dcfnetViews ??= {}));
