"use strict";
(function () {
  const form = document.getElementById("filter");
  if (!form) return;
  const groups = Array.from(document.querySelectorAll(".kind"));
  const matches = document.getElementById("matches");
  function apply() {
    const chosen = new FormData(form);
    const severities = chosen.getAll("severity");
    const words = String(chosen.get("text")).toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    let total = 0;
    for (const group of groups) {
      let here = 0;
      for (const item of group.querySelectorAll("li")) {
        const text = item.textContent.toLowerCase();
        const visible = severities.includes(item.dataset.severity) && words.every((word) => text.includes(word))
          && (!chosen.get("kind") || chosen.get("kind") === group.dataset.kind);
        item.hidden = !visible;
        here += visible;
        total += 1;
      }
      group.hidden = here === 0;
      shown += here;
    }
    matches.textContent = shown === total ? "" : shown + " of " + total;
  }
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();
