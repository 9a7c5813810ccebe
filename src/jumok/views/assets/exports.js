// Files of what is on the screen: picture, table, trace.

import { el, paint } from "./dom.js";

function download(name, blob) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** The map with its labels as one picture. */
export function savePng(name, { top, left, cells }) {
  const whole = document.createElement("canvas");
  const margin = Math.round(cells.width / 40) + 8;
  whole.width = left.width + cells.width + 2 * margin;
  whole.height = top.height + cells.height + 2 * margin;
  const pen = /** @type {CanvasRenderingContext2D} */ (whole.getContext("2d"));
  pen.fillStyle = paint("--paper");
  pen.fillRect(0, 0, whole.width, whole.height);
  pen.drawImage(top, margin + left.width, margin);
  pen.drawImage(left, margin, margin + top.height);
  pen.drawImage(cells, margin + left.width, margin + top.height);
  pen.strokeStyle = paint("--ink");
  pen.strokeRect(margin + left.width + 0.5, margin + top.height + 0.5, cells.width - 1, cells.height - 1);
  whole.toBlob((blob) => blob && download(`${name}.png`, blob), "image/png");
}

/** Rows and columns as tab-separated values; symbols never hold a tab, since labels show it. */
export function tsv(view) {
  const width = view.columns.length;
  const line = (label, t) =>
    [label, ...Array.from(view.values.subarray(t * width, (t + 1) * width), (v) => v.toFixed(6))];
  return [["", ...view.columns], ...view.rows.map(line)].map((row) => row.join("\t")).join("\n") + "\n";
}

export function saveTsv(name, view) {
  download(`${name}.tsv`, new Blob([tsv(view)], { type: "text/tab-separated-values" }));
}

/** One sentence in the format that `jumok` reads back. */
export function saveJson(name, schema, trace) {
  const text = JSON.stringify({ schema, traces: [trace] }) + "\n";
  download(`${name}.jumok.json`, new Blob([text], { type: "application/json" }));
}
