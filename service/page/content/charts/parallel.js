import { html, nothing, svg } from "../vendor/lit.js";
import { extent, scaleLinear } from "../vendor/d3.js";
import { define, Part } from "../core/element.js";
import { count, label, value } from "../core/format.js";
import { coloursOf, watchWidth } from "./axes.js";

const HEIGHT = 320;
const TOP = 40;
const BOTTOM = 16;
const SIDE = 74;
const LINES = 1500;
const OUTSIDE = 400;
const IN_MOTION = 0.2; // of the lines are drawn while a brush is dragged

/**
 * Each subnet a line over an axis for each objective and cost; a brush on an axis filters.
 *
 * Says `ranges`: `{name: [low, high]}`, as the filters of the table have them.
 */
class Parallel extends Part {
  static properties = {
    model: { attribute: false },
    revision: { attribute: false },
    names: { attribute: false },
    ranges: { attribute: false },
    mask: { attribute: false },
    width: { state: true },
  };

  firstUpdated() {
    watchWidth(
      this.querySelector(".scroll"),
      (width) => (this.width = Math.max(width, this.names.length * 104)),
      this.leaving.signal,
    );
    addEventListener("theme", () => this.requestUpdate(), { signal: this.leaving.signal });
  }

  willUpdate() {
    if (!this.model || !this.width) return;
    const { columns } = this.model;
    const key = `${this.revision} ${this.width} ${this.names.join()}`;
    if (key === this.laid) return;
    this.laid = key;
    const gap = (this.width - 2 * SIDE) / Math.max(1, this.names.length - 1);
    this.axes = this.names.map((name, i) => {
      const [low, high] = extent(columns[name]);
      const domain = low === undefined ? [0, 1] : low === high ? [low - 1, high + 1] : [low, high];
      return { name, x: SIDE + i * gap, scale: scaleLinear(domain, [HEIGHT - BOTTOM, TOP]) };
    });
  }

  updated() {
    if (this.axes && this.width) this.paint();
  }

  /** A drag along an axis is a range of it; a click lets go of one. */
  brush(event, { name, scale }) {
    const overlay = event.currentTarget;
    const at = (move) => clamp(move.clientY - overlay.ownerSVGElement.getBoundingClientRect().top);
    const from = at(event);
    overlay.setPointerCapture(event.pointerId);
    this.inMotion = true;
    const say = (to) => {
      const { [name]: _, ...others } = this.ranges;
      const ends = [scale.invert(Math.max(from, to)), scale.invert(Math.min(from, to))];
      this.dispatchEvent(
        new CustomEvent("ranges", {
          detail: Math.abs(to - from) < 3 ? others : { ...others, [name]: ends },
        }),
      );
    };
    const drag = (move) => say(at(move));
    overlay.addEventListener("pointermove", drag);
    const end = (up) => {
      overlay.removeEventListener("pointermove", drag);
      this.inMotion = false;
      say(at(up));
      this.requestUpdate();
    };
    overlay.addEventListener("pointerup", end, { once: true });
  }

  selection({ name, scale }) {
    const range = this.ranges[name];
    if (!range) return nothing;
    const [top, bottom] = [
      clamp(scale(Math.min(range[1], scale.domain()[1]))),
      clamp(scale(Math.max(range[0], scale.domain()[0]))),
    ];
    return svg`<rect class="selection" x="-9" y=${top} width="18" height=${Math.max(1, bottom - top)} rx="3"></rect>`;
  }

  paint() {
    const canvas = this.querySelector("canvas");
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [Math.round(this.width * ratio), HEIGHT * ratio];
    const context = canvas.getContext("2d");
    if (canvas.width === width) context.clearRect(0, 0, width, height);
    else {
      Object.assign(canvas, { width, height });
      Object.assign(canvas.style, { width: `${this.width}px`, height: `${HEIGHT}px` });
      context.scale(ratio, ratio);
    }
    const [inside, outside] = this.sampled();
    const { dot, accent } = coloursOf(canvas);
    const dots = dot.join(",");
    this.stroke(context, outside, `rgba(${dots},0.10)`, 1);
    this.stroke(
      context,
      inside.filter((row) => !this.isMember(row)),
      `rgba(${dots},${inside.length > 300 ? 0.22 : 0.5})`,
      1,
    );
    this.stroke(
      context,
      inside.filter((row) => this.isMember(row)),
      accent,
      1.6,
    );
  }

  isMember(row) {
    return this.model.members.has(this.model.columns.number[row]);
  }

  /** An even share of the lines, and the whole front. */
  sampled() {
    const passes = [];
    const fails = [];
    for (let row = 0; row < this.model.count; row += 1) {
      if (this.model.columns.state[row] !== "completed") continue;
      (!this.mask || this.mask[row] ? passes : fails).push(row);
    }
    this.passing = passes.length;
    const front = [...this.model.members.keys()]
      .map((number) => this.model.rows.get(number))
      .filter((row) => row !== undefined && (!this.mask || this.mask[row]));
    const part = this.inMotion ? IN_MOTION : 1;
    return [[...thinned(passes, LINES * part), ...front], thinned(fails, OUTSIDE * part)];
  }

  stroke(context, rows, style, width) {
    context.beginPath();
    for (const row of rows) {
      this.axes.forEach(({ name, x, scale }, i) => {
        const at = this.model.columns[name][row];
        if (at === null) return;
        if (i) context.lineTo(x, scale(at));
        else context.moveTo(x, scale(at));
      });
    }
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke();
  }

  render() {
    const shown = Math.min(this.passing ?? LINES, LINES);
    return html`<div class="scroll" tabindex="0" role="group" aria-label="Parallel coordinates"><div class="chart"><canvas aria-hidden="true"></canvas>
      <svg height=${HEIGHT} .style=${this.width ? `width:${this.width}px` : ""} viewBox="0 0 ${this.width ?? 600} ${HEIGHT}" aria-label="Parallel coordinates; the filters of the table do the same">
      ${
        this.axes?.map(
          ({ name, x, scale }) => svg`<g class="axis" transform="translate(${x} 0)">
        <line y1=${TOP} y2=${HEIGHT - BOTTOM}></line>
        <text class="strong" y="14" text-anchor="middle">${label(name)}</text>
        <text y="31" text-anchor="middle">${value(name, scale.domain()[1])}</text><text y=${HEIGHT - 2} text-anchor="middle">${value(name, scale.domain()[0])}</text>
        <g class="brush">${this.selection({ name, scale })}<rect class="overlay" data-axis=${name} x="-16" y=${TOP} width="32" height=${HEIGHT - TOP - BOTTOM} @pointerdown=${(event) => this.brush(event, { name, scale })}></rect></g></g>`,
        ) ?? nothing
      }</svg></div></div>
      <p class="small soft">Drag along an axis to filter the front and the table; click an axis to let go. ${this.model && this.model.count > LINES ? `${count(shown)} of ${count(this.passing ?? 0)} lines are drawn, and the whole front.` : ""}
        ${Object.keys(this.ranges ?? {}).length ? html`<button class="link" type="button" @click=${() => this.dispatchEvent(new CustomEvent("ranges", { detail: {} }))}>Remove all filters</button>` : nothing}</p>`;
  }
}

const clamp = (y) => Math.max(TOP, Math.min(HEIGHT - BOTTOM, y));

function thinned(rows, most) {
  if (rows.length <= most) return rows;
  const step = rows.length / most;
  return Array.from({ length: most }, (_, i) => rows[Math.floor(i * step)]);
}

define("nas-parallel", Parallel);
