// What is looked at, and its copy in the address: #s=sentence&m=map&t=row&c=column&v=scale.

/**
 * @typedef {{sentence: number, map: number, row: number | null, column: number | null,
 *   hover: {row: number | null, column: number | null} | null, scale: "unit" | "row" | "log",
 *   language: "en" | "ko"}} State
 */

/** A value with listeners; `set` merges and tells what changed. */
export function createStore(initial) {
  let state = initial;
  const listeners = new Set();
  return {
    /** @returns {State} */
    get: () => state,
    /** @param {Partial<State>} patch */
    set(patch) {
      const changed = Object.keys(patch).filter((key) => !Object.is(state[key], patch[key]));
      if (!changed.length) return;
      state = { ...state, ...patch };
      for (const listener of listeners) listener(state, new Set(changed));
    },
    subscribe: (listener) => listeners.add(listener),
  };
}

/** What is shown: the pointer's place before the kept one. */
export function active(state) {
  return state.hover ?? { row: state.row, column: state.column };
}

const SCALES = ["unit", "row", "log"];

/**
 * The part of the state that an address holds; anything unknown in it is left out.
 * @returns {{sentence: number, map: number | null, row: number | null, column: number | null,
 *   scale?: State["scale"], language?: State["language"]}}
 */
export function fromHash(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const count = (key) => (/^\d{1,7}$/.test(given.get(key) ?? "") ? Number(given.get(key)) : null);
  const found = { sentence: count("s"), map: count("m"), row: count("t"), column: count("c") };
  const scale = /** @type {State["scale"]} */ (given.get("v"));
  const language = given.get("lang");
  return {
    sentence: found.sentence ?? 0,
    map: found.map,
    row: found.row,
    column: found.row === null ? null : found.column,
    ...(SCALES.includes(scale ?? "") ? { scale } : {}),
    ...(language === "ko" || language === "en" ? { language } : {}),
  };
}

/** @param {State} state */
export function toHash(state) {
  const parts = [`s=${state.sentence}`, `m=${state.map}`];
  if (state.row !== null) parts.push(`t=${state.row}`);
  if (state.row !== null && state.column !== null) parts.push(`c=${state.column}`);
  if (state.scale !== "unit") parts.push(`v=${state.scale}`);
  return "#" + parts.join("&");
}
