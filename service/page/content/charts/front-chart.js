import { html, nothing, repeat, svg } from "../vendor/lit.js";
import { curveStepAfter, extent, line, quadtree, scaleLinear } from "../vendor/d3.js";
import { define, Part } from "../core/element.js";
import { SearchModel } from "../core/search-model.js";
import { isCost, label, lessIsBetter, quantity } from "../core/format.js";
import { airy, bottomAxis, leftAxis, MARGIN, watchWidth } from "./axes.js";
import { Dots } from "./dots.js";

const REFERENCES = {
  maximal: "M-6-6h12v12h-12z",
  minimal: "M0 7-7-5h14z",
  heuristic: "M0-8 8 0 0 8-8 0z",
};
const NEAR = 14; // pixels from the pointer

/**
 * The Pareto front: its members as marks to focus and walk, all other subnets as dots below.
 *
 * Says `pick` (a number, or null), `open` and `take` (a number).
 */
class FrontChart extends Part {
  static properties = {
    model: { attribute: false },
    revision: { attribute: false },
    x: {},
    y: {},
    bounds: { attribute: false },
    selected: { attribute: false },
    best: { attribute: false },
    knee: { attribute: false },
    mask: { attribute: false },
    zoomed: { attribute: false },
    width: { state: true },
    hovered: { state: true },
  };

  constructor() {
    super();
    this.width = 0;
    this.bounds = {};
  }

  firstUpdated() {
    watchWidth(this.querySelector(".chart"), (width) => (this.width = width), this.leaving.signal);
    this.dots = new Dots(this.querySelector("canvas"));
    addEventListener("theme", () => this.dots.paint(), { signal: this.leaving.signal });
  }

  get height() {
    return this.width < 520 ? 300 : 420;
  }

  willUpdate(changed) {
    if (!this.model || !this.width) return;
    if (["model", "revision", "x", "y", "width", "zoomed"].some((name) => changed.has(name)))
      this.lay();
  }

  /** Scales, and the place of every dot. */
  lay() {
    const { columns, front, members: onFront } = this.model;
    const members = front.items.filter(
      (item) =>
        Number.isFinite(SearchModel.of(item, this.x)) &&
        Number.isFinite(SearchModel.of(item, this.y)),
    );
    const ends = (name) =>
      extent([
        ...members.map((item) => SearchModel.of(item, name)),
        ...this.intervals(members, name),
      ]);
    const domain = (name) => {
      const [low, high] = ends(name);
      if (this.zoomed) return [low, high];
      const [all0, all1] = extent(columns[name] ?? []);
      return low === undefined
        ? [all0, all1]
        : [Math.min(low, all0 ?? low), Math.max(high, all1 ?? high)];
    };
    this.members = [...members].sort(
      (a, b) => SearchModel.of(a, this.x) - SearchModel.of(b, this.x),
    );
    this.scaleX = scaleLinear(airy(domain(this.x)), [MARGIN.left, this.width - MARGIN.right]);
    this.scaleY = scaleLinear(airy(domain(this.y), 0.06), [
      this.height - MARGIN.bottom,
      MARGIN.top,
    ]);
    const count = this.model.count;
    this.xs = new Float64Array(count);
    this.ys = new Float64Array(count);
    for (let i = 0; i < count; i += 1) {
      const a = columns[this.x]?.[i];
      const b = columns[this.y]?.[i];
      const isDot =
        a !== null &&
        a !== undefined &&
        b !== null &&
        b !== undefined &&
        !onFront.has(columns.number[i]);
      this.xs[i] = isDot ? this.scaleX(a) : Number.NaN;
      this.ys[i] = isDot ? this.scaleY(b) : Number.NaN;
    }
    this.tree = null;
  }

  intervals(members, name) {
    return members.flatMap((item) => {
      const found = item.verified?.metrics[name];
      return found ? [found.low, found.high] : [];
    });
  }

  /** Put the dots down where their places are new; filter and paint them where that has changed. */
  updated(changed) {
    if (!this.xs) return;
    const { width, height, xs, ys } = this;
    const isLaid = this.laid === xs;
    if (isLaid && !changed.has("mask")) return;
    if (!isLaid) {
      const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
      this.dots.lay({ width, height, xs, ys, clip: { ...MARGIN, right, bottom } });
      this.laid = xs;
    }
    this.dots.filter(this.mask);
    this.dots.paint();
  }

  // -- pointers and keys --------------------------------------------------------------------

  nearest(event) {
    const box = this.querySelector("svg").getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const member = this.members
      .map((item) => [
        Math.hypot(
          this.scaleX(SearchModel.of(item, this.x)) - x,
          this.scaleY(SearchModel.of(item, this.y)) - y,
        ),
        item.number,
      ])
      .sort((a, b) => a[0] - b[0])[0];
    if (member && member[0] < NEAR) return member[1];
    this.tree ??= quadtree(
      [...this.xs.keys()].filter((i) => !Number.isNaN(this.xs[i])),
      (i) => this.xs[i],
      (i) => this.ys[i],
    );
    const found = this.tree.find(x, y, NEAR);
    return found === undefined ? null : this.model.columns.number[found];
  }

