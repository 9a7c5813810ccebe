// The list of sentences, sortable: the worst first finds bugs.

import { number } from "./decode.js";
import { el } from "./dom.js";
import { digits } from "./measure.js";

const shortly = (value) => (value == null ? "–" : digits(value, 2));

/** @param {(sentence: number) => void} onPick */
export function createSentences(document_, extras, onPick) {
  const root = el("nav", { class: "sentences" });
  let by = "number";
  let down = false;
  const keys = {
    number: (i) => i,
    score: (i) => number(document_.traces[i].score) ?? Infinity,
    entropy: (i) => extras.entropy[i] ?? -Infinity,
  };

  function head(key, text, redraw) {
    const sorted = key === by ? (down ? "descending" : "ascending") : "none";
    const turn = () => {
      down = key === by ? !down : key === "entropy";
      by = key;
      redraw();
    };
    return el("th", { scope: "col", "aria-sort": sorted },
      el("button", { type: "button", onclick: turn }, text, sorted === "none" ? "" : down ? " ↓" : " ↑"));
  }

  function draw(current, say) {
    const places = document_.traces.map((_, i) => i);
    places.sort((a, b) => (keys[by](a) - keys[by](b) || a - b) * (down ? -1 : 1));
    const redraw = () => draw(current, say);
    const rows = places.map((i) => {
      const trace = document_.traces[i];
      const pick = el("button", { type: "button", class: "pick", "aria-current": i === current ? "true" : null,
        onclick: () => onPick(i) },
      el("bdi", {}, trace.source_text), el("bdi", { class: "out" }, trace.target_text));
      return el("tr", { class: i === current ? "current" : null },
        el("td", { class: "count" }, String(i + 1)), el("td", {}, pick),
        el("td", { class: "count" }, shortly(number(trace.score))),
        el("td", { class: "count" }, shortly(extras.entropy[i])));
    });
    root.replaceChildren(el("h2", {}, `${say("sentences")} (${places.length})`), el("div", { class: "scroll" },
      el("table", {}, el("thead", {}, el("tr", {}, head("number", "#", redraw),
        el("th", { scope: "col" }, say("sentence")), head("score", say("score"), redraw),
        head("entropy", say("entropy"), redraw))), el("tbody", {}, ...rows))));
    reveal(root.querySelector(".scroll"), root.querySelector(".current"));
  }
  return { root, draw };
}

/** Scroll the list, and the list alone, so that `row` is in sight. */
function reveal(list, row) {
  if (!list || !row) return;
  const head = list.querySelector("thead").offsetHeight;
  const above = row.offsetTop - head;
  const below = row.offsetTop + row.offsetHeight - list.clientHeight;
  if (list.scrollTop > above || list.scrollTop < below) list.scrollTop = above - list.clientHeight / 3;
}
