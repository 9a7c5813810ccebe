// The page: reads the document, builds its parts once, redraws what a change touches.

import { openMap, readJson } from "./decode.js";
import { el } from "./dom.js";
import { saveJson, savePng, saveTsv } from "./exports.js";
import { preferred, speaker } from "./i18n.js";
import { helpDialog, listen } from "./keys.js";
import { createMatrix, legend } from "./matrix.js";
import { cellText, columnPanel, overview, rowPanel } from "./panel.js";
import { createRibbons } from "./ribbons.js";
import { createSentences } from "./sentences.js";
import { active, createStore, fromHash, toHash } from "./state.js";
import { oddsTable, table } from "./table.js";

const file = readJson("traces");
const extras = readJson("extras");
const { labels } = extras;
const several = file.traces.length > 1;
const clamp = (value, count) => Math.min(Math.max(value, 0), Math.max(count - 1, 0));

/** A state that points at what there is, whatever an address asked for. */
function fitting(asked) {
  const sentence = clamp(asked.sentence ?? 0, file.traces.length);
  const trace = file.traces[sentence];
  const main = Math.max(trace.maps.findIndex((m) => m.name === trace.main), 0);
  const map = clamp(asked.map ?? main, trace.maps.length);
  const shape = trace.maps[map]?.shape ?? [trace.target.length, 0];
  const row = asked.row === null || !shape[0] ? null : clamp(asked.row, shape[0]);
  const column = asked.column === null || !shape[1] ? null : clamp(asked.column, shape[1]);
  return { sentence, map, row, column };
}

const asked = fromHash(location.hash);
const store = createStore({
  hover: null, scale: "unit", language: preferred(), ...asked, ...fitting(asked),
});
let view = null;
let loaded = false;
let tickets = 0;
let say = speaker(store.get().language);

let wanted = null;
let waiting = false;
/** The pointer's place, taken over once a frame. */
function hover(place) {
  wanted = place;
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    store.set({ hover: wanted });
  });
}
function pick({ row, column }) {
  const now = store.get();
  const same = now.row === row && now.column === column;
  store.set(same ? { row: null, column: null, hover: null } : { row, column });
}

let fromMatrix = false;
const matrix = createMatrix((place) => { fromMatrix = true; hover(place); }, pick);
const ribbons = createRibbons((place) => { fromMatrix = false; hover(place); }, pick);
const sentences = createSentences(file, extras, (sentence) => open({ sentence }));
const parts = {
  head: el("header"),
  title: el("h1", { class: "pair" }),
  stopped: el("p", { class: "stopped" }),
  panel: el("aside", { class: "panel" }),
  key: el("div", { class: "key" }),
  odds: el("div", { class: "odds" }),
  numbers: el("details", { class: "numbers" }),
  note: el("div", { class: "note", role: "tooltip" }),
  spoken: el("p", { class: "spoken", "aria-live": "polite" }),
};
const plate = el("div", { class: "plate" }, matrix.root, parts.key, parts.odds);
const split = el("div", { class: "split" }, plate, parts.panel);
const stage = el("main", {}, parts.title, parts.stopped, ribbons.root, split, parts.numbers);
const room = () => split.clientWidth - (window.innerWidth > 760 ? parts.panel.offsetWidth + 28 : 0);

// --- parts that depend on language, sentence and map ---

