// A network's part and one of its maps, chosen in lists (parts.py) or in the drawing (view.js).
((views) => {
  function showPart({ part, which, names, options, facts, words, ...panel }) {
    const i = names.indexOf(part.value);
    const value = which.value < options[i].length ? which.value : "0";
    which.setv({ options: options[i], value });
    words.text = facts[i];
    views.showMap({ ...panel, key: `${part.value} ${value}` });
  }

  Object.assign(views, { showPart });
})((window.dcfnetViews ??= {}));
