import { coloursOf } from "./axes.js";

const RADIUS = 2.3;
const MANY = 5000;
const HIDDEN = 0.12; // of the cover of a dot that a filter leaves out
const SCALE = 1024;
const DENSEST = 0.9;

/**
 * Very many dots as pixels: paths of tens of thousands take too long.
 *
 * What dots leave uncovered of a pixel multiplies, so its logarithm adds up, in whole numbers: a
 * filter that moves takes out and puts in what it changes, and no other dot is touched.
 */
export class Dots {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
  }

  /**
   * Put the dots down, all shown.
   * @param {{width: number, height: number, xs: Float64Array, ys: Float64Array, clip: {left: number, top: number, right: number, bottom: number}}} what
   *   `xs`, `ys` in CSS pixels (NaN: no dot); the clip leaves room for half a dot on each side
   */
  lay({ width, height, xs, ys, clip }) {
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    Object.assign(this.canvas, { width: w, height: h });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    this.image = this.canvas.getContext("2d").createImageData(w, h);
    this.sums = new Int32Array(w * h);
    this.shown = new Uint8Array(xs.length).fill(1);
    this.places = new Int32Array(xs.length).fill(-1);
    const alpha = xs.length > MANY ? 0.28 : 0.45;
    const disc = discOf(RADIUS * ratio);
    this.offsets = Int32Array.from(disc, ([dx, dy]) => dy * w + dx);
    const stampOf = (share) => Int32Array.from(disc, ([, , part]) => logarithm(share * part));
    const faint = stampOf(alpha * HIDDEN);
    this.stamp = stampOf(alpha);
    this.difference = this.stamp.map((amount, i) => amount - faint[i]);
    for (let i = 0; i < xs.length; i += 1) {
      const inside =
        xs[i] >= clip.left && xs[i] <= clip.right && ys[i] >= clip.top && ys[i] <= clip.bottom;
      if (!inside) continue; // NaN too
      this.places[i] = Math.round(ys[i] * ratio) * w + Math.round(xs[i] * ratio);
      this.add(i, this.stamp, 1);
    }
  }

  add(i, stamp, sign) {
    const { offsets, sums } = this;
    const place = this.places[i];
    for (let k = 0; k < offsets.length; k += 1) sums[place + offsets[k]] += sign * stamp[k];
  }

  /** Show those that pass, the others faintly. @param {Uint8Array | null} mask */
  filter(mask) {
    for (let i = 0; i < this.shown.length; i += 1) {
      const shows = mask ? mask[i] : 1;
      if (shows === this.shown[i] || this.places[i] < 0) continue;
      this.shown[i] = shows;
      this.add(i, this.difference, shows ? 1 : -1);
    }
  }

  /** Paint them in the theme's colour. */
  paint() {
    if (!this.image) return;
    const [red, green, blue] = coloursOf(this.canvas).dot;
    const colour = (blue << 16) | (green << 8) | red;
    const pixels = new Uint32Array(this.image.data.buffer);
    for (let at = 0; at < pixels.length; at += 1)
      pixels[at] = (OPACITY[Math.min(this.sums[at], OPACITY.length - 1)] << 24) | colour;
    this.canvas.getContext("2d").putImageData(this.image, 0, 0);
  }
}

const logarithm = (cover) => Math.round(-Math.log(1 - cover) * SCALE);

/** The opacity, of 255, for each sum of logarithms up to that of the densest. */
const OPACITY = Uint8Array.from(
  { length: logarithm(DENSEST) + 1 },
  (_, sum) => 255 * (1 - Math.exp(-sum / SCALE)),
);

/** The pixels of a disc with how much of each it covers. */
function discOf(radius) {
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