function choice(name, options, value, onChange) {
  const select = el("select", { onchange: () => onChange(select.value) },
    ...options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
  return el("label", {}, el("span", {}, name), select);
}

function drawHead() {
  const { language, scale, map, sentence } = store.get();
  const trace = file.traces[sentence];
  const maps = trace.maps.map((m, i) => [String(i), m.name]);
  const name = `jumok-${sentence + 1}`;
  /** @type {[string, () => void][]} */
  const all = [
    ["savePng", () => savePng(name, matrix.canvases)],
    ["saveTsv", () => view && saveTsv(name, view)],
    ["saveJson", () => saveJson(name, file.schema, trace)],
  ];
  const saving = all.filter(([key]) => view || key === "saveJson");
  const menu = el("details", { class: "menu" }, el("summary", {}, say("save")), el("div", {},
    ...saving.map(([key, act]) => el("button", { type: "button", onclick: () => { act(); menu.open = false; } },
      say(key)))));
  parts.head.replaceChildren(
    el("span", { class: "seal", "aria-hidden": "true" }, "주", el("br"), "목"),
    el("span", { class: "brand" }, "jumok", el("small", {}, say("about"))),
    el("span", { class: "tools" },
      maps.length > 1 && choice(say("map"), maps, String(map), (i) => open({ map: Number(i) })),
      view && choice(say("scale"), ["Unit", "Row", "Log"].map((k) => [k.toLowerCase(), say(`scale${k}`)]), scale,
        (value) => store.set({ scale: value })),
      menu,
      el("button", { type: "button", lang: language === "en" ? "ko" : "en",
        onclick: () => store.set({ language: language === "en" ? "ko" : "en" }) }, say("language")),
      el("button", { type: "button", class: "round", "aria-label": say("help"), onclick: help }, "?")));
}

function drawTrace() {
  if (!loaded) return;
  const { sentence, scale, language } = store.get();
  const trace = file.traces[sentence];
  document.documentElement.lang = language;
  document.title = `jumok: ${trace.source_text} → ${trace.target_text}`;
  parts.title.replaceChildren(el("bdi", {}, trace.source_text), el("span", { class: "arrow" }, " → "),
    el("bdi", {}, trace.target_text));
  parts.stopped.hidden = trace.finished;
  parts.stopped.textContent = say("limit");
  stage.classList.toggle("blind", !view);
  drawHead();
  if (several) sentences.draw(sentence, say);
  if (view) {
    matrix.root.setAttribute("aria-label",
      say("matrix", { rows: say(view.rowName), columns: say(view.columnName) }));
    ribbons.draw(view, [say(view.columnName), say(view.rowName)]);
    matrix.draw(view, scale, room());
    parts.key.replaceChildren(legend(view, scale, say));
  }
  parts.odds.replaceChildren();
  if (!view) parts.odds.append(el("p", { class: "warning" }, say("alternativesOnly")),
    el("div", { class: "scroll" }, oddsTable(trace, labels, say, pick)));
  drawNumbers(trace);
  drawActive(true);
}

/** The table of all numbers; a large one is built when it is opened. */
function drawNumbers(trace) {
  const fill = () => {
    if (view && parts.numbers.childElementCount === 1) {
      parts.numbers.append(el("div", { class: "scroll" }, table(trace, view, say)));
    }
  };
  parts.numbers.hidden = !view;
  parts.numbers.replaceChildren(el("summary", {}, say("table")));
  parts.numbers.ontoggle = () => parts.numbers.open && fill();
  if (parts.numbers.open || (view && view.values.length <= 1500)) fill();
}

// --- what the pointer and the keys move ---

function drawActive(scroll = false) {
  const state = store.get();
  const trace = file.traces[state.sentence];
  const place = active(state);
  if (view) {
    matrix.highlight(place, scroll && !state.hover);
    ribbons.highlight(place, scroll || Boolean(state.hover && fromMatrix));
  }
  parts.panel.classList.toggle("kept", !state.hover && (state.row !== null || state.column !== null));
  if (place.row !== null) {
    parts.panel.replaceChildren(...rowPanel(trace, view, labels, say, place.row, place.column));
  } else if (place.column !== null && view) {
    parts.panel.replaceChildren(...columnPanel(view, say, place.column));
  } else {
    parts.panel.replaceChildren(...overview(trace, view, say, extras.entropy[state.sentence]));
  }
  const full = view && place.row !== null && place.column !== null;
  const line = full ? cellText(trace, view, say, place.row, place.column) : "";
  parts.note.textContent = line;
  parts.note.hidden = !line || !state.hover;
  if (!state.hover) parts.spoken.textContent = line;
}

document.addEventListener("pointermove", (event) => {
  const space = window.innerWidth - parts.note.offsetWidth - 12;
  parts.note.style.left = `${Math.max(8, Math.min(event.clientX + 14, space))}px`;
  parts.note.style.top = `${event.clientY > 60 ? event.clientY - 38 : event.clientY + 22}px`;
});

function move(rows, columns) {
  const { row, column } = store.get();
  const [height, width] = view ? [view.rows.length, view.columns.length]
    : [file.traces[store.get().sentence].target.length, 0];
  if (!height) return;
  const next = row === null ? { row: 0, column: columns ? 0 : column }
    : { row: clamp(row + rows, height), column: columns ? clamp((column ?? -columns) + columns, width) : column };
  store.set({ ...next, column: width ? next.column : null, hover: null });
}

function help() {
  const made = helpDialog(say);
  document.body.append(made);
  made.showModal();
}

// --- wiring ---

/** Go to another sentence or map; what was kept is let go unless the map alone changes. */
async function open(patch) {
  const now = store.get();
  const same = patch.sentence === undefined || patch.sentence === now.sentence;
  const next = fitting(same ? { ...now, ...patch } : { row: null, column: null, map: null, ...patch });
  const ticket = ++tickets;
  const opened = await openMap(file.traces[next.sentence], next.map, labels);
  if (ticket !== tickets) return; // another one was asked for meanwhile
  view = opened;
  loaded = true;
  store.set({ ...next, hover: null });
  drawTrace();
}

store.subscribe((state, changed) => {
  say = speaker(state.language);
  if (changed.has("language") || changed.has("scale")) drawTrace();
  else if (!changed.has("sentence") && !changed.has("map")) drawActive(changed.has("row") || changed.has("column"));
  if (changed.size === 1 && changed.has("hover")) return;
  try {
    history.replaceState(null, "", toHash(state));
  } catch {
    // A sandboxed frame has no address of its own.
  }
});
window.addEventListener("hashchange", () => {
  const { scale, language, ...place } = { ...store.get(), ...fromHash(location.hash) };
  store.set({ scale, language });
  open(place);
});
listen({
  move,
  edge: (last) => view && move(0, last ? view.columns.length : -view.columns.length),
  map: (step) => open({ map: store.get().map + step }),
  sentence: (step) => several && open({ sentence: clamp(store.get().sentence + step, file.traces.length) }),
  clear: () => store.set({ row: null, column: null, hover: null }),
  help,
});
let width = 0;
new ResizeObserver(() => {
  if (Math.abs(split.clientWidth - width) < 2) return;
  width = split.clientWidth;
  drawTrace();
}).observe(split);
for (const query of ["(prefers-color-scheme: dark)", "print"]) {
  matchMedia(query).addEventListener("change", drawTrace);
}
const page = /** @type {HTMLElement} */ (document.getElementById("page"));
page.replaceChildren(parts.head, el("div", { class: several ? "with-list" : "alone" },
  several && sentences.root, stage), parts.note, parts.spoken);
await open({});
document.documentElement.dataset.ready = "yes";
