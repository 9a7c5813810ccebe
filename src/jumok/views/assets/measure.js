// Numbers of one row of a map.

/** @param {import("./decode.js").View} view */
export function weight(view, t, s) {
  return view.values[t * view.columns.length + s];
}

/** Columns of row `t` by weight, largest first, equals from the left. */
export function order(view, t) {
  const columns = view.columns.map((_, s) => s);
  return columns.sort((a, b) => weight(view, t, b) - weight(view, t, a) || a - b);
}

/** Rank of column `s` in row `t`, from 1. */
export function rank(view, t, s) {
  const own = weight(view, t, s);
  let before = 0;
  for (let i = 0; i < view.columns.length; i++) {
    const other = weight(view, t, i);
    if (other > own || (other === own && i < s)) before++;
  }
  return before + 1;
}

/** Entropy of row `t` in bits, its weights scaled to sum to one. */
export function entropy(view, t) {
  let total = 0;
  for (let s = 0; s < view.columns.length; s++) total += Math.max(weight(view, t, s), 0);
  let bits = 0;
  for (let s = 0; s < view.columns.length; s++) {
    const p = Math.max(weight(view, t, s), 0) / (total || 1);
    if (p > 0) bits -= p * Math.log2(p);
  }
  return Math.max(bits, 0);
}

/**
 * Weight -> share of the scale (0..1): as it is, by the row's largest, or by its logarithm.
 * @param {"unit" | "row" | "log"} scale
 */
export function shares(view, scale) {
  const { values } = view;
  const width = view.columns.length;
  const out = new Float32Array(values.length);
  const range = values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [0, 1]);
  const most = view.rows.map((_, t) =>
    values.subarray(t * width, (t + 1) * width).reduce((a, b) => Math.max(a, b), 0));
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (scale === "row") out[i] = v / (most[Math.floor(i / width)] || 1);
    else if (scale === "log") out[i] = 1 + Math.log10(Math.max(v, 1e-4)) / 4;
    else out[i] = (v - range[0]) / (range[1] - range[0]);
  }
  return { shares: out, low: range[0], high: range[1] };
}

/** A weight or probability as text: three digits, percent for people. */
export function percent(value) {
  if (!Number.isFinite(value)) return "?";
  return value > 0 && value < 0.0095 ? "<1%" : `${Math.round(value * 100)}%`;
}

export function digits(value, places = 3) {
  return Number.isFinite(value) ? value.toFixed(places) : String(value);
}
