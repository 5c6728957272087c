"use strict";
// Tables are sorted by a click on a heading: by number where both are numbers.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const key = row => row.cells[column].dataset.key;
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
      return down ? -order : order;
    };
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b))));
  }));
}
// Configurations are selected by dragging along the axes of the parallel chart.
const chart = document.getElementById("parallel");
if (chart) {
  const top = 30, bottom = 285, ranges = new Map();
  const ways = [...chart.querySelectorAll(".way")].map(way => [way, way.dataset.at.split(" ").map(Number)]);
  const place = event => {
    const box = chart.getBoundingClientRect();
    const y = (event.clientY - box.top) * 320 / box.height;
    const at = (bottom - y) / (bottom - top) * 1000;
    return at < 25 ? 0 : at > 975 ? 1000 : at; // the ends are hard to hit
  };
  const show = () => ways.forEach(([way, at]) =>
    way.classList.toggle("off", [...ranges].some(([axis, [low, high]]) => at[axis] < low - 1 || at[axis] > high + 1)));
  for (const axis of chart.querySelectorAll("[data-axis]")) {
    const number = Number(axis.dataset.axis), brush = axis.querySelector(".brush"), grip = axis.querySelector(".grip");
    let start = null;
    const draw = (low, high) => {
      const y = at => bottom - at / 1000 * (bottom - top);
      brush.setAttribute("x", Number(grip.getAttribute("x1")) - 8);
      brush.setAttribute("width", high > low ? 16 : 0);
      brush.setAttribute("y", y(high));
      brush.setAttribute("height", y(low) - y(high));
    };
    grip.addEventListener("pointerdown", event => {
      start = place(event);
      grip.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    grip.addEventListener("pointermove", event => {
      if (start === null) return;
      const now = place(event), low = Math.min(start, now), high = Math.max(start, now);
      if (high - low < 15) ranges.delete(number); else ranges.set(number, [low, high]);
      draw(...(ranges.get(number) || [0, 0]));
      show();
    });
    grip.addEventListener("pointerup", event => {
      if (start !== null && Math.abs(place(event) - start) < 15) {
        ranges.delete(number);
        draw(0, 0);
        show();
      }
      start = null;
    });
  }
}
