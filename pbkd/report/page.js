"use strict";

const root = document.documentElement;
const themeButton = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");

function theme() {
  return root.dataset.theme || (system.matches ? "dark" : "light");
}

function labelTheme() {
  themeButton.textContent = theme() === "dark" ? "Light" : "Dark";
}

themeButton.addEventListener("click", () => {
  root.dataset.theme = theme() === "dark" ? "light" : "dark";
  labelTheme();
});
system.addEventListener("change", labelTheme);
themeButton.hidden = false;
labelTheme();

// A cell is a number with a unit that its whole column has and perhaps its interval in brackets,
// "not measured", or a text.
function numberOf(text) {
  const figure = text.replaceAll(",", "").replace(/ \(.*\)$/, "").replace(/( %|x)$/, "");
  return /^-?\d+(\.\d+)?$/.test(figure) ? Number(figure) : NaN;
}

function compared(a, b, descending) {
  if (a.missing || b.missing) return a.missing - b.missing;
  const order = a.number - b.number || a.text.localeCompare(b.text, "en", { numeric: true });
  return descending ? -order : order;
}

function sortBy(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const descending = heads[column].getAttribute("aria-sort") === "ascending";
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => {
    const text = row.cells[column].textContent;
    return { row, text, number: numberOf(text), missing: text === "not measured" };
  });
  rows.sort((a, b) => compared(a, b, descending));
  table.tBodies[0].append(...rows.map(({ row }) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(table, column));
    head.append(button);
  });
}
