"use strict";
(function () {
  const dataOf = (id) => JSON.parse(document.getElementById(id).textContent);
  const charts = dataOf("chart-data");
  const STAND_INS = { "#010101": "ink", "#020202": "muted", "#030303": "surface" };

  function themed(value, colours) {
    if (typeof value === "string") return value in STAND_INS ? colours[STAND_INS[value]] : value;
    if (Array.isArray(value)) return value.map((item) => themed(item, colours));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, colours)]));
    }
    return value;
  }

  function draw(place) {
    const style = getComputedStyle(document.documentElement);
    const colours = {};
    for (const name of ["ink", "muted", "grid", "surface"]) colours[name] = style.getPropertyValue("--" + name).trim();
    const figure = themed(charts[place.id], colours);
    const axis = { gridcolor: colours.grid, linecolor: colours.line, ticks: "", fixedrange: true };
    const layout = Object.assign({}, figure.layout, {
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.ink },
      hoverlabel: { align: "left", bgcolor: colours.surface, bordercolor: colours.muted, font: { color: colours.ink } },
      xaxis: Object.assign({}, axis, figure.layout.xaxis),
      yaxis: Object.assign({}, axis, figure.layout.yaxis),
    });
    const options = { responsive: true, displaylogo: false, displayModeBar: false };
    place.dataset.drawn = "1";
    return Plotly.react(place, figure.data, layout, options);
  }

  const places = Object.keys(charts).map((id) => document.getElementById(id)).filter(Boolean);
  const drawAll = () => Promise.all(places.map(draw)).then(() => places.length);
  const redraw = () => places.filter((place) => place.dataset.drawn).forEach(draw);
  if (places.length && "IntersectionObserver" in window) {
    const watch = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          watch.unobserve(entry.target);
          draw(entry.target);
        }
      }
    }, { rootMargin: "600px" });
    places.forEach((place) => watch.observe(place));
  } else {
    drawAll();
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.matchMedia("print").addEventListener("change", redraw);
  window.addEventListener("beforeprint", drawAll);
  window.drawAllCharts = drawAll;

  function sortBy(table, column, header) {
    const rows = Array.from(table.tBodies[0].rows);
    const down = header.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.order;
    const empty = (text) => text === "" || text === "nan";
    rows.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (empty(x) || empty(y)) return empty(x) - empty(y);
      const numbers = [Number(x), Number(y)];
      const order = numbers.some(Number.isNaN) ? x.localeCompare(y) : numbers[0] - numbers[1];
      return down ? -order : order;
    });
    rows.forEach((row) => { row.classList.remove("group"); table.tBodies[0].append(row); });
  }

  document.querySelectorAll("table.sortable").forEach((table) => {
    Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = header.textContent;
      button.title = "Sort";
      header.replaceChildren(button);
      button.addEventListener("click", () => sortBy(table, column, header));
    });
  });
})();
