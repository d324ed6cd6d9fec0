import { html, nothing, svg } from "../vendor/lit.js";
import { area, curveStepAfter, line, scaleLinear } from "../vendor/d3.js";
import { define, Part } from "../core/element.js";
import { count } from "../core/format.js";
import { bottomAxis, leftAxis, MARGIN, watchWidth } from "./axes.js";
import { table } from "../parts/common.js";

const HEIGHT = 280;
const ROWS = 200;

/** The hypervolume after each result, and when today's front was found. */
class History extends Part {
  static properties = {
    model: { attribute: false },
    revision: { attribute: false },
    width: { state: true },
  };

  firstUpdated() {
    watchWidth(this.querySelector(".chart"), (width) => (this.width = width), this.leaving.signal);
  }

  /** Only where it rises: a long search is flat nearly everywhere. */
  rises() {
    const { hypervolume, number } = this.model.columns;
    const found = [];
    let last = -1;
    for (let i = 0; i < hypervolume.length; i += 1) {
      if (hypervolume[i] === null || hypervolume[i] <= last) continue;
      last = hypervolume[i];
      found.push({ after: i + 1, value: last, number: number[i] });
    }
    return found;
  }

  render() {
    const rises = this.model ? this.rises() : [];
    return html`<div class="chart"><svg height=${HEIGHT} viewBox="0 0 ${this.width ?? 600} ${HEIGHT}" role="img" aria-label="Hypervolume after each evaluation; the table below says the same">${this.width && rises.length ? this.drawing(rises) : nothing}</svg></div>
      <p class="small soft">${rises.length ? `The front has grown ${count(rises.length)} times, last with result ${count(rises.at(-1).after)} of ${count(this.model.count)}. Ticks below are when today's front was found.` : "Nothing has been measured yet."}</p>
      <details><summary>As a table</summary>${table(
        [
          ["After", "right"],
          ["Subnet", "right"],
          ["Hypervolume", "right"],
        ],
        rises
          .slice(-ROWS)
          .reverse()
          .map(
            (each) =>
              html`<tr><td class="right">${count(each.after)}</td><td class="right"><a href="/searches/${this.model.id}/subnets/${each.number}">${each.number}</a></td><td class="right">${each.value.toFixed(4)}</td></tr>`,
          ),
      )}</details>`;
  }

  drawing(rises) {
    const { width } = this;
    const budget = this.model.isOver
      ? this.model.count
      : Math.max(this.model.count, this.model.search.progress.budget_evaluations);
    const x = scaleLinear([0, Math.max(1, budget)], [MARGIN.left, width - MARGIN.right]);
    const y = scaleLinear([0, rises.at(-1).value * 1.06], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    const steps = [
      ...rises.map((each) => [x(each.after), y(each.value)]),
      [x(this.model.count), y(rises.at(-1).value)],
    ];
    const end = HEIGHT - MARGIN.bottom;
    return svg`
      ${bottomAxis(x, { width, height: HEIGHT, title: "Evaluations", format: (tick) => (Number.isInteger(tick) ? count(tick) : "") })}
      ${leftAxis(y, { width, height: HEIGHT, title: "Hypervolume", format: (tick) => tick.toPrecision(2) })}
      <path class="area" d=${area().curve(curveStepAfter).y0(end)(steps)}></path>
      <path class="line" d=${line().curve(curveStepAfter)(steps)}></path>
      <g>${this.model.front.items.map((item) => {
        const row = this.model.rows.get(item.number);
        return row === undefined
          ? nothing
          : svg`<line class="line" x1=${x(row + 1)} x2=${x(row + 1)} y1=${end - 8} y2=${end}></line>`;
      })}</g>`;
  }
}

define("nas-history", History);
