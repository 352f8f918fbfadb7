"use strict";
(function () {
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

  // Paper cannot unfold: print what is folded, but for sentences that say again what tables say.
  const folded = () => document.querySelectorAll("details:not([open]):not(.words)");
  let unfolded = [];
  window.addEventListener("beforeprint", () => {
    unfolded = Array.from(folded());
    unfolded.forEach((part) => { part.open = true; });
  });
  window.addEventListener("afterprint", () => unfolded.forEach((part) => { part.open = false; }));
})();
