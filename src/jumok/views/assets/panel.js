// The numbers of what is looked at: where it looks, how sure the model was, what else it weighed.

import { number, shown } from "./decode.js";
import { el } from "./dom.js";
import { digits, entropy, order, percent, rank, weight } from "./measure.js";

const MOST = 8;

function bar(label, value, text, marked = false) {
  const fill = el("span", { class: "fill" });
  fill.style.width = `${100 * Math.min(Math.max(value || 0, 0), 1)}%`;
  return el("li", { class: marked ? "marked" : null },
    el("bdi", { class: "name" }, label), el("span", { class: "track" }, fill),
    el("span", { class: "value" }, text));
}

const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));

/** @returns {Node[]} the panel of a whole sentence */
export function overview(trace, view, say, meanEntropy) {
  const score = number(trace.score);
  const facts = [];
  if (score != null) facts.push(fact(say("score"), `${digits(score, 2)} (${percent(Math.exp(score))})`));
  if (meanEntropy != null) facts.push(fact(say("mean"), `${digits(meanEntropy, 2)} bits`));
  for (const [key, value] of Object.entries(trace.card)) facts.push(fact(key, el("bdi", {}, value)));
  if (view && trace.maps.length > 1) facts.push(fact(say("map"), `${view.name} (${view.kind})`));
  return [
    el("h3", {}, say("overall")),
    el("dl", {}, ...facts),
    el("p", { class: "hint" }, say("hint")),
  ];
}

/** @returns {Node[]} the panel of one row */
export function rowPanel(trace, view, labels, say, row, column) {
  const name = view ? view.rows[row] : shown(labels, trace.target[row][0], trace.target[row][3]);
  const ofTarget = !view || view.ofTarget;
  const total = view ? view.rows.length : trace.target.length;
  const logprob = ofTarget && trace.logprobs ? number(trace.logprobs[row]) : null;
  const parts = [
    el("p", { class: "step" }, say("step", { t: row + 1, n: total })),
    el("div", { class: "now" }, el("bdi", { class: "big" }, name),
      logprob !== null && el("span", {}, `${say("probability")} `, el("b", {}, percent(Math.exp(logprob))),
        el("small", {}, `log ${digits(logprob, 3)}`))),
  ];
  if (view) parts.push(...looks(view, say, row, column));
  const options = (ofTarget && trace.alternatives[row]) || [];
  if (options.length) parts.push(el("h3", {}, say("alternatives")), candidates(options, labels));
  return parts;
}

function looks(view, say, row, column) {
  const ranked = order(view, row);
  const listed = ranked.slice(0, MOST);
  if (column !== null && !listed.includes(column)) listed.push(column);
  const rest = ranked.filter((s) => !listed.includes(s)).reduce((sum, s) => sum + weight(view, row, s), 0);
  const items = listed.map((s) =>
    bar(view.columns[s], weight(view, row, s), digits(weight(view, row, s)), s === column));
  if (ranked.length > listed.length) items.push(bar(say("rest"), rest, digits(rest)));
  const bits = entropy(view, row);
  const spread = say("spreadValue", { bits: digits(bits, 2), n: digits(2 ** bits, 1) });
  return [
    el("h3", {}, say("looksAt")),
    el("ol", { class: "bars" }, ...items),
    el("p", { class: "quiet" }, `${say("entropy")}: ${spread}`),
  ];
}

function candidates(options, labels) {
  const items = options.map(([text, logprob]) => {
    const p = Math.exp(number(logprob));
    return bar(shown(labels, text, Object.hasOwn(labels, "\u0000" + text)), p, percent(p));
  });
  return el("ol", { class: "bars candidates" }, ...items);
}

/** @returns {Node[]} the panel of one column */
export function columnPanel(view, say, column) {
  const rows = view.rows.map((_, t) => t);
  rows.sort((a, b) => weight(view, b, column) - weight(view, a, column) || a - b);
  const items = rows.slice(0, MOST).map((t) =>
    bar(view.rows[t], weight(view, t, column), digits(weight(view, t, column))));
  return [
    el("p", { class: "step" }, `${say(view.columnName)} ${column + 1} / ${view.columns.length}`),
    el("div", { class: "now" }, el("bdi", { class: "big" }, view.columns[column])),
    el("h3", {}, say("lookedAt")),
    el("ol", { class: "bars" }, ...items),
  ];
}

/** One line about a cell, for the pointer's note and for screen readers. */
export function cellText(trace, view, say, row, column) {
  const parts = [
    `${view.rows[row]} ← ${view.columns[column]}`,
    `${say("weight")} ${digits(weight(view, row, column))}`,
    `${say("rank")} ${rank(view, row, column)}`,
    `${say("entropy")} ${digits(entropy(view, row), 2)}`,
  ];
  if (view.ofTarget && trace.logprobs) {
    parts.push(`${say("probability")} ${percent(Math.exp(number(trace.logprobs[row])))}`);
  }
  return parts.join(" · ");
}
