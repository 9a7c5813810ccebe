// The map as cells on a canvas, with labels that stay in sight while it scrolls.

import { context, el, paint } from "./dom.js";
import { shares } from "./measure.js";
import { css, ramp, shade } from "./ramp.js";

const LONGEST_LABEL = 132;
const LARGEST = 36;
const wide = (c) => /[\u1100-\u11ff\u2e80-\ud7af\uf900-\ufaff\uff00-\uff60]/.test(c);
const places = (text) => [...new Intl.Segmenter().segment(text)].map((part) => part.segment);

/**
 * @param {(place: {row: number, column: number} | null) => void} onHover
 * @param {(place: {row: number, column: number}) => void} onPick
 */
export function createMatrix(onHover, onPick) {
  const top = el("canvas");
  const left = el("canvas");
  const cells = el("canvas", { class: "cells" });
  const marks = Object.fromEntries(["row", "column", "cell"].map((k) => [k, el("i", { class: `mark ${k}` })]));
  const tags = { row: el("bdi", { class: "tag" }), column: el("bdi", { class: "tag" }) };
  const body = el("div", { class: "body" }, cells, ...Object.values(marks));
  const root = el("div", { class: "matrix", tabindex: "0", role: "img" }, el("div", { class: "corner" }),
    el("div", { class: "top" }, top, tags.column), el("div", { class: "left" }, left, tags.row), body);
  let view = null;
  let size = null;

  function placeOf(event) {
    if (!view || !size) return null;
    const box = cells.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / size.cell);
    const row = Math.floor((event.clientY - box.top) / size.cell);
    const inside = row >= 0 && column >= 0 && row < view.rows.length && column < view.columns.length;
    return inside ? { row, column } : null;
  }
  body.addEventListener("pointermove", (event) => onHover(placeOf(event)));
  body.addEventListener("pointerleave", () => onHover(null));
  body.addEventListener("click", (event) => {
    const place = placeOf(event);
    if (place) onPick(place);
  });

  /** Draw `next` in `width` pixels. */
  function draw(next, scale, width) {
    view = next;
    size = sizes(view, width);
    root.style.gridTemplateColumns = `${size.left}px ${size.width}px`;
    drawCells(cells, view, scale, size);
    drawTop(top, view, size);
    drawLeft(left, view, size);
    highlight({ row: null, column: null });
  }

  /** Mark a row, a column and where they meet; bring them into sight if asked to. */
  function highlight({ row, column }, scroll = false) {
    if (!view || !size) return;
    const { cell, width, height } = size;
    const both = row !== null && column !== null;
    place(marks.row, row !== null, 0, row * cell, width, cell);
    place(marks.column, column !== null, column * cell, 0, cell, height);
    place(marks.cell, both, column * cell, row * cell, cell, cell);
    name(tags.row, row !== null, view.rows[row], "top", (row + 0.5) * cell);
    name(tags.column, column !== null, view.columns[column], "left", (column + 0.5) * cell);
    if (column !== null) tags.column.className = `tag ${standing(view.columns[column])}`;
    if (scroll && row !== null) bring(root, size, row, column ?? 0);
  }

  return { root, draw, highlight, canvases: { top, left, cells }, size: () => size };
}

function place(mark, on, x, y, width, height) {
  mark.hidden = !on;
  if (!on) return;
  mark.style.transform = `translate(${x}px, ${y}px)`;
  mark.style.width = `${width}px`;
  mark.style.height = `${height}px`;
}

function name(tag, on, label, side, at) {
  tag.hidden = !on;
  if (!on) return;
  tag.textContent = label;
  tag.style[side] = `${at}px`;
}

/** Sizes in CSS pixels: cells fill the width, but never below what can be pointed at. */
function sizes(view, width) {
  const rows = view.rows.length;
  const columns = view.columns.length;
  const font = 14;
  const measure = context(document.createElement("canvas"), 1, 1);
  measure.font = `700 ${font}px ${paint("--font")}`;
  const longest = (labels, of) => labels.reduce((most, label) => Math.max(most, of(label)), 0);
  const left = Math.min(longest(view.rows, (l) => measure.measureText(l).width), LONGEST_LABEL) + 14;
  const smallest = columns <= 100 ? 11 : columns <= 600 ? 4 : 2;
  const room = Math.floor((width - left - 2) / Math.max(columns, 1));
  const cell = Math.max(smallest, Math.min(LARGEST, room));
  const tall = longest(view.columns, (label) => standingHeight(measure, label, font));
  const top = Math.min(tall, LONGEST_LABEL) + 12;
  return { left, top, cell, width: columns * cell, height: rows * cell };
}

