// Two rows of symbols with ribbons between them, as wide as the weights.

import { context, el, paint } from "./dom.js";
import { order, weight } from "./measure.js";
import { css, isLight, ramp, shade } from "./ramp.js";

const STRONGEST = 3;
const FAINTEST = 0.04;

/**
 * @param {(place: {row: number | null, column: number | null} | null) => void} onHover
 * @param {(place: {row: number | null, column: number | null}) => void} onPick
 */
export function createRibbons(onHover, onPick) {
  const canvas = el("canvas", { class: "bands", "aria-hidden": "true" });
  const above = el("div", { class: "tokens above", dir: "auto" });
  const below = el("div", { class: "tokens below", dir: "auto" });
  const root = el("div", { class: "ribbons" }, canvas, above, below);
  let view = null;
  let spots = null;
  let colors = [];
  const lit = { above: new Map(), below: new Map() };

  function token(label, place) {
    return el("button", {
      type: "button",
      class: "token",
      tabindex: "-1",
      onpointerenter: () => onHover(place),
      onpointerleave: () => onHover(null),
      onclick: () => onPick(place),
    }, label);
  }

  /** Lay out `next`; `labels` names the two rows. */
  function draw(next, labels) {
    view = next;
    colors = ramp();
    lit.above.clear();
    lit.below.clear();
    above.replaceChildren(...view.columns.map((l, column) => token(l, { row: null, column })));
    below.replaceChildren(...view.rows.map((l, row) => token(l, { row, column: null })));
    above.dataset.name = labels[0];
    below.dataset.name = labels[1];
    root.classList.toggle("dense", Math.max(view.rows.length, view.columns.length) > 60);
    for (const row of [above, below]) row.scrollTop = 0;
    measure();
    highlight({ row: null, column: null });
  }

  /** Bring what is looked at into sight where the symbols fill more lines than are shown. */
  function reveal({ row, column }) {
    const pairs = row !== null
      ? [[below, row], [above, column ?? order(view, row)[0]]]
      : column !== null ? [[above, column]] : [];
    let moved = false;
    for (const [list, index] of pairs) {
      const node = list.children[index];
      if (!node || list.scrollHeight <= list.clientHeight + 1) continue;
      const line = node.offsetHeight + 2;
      const from = Math.max(0, Math.floor(node.offsetTop / line - 2) * line);
      moved ||= Math.abs(list.scrollTop - from) > 1;
      list.scrollTop = from;
    }
    if (moved) measure();
  }

  function measure() {
    if (!view) return;
    const box = root.getBoundingClientRect();
    const at = (node, edge) => {
      const own = node.getBoundingClientRect();
      return { x: (own.left + own.right) / 2 - box.left, y: own[edge] - box.top, top: own.top };
    };
    const columns = [...above.children].map((node) => at(node, "bottom"));
    const rows = [...below.children].map((node) => at(node, "top"));
    const oneLine = (places) => places.every((p) => Math.abs(p.top - places[0].top) < 4);
    spots = { columns, rows, flat: oneLine(columns) && oneLine(rows), box };
  }

  /** Ribbons of all rows, or of the one row or column that is looked at. */
  function highlight({ row, column }, scroll = false) {
    if (!view || !spots) return;
    if (scroll) reveal({ row, column });
    const [ink, seal, thread] = ["--ink", "--seal", "--thread"].map(paint);
    const pen = context(canvas, spots.box.width, spots.box.height);
    const links = chosen(view, row, column, spots.flat);
    const on = row !== null || column !== null;
    if (on && spots.flat) for (const link of chosen(view, null, null, true)) {
      stroke(pen, spots, link, ink, 0.07);
    }
    const color = on ? seal : thread;
    for (const link of links.filter((l) => inSight(l))) stroke(pen, spots, link, color, 0.18 + 0.72 * link.weight);
    const byRow = row === null ? [] : view.columns.map((_, s) => weight(view, row, s));
    const byColumn = row !== null || column === null ? [] : view.rows.map((_, t) => weight(view, t, column));
    tint(lit.above, above.children, byRow, colors, row === null ? column : null);
    tint(lit.below, below.children, byColumn, colors, row);
  }

  /** Whether both ends of a link lie within the lines that are shown. */
  function inSight(link) {
    const within = (list, y) => list.scrollHeight <= list.clientHeight + 1
      || (y >= list.offsetTop - 2 && y <= list.offsetTop + list.clientHeight + 2);
    return within(above, spots.columns[link.column].y) && within(below, spots.rows[link.row].y);
  }

  for (const list of [above, below]) {
    list.addEventListener("scroll", () => { if (view) measure(); });
  }
  return { root, draw, highlight };
}

/** The links to draw, faintest first. */
function chosen(view, row, column, flat) {
  const links = [];
  const add = (t, s) => links.push({ row: t, column: s, weight: Math.min(weight(view, t, s), 1) });
  if (row !== null) order(view, row).slice(0, 12).forEach((s) => add(row, s));
  else if (column !== null) view.rows.forEach((_, t) => add(t, column));
  else if (flat) view.rows.forEach((_, t) => order(view, t).slice(0, STRONGEST).forEach((s) => add(t, s)));
  return links.filter((l) => l.weight >= FAINTEST).sort((a, b) => a.weight - b.weight);
}

function stroke(pen, spots, link, color, alpha) {
  const from = spots.columns[link.column];
  const to = spots.rows[link.row];
  const middle = (from.y + to.y) / 2;
  pen.globalAlpha = alpha;
  pen.strokeStyle = color;
  pen.lineWidth = Math.max(1, 9 * link.weight);
  pen.beginPath();
  pen.moveTo(from.x, from.y);
  pen.bezierCurveTo(from.x, middle, to.x, middle, to.x, to.y);
  pen.stroke();
  pen.globalAlpha = 1;
}

/**
 * Shade symbols by weight, and mark the one that is looked at; `lit` remembers which differ
 * from plain, so that of a thousand symbols only those are touched.
 */
function tint(lit, nodes, weights, colors, marked) {
  const light = isLight(colors[0]);
  const next = new Map();
  weights.forEach((value, i) => value >= 0.02 && next.set(i, shade(colors, value)));
  if (marked !== null) next.set(marked, next.get(marked) ?? null);
  for (const i of lit.keys()) if (!next.has(i)) look(nodes[i], null, light, false);
  for (const [i, color] of next) look(nodes[i], color, light, i === marked);
  lit.clear();
  for (const [i, color] of next) lit.set(i, color);
}

function look({ style, classList }, color, light, marked) {
  style.backgroundColor = color ? css(color) : "";
  style.color = color && isLight(color) !== light ? (light ? "#fff" : "#000") : "";
  classList.toggle("marked", marked);
}
