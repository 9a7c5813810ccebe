// Elements built from nodes and text, never from HTML.

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] `class`, `on...` listeners, else attributes
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, String(value));
  }
  for (const child of children) if (child != null && child !== false) made.append(child);
  return made;
}

/**
 * A canvas context of `width` x `height` CSS pixels, sharp on dense screens.
 * @param {HTMLCanvasElement} canvas
 * @returns {CanvasRenderingContext2D}
 */
export function context(canvas, width, height) {
  const longest = Math.max(width, height, 1);
  const density = Math.min(window.devicePixelRatio || 1, 16000 / longest);
  canvas.width = Math.max(1, Math.round(width * density));
  canvas.height = Math.max(1, Math.round(height * density));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  drawing.scale(canvas.width / Math.max(width, 1), canvas.height / Math.max(height, 1));
  return drawing;
}

/** The value of a custom property of the page, such as `--ink`. */
export function paint(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
