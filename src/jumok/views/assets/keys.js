// The keyboard, and the list of its keys.

import { el } from "./dom.js";

/**
 * @param {{move: (row: number, column: number) => void, edge: (last: boolean) => void,
 *   map: (step: number) => void, sentence: (step: number) => void, clear: () => void,
 *   help: () => void}} act
 */
export function listen(act) {
  const actions = {
    ArrowUp: () => act.move(-1, 0),
    ArrowDown: () => act.move(1, 0),
    ArrowLeft: () => act.move(0, -1),
    ArrowRight: () => act.move(0, 1),
    Home: () => act.edge(false),
    End: () => act.edge(true),
    "[": () => act.map(-1),
    "]": () => act.map(1),
    p: () => act.sentence(-1),
    n: () => act.sentence(1),
    Escape: () => act.clear(),
    "?": () => act.help(),
  };
  document.addEventListener("keydown", (event) => {
    const busy = event.target instanceof Element && event.target.closest("select, summary, dialog, .numbers");
    if (event.ctrlKey || event.metaKey || event.altKey || busy) return;
    if (!Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  });
}

/** A dialog that lists the keys. */
export function helpDialog(say) {
  const rows = say("keys").map(([keys, what]) =>
    el("tr", {}, el("th", { scope: "row" }, ...keys.split(" ").map((k) => el("kbd", {}, k))), el("td", {}, what)));
  const marks = [["⏎", say("end")], ["␣", say("space")]].map(([mark, what]) =>
    el("tr", {}, el("th", { scope: "row" }, mark), el("td", {}, what)));
  const made = el("dialog", { "aria-label": say("help") },
    el("h2", {}, say("help")), el("p", {}, say("hint")), el("table", {}, el("tbody", {}, ...rows, ...marks)),
    el("form", { method: "dialog" }, el("button", {}, "OK")));
  made.addEventListener("click", (event) => event.target === made && made.close());
  made.addEventListener("close", () => made.remove());
  return made;
}