  hover(event) {
    this.hovered = this.nearest(event);
  }

  say(kind, number) {
    this.dispatchEvent(new CustomEvent(kind, { detail: number, bubbles: true }));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.members.findIndex((item) => item.number === this.selected);
    const last = this.members.length - 1;
    const to = {
      ArrowRight: Math.min(last, at + 1),
      ArrowUp: Math.min(last, at + 1),
      ArrowLeft: Math.max(0, at - 1),
      ArrowDown: Math.max(0, at - 1),
      Home: 0,
      End: last,
    }[event.key];
    if (to !== undefined && last >= 0) this.say("pick", this.members[to].number);
    else if (event.key === "Enter" && this.selected !== null) this.say("open", this.selected);
    else if (event.key === "d" && this.selected !== null) this.say("take", this.selected);
    else if (event.key === "?") this.querySelector("dialog").showModal();
    else if (event.key === "Escape") this.say("pick", null);
    else return;
    event.preventDefault();
  }

  // -- what is seen -------------------------------------------------------------------------

  render() {
    const ready = this.model && this.width && this.scaleX;
    return html`
      <div class="chart" @pointermove=${this.hover} @pointerleave=${() => (this.hovered = null)} @click=${(event) => this.say("pick", this.nearest(event))}>
        <canvas aria-hidden="true"></canvas>
        <svg height=${this.height} viewBox="0 0 ${this.width} ${this.height}" aria-label="Pareto front">${ready ? this.drawing() : nothing}</svg>
        ${ready ? this.tip() : nothing}
      </div>
      ${keysDialog()}`;
  }

  drawing() {
    const { width, height } = this;
    const passes = ({ number }) => !this.mask || this.mask[this.model.rows.get(number)];
    const within = this.model.within(this.bounds).filter(passes);
    const inside = new Set(within.map((item) => item.number));
    return svg`
      ${bottomAxis(this.scaleX, { width, height, name: this.x })}
      ${leftAxis(this.scaleY, { width, height, name: this.y })}
      ${this.bound()}
      ${this.stairs()}
      <g aria-hidden="true">${this.members.map((item) => this.interval(item))}</g>
      <g class="front" role="listbox" tabindex="0" aria-label=${`Pareto front, ${this.members.length} subnets by ${label(this.x)}. Arrows walk it, Enter opens, d downloads, question mark lists the keys`} aria-activedescendant=${this.members.some((item) => item.number === this.selected) ? `member-${this.selected}` : nothing} @keydown=${this.key}>
        ${repeat(
          this.members,
          (item) => item.number,
          (item) => this.member(item, inside.has(item.number)),
        )}
      </g>
      <rect class="focus-frame" x="1" y="6" width=${width - 2} height=${height - 8} rx="6"></rect>
      <g aria-hidden="true">${this.references()}${this.chosenDot()}</g>`;
  }

  at(item) {
    return [this.scaleX(SearchModel.of(item, this.x)), this.scaleY(SearchModel.of(item, this.y))];
  }

  member(item, isInside) {
    const [x, y] = this.at(item);
    const named = [item.number === this.best && "best", item.number === this.knee && "knee"].filter(
      Boolean,
    );
    const isSelected = item.number === this.selected;
    return svg`<g class="member ${isInside ? "" : "outside"}" role="option" id="member-${item.number}" aria-selected=${isSelected} aria-label=${describe(item, [this.x, this.y], named)} transform="translate(${x} ${y})">
      ${named.length ? svg`<circle class="named" r="9"></circle>${nameOf(named, x, this.width)}` : nothing}
      ${isSelected ? svg`<circle class="ring" r="9"></circle>` : nothing}
      <circle r="5.2"></circle>
    </g>`;
  }

  interval(item) {
    const found = item.verified?.metrics[this.y];
    if (!found) return nothing;
    const x = this.scaleX(SearchModel.of(item, this.x));
    const [low, high, mid] = [found.low, found.high, found.value].map(this.scaleY);
    return svg`<path class="interval" d="M${x} ${low}V${high}M${x - 3} ${low}h6M${x - 3} ${high}h6M${x - 5} ${mid}h10"></path>`;
  }

  /** The best that can be had at each cost. */
  stairs() {
    if (!isCost(this.x) || isCost(this.y) || !this.members.length) return nothing;
    const sign = lessIsBetter(this.y) ? -1 : 1;
    let best = -Infinity;
    /** @type {[number, number][]} */
    const steps = this.members.map((item) => {
      best = Math.max(best, sign * SearchModel.of(item, this.y));
      return [this.scaleX(SearchModel.of(item, this.x)), this.scaleY(sign * best)];
    });
    steps.push([this.width - MARGIN.right, steps.at(-1)[1]]);
    return svg`<path class="stairs" aria-hidden="true" d=${line().curve(curveStepAfter)(steps)}></path>`;
  }

