// Weights as colours, from the page's own stops (`--ramp`), so that they follow its theme.

import { paint } from "./dom.js";

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/** 256 colours from share 0 to share 1, as [red, green, blue]. */
export function ramp() {
  const stops = paint("--ramp").split(/\s+/).map(rgb);
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (stops.length - 1);
    const left = Math.min(Math.floor(place), stops.length - 2);
    return stops[left].map((v, c) => Math.round(v + (stops[left + 1][c] - v) * (place - left)));
  });
}

/** The colour of `share` among `colors`. */
export function shade(colors, share) {
  return colors[Math.round(Math.min(Math.max(share || 0, 0), 1) * 255)];
}

export function css(color, alpha = 1) {
  return `rgb(${color.join(" ")} / ${alpha})`;
}

/** Whether black reads better than white on `color`. */
export function isLight(color) {
  const [r, g, b] = color.map((v) => (v / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.2;
}
