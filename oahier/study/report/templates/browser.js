"use strict";
(function () {
  const data = JSON.parse(document.getElementById("browser-data").textContent);
  if (!data) return;
  // axes are right, anterior, superior: the slices' axis, the axis across and the axis upwards of each plane
  const PLANES = [
    { name: "sagittal", axis: 0, across: 1, up: 2, edges: ["A", "P", "S", "I"] },
    { name: "coronal", axis: 1, across: 0, up: 2, edges: ["R", "L", "S", "I"] },
    { name: "axial", axis: 2, across: 0, up: 1, edges: ["R", "L", "A", "P"] },
  ];
  const OUTLINE = "#25e0e0";
  const byId = (name) => document.getElementById("browser-" + name);
  const slider = byId("slice");
  const label = byId("label");
  const state = { knee: 0, plane: 0, method: data.methods[0].key };
  let drawn = 0;

  // A picture holds the sagittal slices as tiles; taken apart once and kept.
  const volumes = new Map();
  function load(picture) {
    if (!volumes.has(picture)) volumes.set(picture, decode(picture));
    return volumes.get(picture);
  }
  async function decode(picture) {
    const image = new Image();
    image.src = picture.source;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const [slices, rows, columns] = picture.shape;
    const values = new Uint8Array(slices * rows * columns);
    let place = 0;
    for (let slice = 0; slice < slices; slice += 1) {
      const top = Math.floor(slice / picture.across) * picture.tile[0];
      const left = (slice % picture.across) * picture.tile[1];
      for (let row = 0; row < rows; row += 1) {
        let from = 4 * ((top + row) * canvas.width + left);
        for (let column = 0; column < columns; column += 1, from += 4) values[place++] = pixels[from];
      }
    }
    return { values, shape: picture.shape, block: picture.block };
  }

  // One slice as rows from top to bottom: both axes run against their index (right at the left, superior up).
  function cut(volume, plane, index) {
    const { shape, block, values } = volume;
    const strides = [shape[1] * shape[2], shape[2], 1];
    const width = shape[plane.across];
    const height = shape[plane.up];
    const start = Math.min(shape[plane.axis] - 1, Math.floor(index / block[plane.axis])) * strides[plane.axis];
    const cutValues = new Uint8Array(width * height);
    let place = 0;
    for (let row = height - 1; row >= 0; row -= 1) {
      for (let column = width - 1; column >= 0; column -= 1) {
        cutValues[place++] = values[start + row * strides[plane.up] + column * strides[plane.across]];
      }
    }
    return { values: cutValues, width, height, cells: [block[plane.across], block[plane.up]] };
  }

  function painted(slice, colour) {
    const canvas = document.createElement("canvas");
    canvas.width = slice.width;
    canvas.height = slice.height;
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(slice.width, slice.height);
    slice.values.forEach((value, place) => pixels.data.set(colour(value), 4 * place));
    context.putImageData(pixels, 0, 0);
    return canvas;
  }
  const grey = Array.from({ length: 256 }, (_, value) => [value, value, value, 255]);
  const heat = Array.from({ length: data.levels + 1 }, (_, level) => {
    const share = level / data.levels;
    const up = Math.max(0, (share - 0.35) / 0.65);  // as saliency_figure.heat_colours
    const opacity = share < 0.2 ? 0 : 0.25 + 0.65 * Math.min(1, (share - 0.2) / 0.45);
    return [255, 0.1 + 0.9 * up, 0.72 - 0.52 * up, opacity].map((value, at) => (at ? Math.round(255 * value) : value));
  });

  // The last block of a volume may reach over its far border, which is at the left and at the top.
  function place(context, slice, image, size, plane) {
    const width = (context.canvas.width * slice.width * slice.cells[0]) / size[plane.across];
    const height = (context.canvas.height * slice.height * slice.cells[1]) / size[plane.up];
    context.drawImage(image, context.canvas.width - width, context.canvas.height - height, width, height);
  }

  function outline(context, slice, size, plane) {
    const { values, width, height, cells } = slice;
    const step = [
      (context.canvas.width * cells[0]) / size[plane.across],
      (context.canvas.height * cells[1]) / size[plane.up],
    ];
    const origin = [context.canvas.width - width * step[0], context.canvas.height - height * step[1]];
    const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] > 0;
    context.beginPath();
    for (let y = 0; y <= height; y += 1) {
      for (let x = 0; x <= width; x += 1) {
        const [left, top] = [origin[0] + x * step[0], origin[1] + y * step[1]];
        if (inside(x, y) !== inside(x - 1, y)) { context.moveTo(left, top); context.lineTo(left, top + step[1]); }
        if (inside(x, y) !== inside(x, y - 1)) { context.moveTo(left, top); context.lineTo(left + step[0], top); }
      }
    }
    context.strokeStyle = OUTLINE;
    context.lineWidth = Math.max(1, context.canvas.width / 300);
    context.stroke();
  }

  function letters(context, plane, message) {
    const { width, height } = context.canvas;
    const size = Math.max(12, Math.round(width / 20));
    context.fillStyle = "#ffffff";
    context.shadowColor = "#000000";
    context.shadowBlur = 4;
    context.font = "700 " + size + "px system-ui, sans-serif";
    const write = (text, x, y, align, baseline) => {
      context.textAlign = align;
      context.textBaseline = baseline;
      for (let times = 0; times < 3; times += 1) context.fillText(text, x, y);
    };
    const gap = Math.round(size / 3);
    write(plane.edges[0], gap, height / 2, "left", "middle");
    write(plane.edges[1], width - gap, height / 2, "right", "middle");
    write(plane.edges[2], width / 2, gap, "center", "top");
    write(plane.edges[3], width / 2, height - gap, "center", "bottom");
    if (message) write(message, width / 2, height - 2.2 * size, "center", "bottom");
  }

  function panels() {
    const container = byId("panels");
    const names = [{ name: "MRI", note: "" }].concat(data.conditions);
    container.replaceChildren(...names.map((item) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const title = document.createElement("strong");
      title.textContent = item.name;
      const note = document.createElement("span");
      note.className = "interval";
      note.textContent = item.note;
      caption.append(title, note);
      const canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      figure.append(caption, canvas);
      return figure;
    }));
  }

  async function draw() {
    const turn = ++drawn;
    const knee = data.knees[state.knee];
    const plane = PLANES[state.plane];
    const index = Number(slider.value);
    const total = knee.size[plane.axis];
    label.textContent = plane.name + " " + (index + 1) + " of " + total;
    slider.setAttribute("aria-valuetext", label.textContent);
    const maps = data.conditions.map((condition) => knee.maps[state.method][condition.name]);
    const [mri, cartilage, ...found] = await Promise.all([
      load(knee.mri), knee.cartilage ? load(knee.cartilage) : null,
      ...maps.map((map) => (map && map.source ? load(map) : null)),
    ]);
    if (turn !== drawn) return; // another slice was asked for meanwhile
    const ratio = (knee.size[plane.up] * knee.spacing[plane.up]) / (knee.size[plane.across] * knee.spacing[plane.across]);
    const mriSlice = cut(mri, plane, index);
    const image = painted(mriSlice, (value) => grey[value]);
    const edge = cartilage ? cut(cartilage, plane, index) : null;
    byId("panels").querySelectorAll("canvas").forEach((canvas, number) => {
      canvas.width = Math.round(Math.min(2, window.devicePixelRatio || 1) * Math.max(200, canvas.clientWidth || 260));
      canvas.height = Math.round(canvas.width * ratio);
      const context = canvas.getContext("2d");
      place(context, mriSlice, image, knee.size, plane);
      const map = number ? maps[number - 1] : null;
      let message = "";
      if (number && byId("overlay").checked) {
        if (found[number - 1]) {
          const slice = cut(found[number - 1], plane, index);
          place(context, slice, painted(slice, (value) => heat[Math.min(value, data.levels)]), knee.size, plane);
        } else {
          message = map && map.empty ? "no saliency" : "this head was not explained";
        }
      }
      if (edge && byId("outline").checked) outline(context, edge, knee.size, plane);
      letters(context, plane, message);
      const name = number ? data.conditions[number - 1].name : "MRI";
      canvas.setAttribute("aria-label", name + ", knee " + knee.name + ", " + label.textContent + (message ? ", " + message : ""));
    });
    byId("panels").dataset.drawn = String(turn);
  }

  function start() {
    const knee = data.knees[state.knee];
    const plane = PLANES[state.plane];
    slider.max = String(knee.size[plane.axis] - 1);
    slider.value = String(knee.start[plane.axis]);
    return draw();
  }

  panels();
  byId("knee").addEventListener("change", (event) => { state.knee = Number(event.target.value); start(); });
  byId("method").addEventListener("change", (event) => { state.method = event.target.value; draw(); });
  byId("controls").addEventListener("change", (event) => {
    if (event.target.name === "plane") { state.plane = Number(event.target.value); start(); }
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  slider.addEventListener("input", draw);
  byId("overlay").addEventListener("change", draw);
  byId("outline").addEventListener("change", draw);
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 150); });
  start();
})();
