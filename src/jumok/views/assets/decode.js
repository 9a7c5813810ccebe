// The document of the page (schema jumok-trace/1) as views: labels, sizes, numbers.

/**
 * @typedef {{rows: string[], columns: string[], rowName: string, columnName: string,
 *   values: Float32Array, ofTarget: boolean, name: string, kind: string}} View
 * A map ready to be shown; `values` is row by row.
 */

export const END = "⏎";
export const SPACE = "␣";
const START = "<s>";

/** @returns {any} */
export function readJson(id) {
  return JSON.parse(/** @type {HTMLElement} */ (document.getElementById(id)).textContent || "null");
}

/** How a symbol is shown; special symbols are looked up apart from text that looks like them. */
export function shown(labels, text, special) {
  const key = special ? "\u0000" + text : text;
  return Object.hasOwn(labels, key) ? labels[key] : text;
}

/** @returns {string[]} */
export function labelsOf(labels, tokens) {
  return tokens.map(([text, , , special]) => shown(labels, text, special));
}

/** A number of the document, where JSON has no digits for the infinite ones. */
export function number(value) {
  if (typeof value !== "string") return value;
  return { inf: Infinity, "-inf": -Infinity }[value] ?? NaN;
}

async function unpack({ shape, bits, low, high, data }) {
  const packed = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const raw = await new Response(stream).arrayBuffer();
  const view = new DataView(raw);
  const values = new Float32Array(shape[0] * shape[1]);
  const step = (high - low) / (2 ** bits - 1);
  for (let i = 0; i < values.length; i++) {
    values[i] = low + step * (bits === 8 ? view.getUint8(i) : view.getUint16(2 * i, true));
  }
  return values;
}

/** Kinds of maps with a row for every source symbol. */
const OF_SOURCE = ["encoder", "source_read", "source_write"];

/**
 * The map `index` of `trace`, with what its rows and columns stand for.
 * @returns {Promise<View | null>} null where there is no such map
 */
export async function openMap(trace, index, labels) {
  const map = trace.maps[index];
  if (!map) return null;
  const sides = { source: labelsOf(labels, trace.source), target: labelsOf(labels, trace.target) };
  const columnSide = { cross: "source", encoder: "source", decoder: "target" }[map.kind];
  const [rows, rowName] = side(sides, OF_SOURCE.includes(map.kind) ? "source" : "target", map.shape[0]);
  const [columns, columnName] = side(
    map.kind === "decoder" ? { target: read(sides.target, map.shape[1]) } : sides,
    columnSide, map.shape[1]);
  const values = await unpack(map);
  const ofTarget = rowName === "target";
  return { rows, columns, rowName, columnName, values, ofTarget, name: map.name, kind: map.kind };
}

/** What a decoder can attend to: the start symbol, then what it wrote. */
function read(target, size) {
  const all = [START, ...target];
  return size === all.length ? all : all.slice(0, -1);
}

function side(sides, name, size) {
  if (name && sides[name].length === size) return [sides[name], name];
  return [Array.from({ length: size }, (_, i) => String(i)), "slot"];
}
