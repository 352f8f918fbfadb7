"use strict";
(function () {
  const byId = (name) => document.getElementById("viewer-" + name);
  const data = JSON.parse(byId("data").textContent);
  const canvas = byId("canvas");
  const say = (text) => { byId("place").textContent = text; };
  const LAYERS = ["mri", "cartilage", "saliency"];
  const heatOpacity = Uint8Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) * (data.heat.length - 1), first = Math.floor(place);
    const [before, after] = [first, Math.min(first + 1, data.heat.length - 1)].map((index) => data.heat[index][3]);
    return before + (after - before) * (place - first);
  });
  let viewer = null;
  let shown = []; // names of the layers of the knee on the canvas, the MRI first
  let faded = null; // opacity of the saliency in each voxel: NiiVue draws a layer's colours either opaque or not at all

  async function library() {
    const bytes = Uint8Array.from(atob(byId("library").textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.type = "module"; // inline, so that nothing is fetched, not even from this file
    script.textContent = await new Response(stream).text() + "dispatchEvent(new Event('niivue'));";
    const ready = new Promise((resolve) => addEventListener("niivue", resolve, { once: true }));
    document.head.append(script);
    await ready;
    return globalThis.niivue;
  }

  function colours(cmapper) {
    const stops = data.heat.map((_, index) => Math.round((255 * index) / (data.heat.length - 1)));
    const of = (channel) => data.heat.map((colour) => colour[channel]);
    cmapper.addColormap("oahier-saliency", { R: of(0), G: of(1), B: of(2), A: of(3), I: stops });
    const [red, green, blue] = data.cartilage.map((level) => [level, level]);
    cmapper.addColormap("oahier-cartilage", { R: red, G: green, B: blue, A: [0, 255], I: [0, 255] });
  }

  async function show(again) {
    const knee = data.knees[byId("knee") ? byId("knee").value : 0];
    const map = knee.maps[byId("map").value] || knee.maps[0];
    const texts = { mri: knee.mri, cartilage: knee.cartilage, saliency: map ? map.volume : "" };
    shown = LAYERS.filter((name) => texts[name]);
    for (const name of LAYERS) byId(name).closest("label").hidden = !texts[name];
    const layer = (name, opacity) => globalThis.niivue.NVImage.loadFromBase64({
      base64: texts[name], name: name + ".nii.gz", colormap: name === "mri" ? "gray" : "oahier-" + name,
      opacity, cal_min: 0, cal_max: name === "cartilage" ? 1 : 255,
    });
    const made = await Promise.all(shown.map((name) => layer(name, Number(byId(name).value))));
    faded = shown.includes("saliency") ? await layer("saliency", 0) : null;
    while (viewer.volumes.length) viewer.removeVolume(viewer.volumes[viewer.volumes.length - 1]);
    for (const volume of made) viewer.addVolume(volume);
    if (faded) {
      faded.img = faded.img.map((level) => heatOpacity[level]);
      viewer.addVolume(faded);
      fade();
      viewer.setModulationImage(viewer.volumes[shown.indexOf("saliency")].id, faded.id, 1);
    }
    if (!again) viewer.scene.crosshairPos = viewer.mm2frac(knee.start);
    viewer.updateGLVolume();
    viewer.createOnLocationChange();
    canvas.dataset.drawn = Number(canvas.dataset.drawn || 0) + 1;
  }

  function fade() {
    faded.cal_max = 255 / Math.max(Number(byId("saliency").value), 0.001);
  }

  function setOpacity(name) {
    if (!shown.includes(name)) return;
    if (name === "saliency") fade();
    viewer.setOpacity(shown.indexOf(name), Number(byId(name).value));
  }

  function choose() {
    const maps = data.knees[byId("knee") ? byId("knee").value : 0].maps;
    const before = byId("map").selectedOptions[0]?.textContent;
    byId("map").replaceChildren(...maps.map(({ name }, index) => new Option(name, index, false, name === before)));
    return show(false);
  }

  function told({ mm, values }) {
    const [right, anterior, superior] = mm;
    const at = (name) => values[shown.indexOf(name)]?.value ?? 0;
    const parts = [`${right.toFixed(1)} mm right, ${anterior.toFixed(1)} anterior, ${superior.toFixed(1)} superior`];
    if (shown.includes("saliency")) parts.push(`saliency ${(at("saliency") / 255).toFixed(2)} of its maximum`);
    if (shown.includes("cartilage") && at("cartilage")) parts.push("in cartilage");
    say(parts.join("; "));
    viewer.scene.crosshairPos.forEach((share, axis) => { byId("axis-" + axis).value = share; });
  }

  function listen(types) {
    byId("view").addEventListener("change", (event) => viewer.setSliceType(types[event.target.value]));
    if (byId("knee")) byId("knee").addEventListener("change", choose);
    byId("map").addEventListener("change", () => show(true));
    for (const name of LAYERS) {
      byId(name).addEventListener("input", () => setOpacity(name));
    }
    for (const axis of [0, 1, 2]) {
      byId("axis-" + axis).addEventListener("input", (event) => {
        viewer.scene.crosshairPos[axis] = Number(event.target.value);
        viewer.drawScene();
        viewer.createOnLocationChange();
      });
    }
  }

  async function start() {
    if (!document.createElement("canvas").getContext("webgl2")) throw new Error("it has no WebGL 2");
    const { MULTIPLANAR_TYPE, Niivue, SHOW_RENDER, SLICE_TYPE, cmapper } = await library();
    colours(cmapper);
    viewer = new Niivue({
      backColor: [0, 0, 0, 1], clipPlaneHotKey: "none", crosshairColor: [0.9, 0.9, 0.9, 0.6], crosshairWidth: 0.4,
      crosshairWidthUnit: "mm", cycleClipPlaneHotKey: "none", dragAndDropEnabled: false,
      fontColor: [0.9, 0.9, 0.9, 1], isRadiologicalConvention: true, logLevel: "error", loadingText: "",
      multiplanarLayout: MULTIPLANAR_TYPE.GRID, multiplanarPadPixels: 4,
      multiplanarShowRender: SHOW_RENDER.ALWAYS, sagittalNoseLeft: true, scrollRequiresFocus: true,
      show3Dcrosshair: true, showAllOrientationMarkers: true, viewModeHotKey: "none",
    });
    viewer.onLocationChange = told;
    await viewer.attachToCanvas(canvas);
    listen(SLICE_TYPE);
    await choose();
  }

  start().catch((error) => {
    canvas.parentElement.hidden = true;
    for (const controls of document.querySelectorAll("#viewer .controls")) controls.hidden = true;
    say("This browser cannot show the viewer: " + error.message + ".");
    canvas.dataset.failed = error.message;
  });
})();
