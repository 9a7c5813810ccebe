// The ladder's page: a click on a head sorts the table, a click on a name colours its curves.

const body = document.querySelector(".ladder tbody");
const heads = [...document.querySelectorAll(".ladder thead th")];

function value(row, column) {
  const cell = row.children[column];
  if (column === 0) return cell.textContent;
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function compare(a, b, up) {
  if (a === null || b === null) return (a === null) - (b === null); // nothing to show: last
  const order = typeof a === "string" ? a.localeCompare(b) : a - b;
  return up ? order : -order;
}

function sortBy(column) {
  const head = heads[column];
  const before = head.getAttribute("aria-sort");
  const up = before ? before === "descending" : head.dataset.first === "up";
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const rows = [...body.rows];
  rows.sort((a, b) => compare(value(a, column), value(b, column), up));
  body.append(...rows);
}

function light(chip) {
  const on = chip.getAttribute("aria-pressed") !== "true";
  chip.setAttribute("aria-pressed", String(on));
  for (const curve of document.querySelectorAll(".curve")) {
    if (curve.dataset.system !== chip.dataset.system) continue;
    curve.classList.toggle("lit", on);
    if (on) curve.parentNode.append(curve);
  }
}

heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sortBy(column)));
for (const chip of document.querySelectorAll(".chip")) chip.addEventListener("click", () => light(chip));
