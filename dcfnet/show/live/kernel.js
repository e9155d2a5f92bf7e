// The network of a piece of a page in JupyterLab: the kernel, asked by messages. See kernel.py.
async function render({ model, el }) {
  const waiting = new Map(); // questions that the kernel has not answered
  let asked = 0;

  model.on("msg:custom", ({ id, error, ...answer }, buffers) => {
    const { answered, failed, began } = waiting.get(id) ?? {};
    if (!waiting.delete(id)) return; // of this piece in another view of the notebook
    const arrays = buffers.map(({ buffer, byteOffset, byteLength }) =>
      new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)));
    if (error) failed(new Error(error));
    else answered({ ...answer, arrays, seconds: (performance.now() - began) / 1000 });
  });

  const ask = (command, question, arrays) => new Promise((answered, failed) => {
    waiting.set(++asked, { answered, failed, began: performance.now() });
    model.send({ id: asked, command, ...question }, undefined, arrays.map(({ buffer }) => buffer));
  });

  // As engine.js has it.
  const network = (name) => {
    let size = null;
    let bands = 0;
    async function fuse(pan, ms, lms, { gates = {}, maximum = 2047 } = {}) {
      const images = [pan, ms, lms];
      const { shape, arrays: [data], seconds } = await ask("fuse",
        { network: name, gates, maximum, shapes: images.map((it) => it.shape) },
        images.map((it) => Float32Array.from(it.data)));
      [bands, ...size] = shape;
      return { data, shape, seconds };
    }
    async function maps(which, mask, layers) {
      const weights = Array.from({ length: bands }, (_, band) => Number(which.includes(band)));
      const { shapes, arrays, seconds } = await ask("maps", { weights, size, layers },
        mask ? [mask] : []);
      const found = Object.fromEntries(layers.map((layer, i) => {
        const [features, signed, before, alpha] = arrays.slice(4 * i, 4 * i + 4);
        const after = signed.map((value) => Math.max(value, 0));
        return [layer, { shape: shapes[layer], features, signed, before, alpha, after }];
      }));
      return { layers: found, seconds };
    }
    return { fuse, maps };
  };

  el.innerHTML = model.get("html");
  await window.dcfnetPages.mount(el.querySelector(".dcf-live"), { place: "in the kernel",
    unsupported: () => "", megabytes: () => 0, load: async (name) => network(name) });
}

export default { render };
