import { nothing, svg } from "../vendor/lit.js";
import { label, value } from "../core/format.js";

export const MARGIN = { top: 14, right: 16, bottom: 44, left: 58 };

/**
 * @typedef {{width: number, height: number, name?: string, title?: string, format?: (tick: number) => string}} Axis
 *   `name` of a metric or cost gives the title and the format of those who say none
 */

/** The bottom axis of a chart: ticks, their values, and what they are of. @param {any} scale @param {Axis} axis */
export function bottomAxis(
  scale,
  { width, height, name = "", title = label(name), format = (tick) => value(name, tick) },
) {
  const ticks = scale.ticks(Math.max(3, Math.floor(width / 90)));
  const end = height - MARGIN.bottom;
  return svg`<g class="axis" aria-hidden="true">
    <g class="grid">${ticks.map((tick) => svg`<line x1=${scale(tick)} x2=${scale(tick)} y1=${MARGIN.top} y2=${end}></line>`)}</g>
    <line x1=${MARGIN.left} x2=${width - MARGIN.right} y1=${end} y2=${end}></line>
    ${ticks.map((tick) => svg`<text x=${scale(tick)} y=${end + 17} text-anchor="middle">${format(tick)}</text>`)}
    <text x=${width - MARGIN.right} y=${height - 6} text-anchor="end" class="strong">${title}</text>
  </g>`;
}

/** The left axis. Its title stands above it, to be read without turning the head. @param {any} scale @param {Axis} axis */
export function leftAxis(
  scale,
  { width, height, name = "", title = label(name), format = (tick) => value(name, tick) },
) {
  const ticks = scale.ticks(Math.max(3, Math.floor(height / 60)));
  return svg`<g class="axis" aria-hidden="true">
    <g class="grid">${ticks.map((tick) => svg`<line x1=${MARGIN.left} x2=${width - MARGIN.right} y1=${scale(tick)} y2=${scale(tick)}></line>`)}</g>
    ${ticks.map((tick) => svg`<text x=${MARGIN.left - 8} y=${scale(tick) + 4} text-anchor="end">${format(tick)}</text>`)}
    ${title ? svg`<text x="0" y="2" class="strong">${title}</text>` : nothing}
  </g>`;
}

/** Watch an element's width. */
export function watchWidth(element, onWidth, signal) {
  const observer = new ResizeObserver(([entry]) =>
    onWidth(Math.max(240, Math.floor(entry.contentRect.width))),
  );
  observer.observe(element);
  signal.addEventListener("abort", () => observer.disconnect());
}

/** A range with some air on both sides; of one value a range about it. @param {number[]} range */
export function airy([low, high], share = 0.04) {
  if (low === undefined) return [0, 1];
  const span = high - low || Math.abs(high) || 1;
  return [low - span * share, high + span * share];
}

/** The colours of a canvas as the stylesheet has them for the theme: of dots, and of the front. */
export function coloursOf(canvas) {
  const { color, accentColor } = getComputedStyle(canvas);
  return { dot: color.match(/\d+/g).map(Number), accent: accentColor };
}
