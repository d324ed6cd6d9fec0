import { dotColour } from "./axes.js";

/**
 * Paint very many dots: into a buffer of pixels, as paths of tens of thousands take too long.
 * @param {HTMLCanvasElement} canvas
 * @param {{width: number, height: number, xs: Float64Array, ys: Float64Array, shown: Uint8Array, clip: {left: number, top: number, right: number, bottom: number}}} what
 *   `xs`, `ys` in CSS pixels (NaN: no dot); `shown` 0 for a dot that a filter leaves out.
 */
export function paintDots(canvas, { width, height, xs, ys, shown, clip }) {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const w = Math.round(width * ratio);
  const h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(w, h);
  const cover = new Float32Array(w * h);
  const stamp = disc(2.3 * ratio);
  const each = xs.length > 5000 ? 0.28 : 0.45;
  const [x0, x1, y0, y1] = [
    clip.left * ratio,
    clip.right * ratio,
    clip.top * ratio,
    clip.bottom * ratio,
  ];
  for (let i = 0; i < xs.length; i += 1) {
    const cx = Math.round(xs[i] * ratio);
    const cy = Math.round(ys[i] * ratio);
    if (!(cx >= x0 && cx <= x1 && cy >= y0 && cy <= y1)) continue; // NaN too
    const alpha = shown[i] ? each : each * 0.12;
    for (const [dx, dy, share] of stamp) {
      const x = cx + dx;
      const y = cy + dy;
      if (x < 0 || y < 0 || x >= w || y >= h) continue;
      const at = y * w + x;
      cover[at] += (1 - cover[at]) * alpha * share;
    }
  }
  const [red, green, blue] = dotColour();
  const pixels = new Uint32Array(image.data.buffer);
  const colour = (blue << 16) | (green << 8) | red;
  for (let at = 0; at < cover.length; at += 1) {
    if (cover[at] > 0) pixels[at] = ((Math.min(0.9, cover[at]) * 255) << 24) | colour;
  }
  context.putImageData(image, 0, 0);
}

/** The pixels of a disc with how much of each it covers. */
function disc(radius) {
  const reach = Math.ceil(radius);
  const pixels = [];
  for (let dy = -reach; dy <= reach; dy += 1) {
    for (let dx = -reach; dx <= reach; dx += 1) {
      const share = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(dx, dy)));
      if (share > 0) pixels.push([dx, dy, share]);
    }
  }
  return pixels;
}
