// The same numbers as a real table, for screen readers, for print and for copying.

import { number, shown } from "./decode.js";
import { el } from "./dom.js";
import { digits, order, percent, weight } from "./measure.js";

const MOST_CELLS = 6000;

/** @returns {Node} a table of all weights, or of the strongest where there are too many */
export function table(trace, view, say) {
  const whole = view.values.length <= MOST_CELLS;
  const caption = el("caption", {}, `${view.name}: ${say(view.rowName)} × ${say(view.columnName)}`);
  const head = whole ? view.columns : ["1", "2", "3"];
  const cells = (t) => whole
    ? view.columns.map((_, s) => el("td", {}, digits(weight(view, t, s))))
    : order(view, t).slice(0, 3).map((s) =>
      el("td", {}, el("bdi", {}, view.columns[s]), ` (${s + 1}) ${digits(weight(view, t, s))}`));
  return el("table", {}, caption,
    el("thead", {}, el("tr", {}, el("td"), ...head.map((c) => el("th", { scope: "col" }, el("bdi", {}, c))),
      view.ofTarget && trace.logprobs && el("th", { scope: "col" }, say("probability")))),
    el("tbody", {}, ...view.rows.map((label, t) =>
      el("tr", {}, el("th", { scope: "row" }, el("bdi", {}, label)), ...cells(t),
        view.ofTarget && trace.logprobs
          && el("td", {}, percent(Math.exp(number(trace.logprobs[t]))))))));
}

/** @returns {Node} a table of the most likely symbols, for a model without attention */
export function oddsTable(trace, labels, say, onPick) {
  const option = ([text, logprob]) => {
    const name = shown(labels, text, Object.hasOwn(labels, "\u0000" + text));
    return el("td", {}, el("bdi", {}, name), " ", el("small", {}, percent(Math.exp(number(logprob)))));
  };
  const most = Math.max(0, ...trace.alternatives.map((step) => step.length));
  const places = Array.from({ length: most }, (_, i) => el("th", { scope: "col" }, String(i + 1)));
  return el("table", {},
    el("caption", {}, say("alternatives")),
    el("thead", {}, el("tr", {}, el("td"), ...places)),
    el("tbody", {}, ...trace.target.map(([text, , , special], t) =>
      el("tr", { onclick: () => onPick({ row: t, column: null }) },
        el("th", { scope: "row" }, el("bdi", {}, shown(labels, text, special))),
        ...(trace.alternatives[t] ?? []).map(option)))));
}
