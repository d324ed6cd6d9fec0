import { html, nothing, svg } from "../vendor/lit.js";
import { extent, line, scaleLinear } from "../vendor/d3.js";
import { define, Part } from "../core/element.js";
import { count } from "../core/format.js";
import { airy, bottomAxis, leftAxis, MARGIN, watchWidth } from "./axes.js";
import { table } from "../parts/common.js";

const HEIGHT = 220;
const ROWS = 100;

/** One scalar of a job over what its step has done. */
class Curve extends Part {
  static properties = { name: {}, points: { attribute: false }, width: { state: true } };

  firstUpdated() {
    watchWidth(this.querySelector(".chart"), (width) => (this.width = width), this.leaving.signal);
  }

  render() {
    const last = this.points.at(-1);
    return html`<div class="stack tight"><h3>${this.name.replaceAll("_", " ")} <span class="soft number">${last[1].toPrecision(4)}</span></h3>
      <div class="chart"><svg height=${HEIGHT} viewBox="0 0 ${this.width ?? 400} ${HEIGHT}" role="img" aria-label="${this.name} over what is done; the table below says the same">${this.width && this.points.length > 1 ? this.drawing() : nothing}</svg></div>
      <details><summary>As a table</summary>${table(
        [
          ["Done", "right"],
          [this.name, "right"],
        ],
        this.points
          .slice(-ROWS)
          .reverse()
          .map(
            ([done, number]) =>
              html`<tr><td class="right">${count(done)}</td><td class="right">${number.toPrecision(5)}</td></tr>`,
          ),
      )}</details></div>`;
  }

  drawing() {
    const { width, points } = this;
    const x = scaleLinear(
      extent(points, (each) => each[0]),
      [MARGIN.left, width - MARGIN.right],
    );
    const y = scaleLinear(
      airy(
        extent(points, (each) => each[1]),
        0.08,
      ),
      [HEIGHT - MARGIN.bottom, MARGIN.top],
    );
    return svg`${bottomAxis(x, { width, height: HEIGHT, title: "Done", format: count })}${leftAxis(y, { width, height: HEIGHT, title: "", format: (tick) => tick.toPrecision(3) })}
      <path class="line" d=${line(
        (each) => x(each[0]),
        (each) => y(each[1]),
      )(points)}></path>`;
  }
}

define("nas-curve", Curve);