  /** Where the sliders have put an end to either axis. */
  bound() {
    const [top, bottom, left, right] = [
      MARGIN.top,
      this.height - MARGIN.bottom,
      MARGIN.left,
      this.width - MARGIN.right,
    ];
    const marks = [];
    if (this.x in this.bounds) {
      const x = Math.max(left, Math.min(right, this.scaleX(this.bounds[this.x])));
      const [from, to] = lessIsBetter(this.x) ? [x, right] : [left, x];
      marks.push(
        svg`<rect class="beyond" x=${from} y=${top} width=${to - from} height=${bottom - top}></rect><line class="bound" x1=${x} x2=${x} y1=${top} y2=${bottom}></line>`,
      );
    }
    if (this.y in this.bounds) {
      const y = Math.max(top, Math.min(bottom, this.scaleY(this.bounds[this.y])));
      const [from, to] = lessIsBetter(this.y) ? [top, y] : [y, bottom];
      marks.push(
        svg`<rect class="beyond" x=${left} y=${from} width=${right - left} height=${to - from}></rect><line class="bound" x1=${left} x2=${right} y1=${y} y2=${y}></line>`,
      );
    }
    return svg`<g aria-hidden="true">${marks}</g>`;
  }

  references() {
    const { columns } = this.model;
    const marks = [];
    for (const [origin, path] of Object.entries(REFERENCES)) {
      const row = columns.origin.indexOf(origin);
      if (row < 0 || columns[this.x]?.[row] == null || columns[this.y]?.[row] == null) continue;
      marks.push(
        svg`<path class="reference" d=${path} transform="translate(${this.scaleX(columns[this.x][row])} ${this.scaleY(columns[this.y][row])})"></path>`,
      );
    }
    return this.zoomed ? nothing : marks;
  }

  /** A ring about a selected dot that is not on the front. */
  chosenDot() {
    const row = this.model.rows.get(this.selected);
    if (row === undefined || Number.isNaN(this.xs[row])) return nothing;
    return svg`<g class="member" transform="translate(${this.xs[row]} ${this.ys[row]})"><circle class="ring" r="8"></circle></g>`;
  }

  tip() {
    const row = this.model.rows.get(this.hovered);
    if (row === undefined) return nothing;
    const { columns } = this.model;
    const item = this.model.members.get(this.hovered);
    const [x, y] = item ? this.at(item) : [this.xs[row], this.ys[row]];
    const left = Math.max(0, x > this.width - 220 ? x - 200 : x + 14);
    return html`<div class="tip" aria-hidden="true" .style=${`transform:translate(${left}px,${Math.max(0, y - 40)}px)`}>
      <strong>No. ${this.hovered}</strong>${item ? " on the front" : ""}${columns.origin[row] in REFERENCES ? `, ${columns.origin[row]}` : ""}<br>
      ${this.model.search.objectives.map((name) => html`${quantity(name, columns[name][row])}<br>`)}
    </div>`;
  }
}

/** What a member is called; the knee is left of the best, and its word is too. */
function nameOf(named, x, width) {
  const side = named.length > 1 ? 0 : named[0] === "knee" || x > width - 60 ? 1 : -1;
  const anchor = { 0: "middle", 1: "end", [-1]: "start" }[side];
  return svg`<text class="strong halo" x=${side * 7} y="-14" text-anchor=${anchor}>${named.join(", ")}</text>`;
}

/** A member of the front in words. */
export function describe(item, names, named = []) {
  const words = names.map((name) => quantity(name, SearchModel.of(item, name)));
  return `No. ${item.number}${named.length ? ` (${named.join(", ")})` : ""}, ${words.join(", ")}`;
}

const KEYS = [
  ["← →", "Walk the front by cost"],
  ["Home End", "To the cheapest, to the dearest"],
  ["Enter", "Open the subnet"],
  ["d", "Download the subnet"],
  ["Esc", "Select nothing"],
  ["?", "This list"],
];

const keysDialog =
  () => html`<dialog aria-label="Keys"><div class="stack"><h2>Keys of the front</h2>
  <dl class="pairs">${KEYS.map(([keys, does]) => html`<dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${does}</dd>`)}</dl>
  <form method="dialog"><button autofocus>Close</button></form></div></dialog>`;

export const frontLegend = (model) => html`<div class="legend" aria-hidden="true">
  <span><svg viewBox="-7 -7 14 14"><g class="member"><circle r="5"/></g></svg>on the front</span>
  <span><svg viewBox="-7 -7 14 14"><circle r="3" fill="currentColor" opacity="0.5"/></svg>other subnets</span>
  ${model.front.items.some((item) => item.verified) ? html`<span><svg viewBox="-7 -7 14 14"><path class="interval" d="M0-7V7M-3-7h6M-3 7h6M-5 0h10"/></svg>on unseen rows, 95 %</span>` : nothing}
  ${Object.entries(REFERENCES).map(([origin, path]) => html`<span><svg viewBox="-9 -9 18 18"><path class="reference" d=${path}/></svg>${origin}</span>`)}
</div>`;

define("nas-front-chart", FrontChart);