function isStacked(label) {
  const parts = places(label);
  return parts.length > 1 && parts.length <= 8 && parts.every(wide);
}

/** How a column label stands: as it is, its places one below the other, or turned. */
function standing(label) {
  if (places(label).length <= 1) return "";
  return isStacked(label) ? "stacked" : "turned";
}

function standingHeight(pen, label, font) {
  const parts = places(label);
  if (parts.length <= 1) return font;
  return isStacked(label) ? parts.length * font * 1.12 : pen.measureText(label).width;
}

function drawCells(canvas, view, scale, { cell, width, height }) {
  const pen = context(canvas, width, height);
  const colors = ramp().map((color) => css(color));
  const { shares: values } = shares(view, scale);
  const columns = view.columns.length;
  pen.fillStyle = colors[0];
  pen.fillRect(0, 0, width, height);
  for (let i = 0; i < values.length; i++) {
    const color = colors[Math.round(Math.min(Math.max(values[i] || 0, 0), 1) * 255)];
    if (color === colors[0]) continue;
    pen.fillStyle = color;
    pen.fillRect((i % columns) * cell, Math.floor(i / columns) * cell, cell, cell);
  }
  if (cell >= 9) rules(pen, view, cell, width, height);
}

function rules(pen, view, cell, width, height) {
  pen.fillStyle = paint("--rule");
  for (let s = 1; s < view.columns.length; s++) pen.fillRect(s * cell - 0.5, 0, 1, height);
  for (let t = 1; t < view.rows.length; t++) pen.fillRect(0, t * cell - 0.5, width, 1);
}

function labelStyle(pen, cell) {
  const font = Math.max(9, Math.min(14, cell * 0.62));
  pen.font = `${font}px ${paint("--font")}`;
  pen.fillStyle = paint("--ink");
  return font;
}

/** Every how many labels one is written, so that they do not touch. */
const every = (cell) => Math.ceil(11 / cell);

function drawTop(canvas, view, size) {
  const pen = context(canvas, size.width, size.top);
  const font = labelStyle(pen, size.cell);
  view.columns.forEach((label, s) => {
    if (s % every(size.cell)) return;
    const x = Math.max((s + 0.5) * size.cell, Math.min(font / 2, size.width / 2));
    pen.textAlign = "center";
    pen.textBaseline = "alphabetic";
    const base = size.top - 7;
    if (places(label).length <= 1) pen.fillText(label, x, base);
    else if (isStacked(label)) stack(pen, places(label), x, base, font * 1.12);
    else turned(pen, short(pen, label, size.top - 10), x, base);
  });
}

function stack(pen, parts, x, base, step) {
  parts.forEach((part, i) => pen.fillText(part, x, base - (parts.length - 1 - i) * step));
}

function turned(pen, label, x, base) {
  pen.save();
  pen.translate(x, base + 2);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.fillText(label, 0, 0);
  pen.restore();
}

function drawLeft(canvas, view, size) {
  const pen = context(canvas, size.left, size.height);
  labelStyle(pen, size.cell);
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  view.rows.forEach((label, t) => {
    if (t % every(size.cell)) return;
    pen.fillText(short(pen, label, size.left - 12), size.left - 7, (t + 0.5) * size.cell + 1);
  });
}

function short(pen, label, room) {
  if (pen.measureText(label).width <= room) return label;
  const kept = places(label);
  while (kept.length > 1 && pen.measureText(kept.join("") + "…").width > room) kept.pop();
  return kept.join("") + "…";
}

function bring(root, size, row, column) {
  const near = (at, span, from, room) => {
    if (at < from) return at;
    return at + span > from + room ? at + span - room : from;
  };
  const { cell } = size;
  root.scrollTop = near(row * cell, cell, root.scrollTop, root.clientHeight - size.top);
  root.scrollLeft = near(column * cell, cell, root.scrollLeft, root.clientWidth - size.left);
}

/** The colour scale with its ends, as an element. */
export function legend(view, scale, say) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const pen = context(canvas, 128, 10);
  const colors = ramp();
  for (let x = 0; x < 128; x++) {
    pen.fillStyle = css(shade(colors, x / 127));
    pen.fillRect(x, 0, 1, 10);
  }
  const { low, high } = shares(view, "unit");
  const ends = { unit: [low, high], row: [0, "max"], log: ["10⁻⁴", 1] }[scale];
  const end = (value) => el("span", {}, typeof value === "string" ? value : String(+value.toFixed(2)));
  return el("span", { class: "legend", title: say("weight") }, end(ends[0]), canvas, end(ends[1]));
}
