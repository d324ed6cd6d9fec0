import { html, nothing } from "../vendor/lit.js";
import { get } from "../core/api.js";
import { define, Part } from "../core/element.js";
import { percent } from "../core/format.js";
import { loading, problemNote, problemOf, progressBar, table } from "../parts/common.js";
import { partTitle } from "./layer-picture.js";

const MOST_BARS = 24;

/** A drawing whose data the server computes: read anew when the search has moved on and it is seen. */
export class Plot extends Part {
  /** @type {Record<string, object>} */
  static properties = {
    model: { attribute: false },
    version: { attribute: false },
    data: { state: true },
    problem: { state: true },
  };

  willUpdate(changed) {
    if (!this.model || !(changed.has("version") || changed.has("model"))) return;
    const state = `${this.model.front.hypervolume} ${this.model.isOver}`;
    if (state === this.state || this.reading) return;
    this.state = state;
    this.read();
  }

  async read() {
    this.reading = true;
    try {
      this.data = await get(
        `${this.model.path}/plots/${this.kind}?format=json`,
        this.leaving.signal,
      );
      this.problem = null;
    } catch (error) {
      this.problem = problemOf(error);
    }
    this.reading = false;
  }

  render() {
    if (this.problem?.type === "/problems/nothing-to-draw")
      return html`<p class="soft">${this.problem.detail}</p>`;
    if (this.problem) return problemNote(this.problem);
    return this.data ? this.drawing() : loading();
  }

  /** @returns {unknown} */
  drawing() {
    return nothing;
  }
}

/** A cell for each layer and part of the front: the mean share of the largest choice. */
class Widths extends Plot {
  kind = "widths";

  drawing() {
    const rows = this.data.layers.widths;
    const parts = [...new Set(rows.map((each) => each.part))];
    const layers = [...new Set(rows.map((each) => each.layer))].sort((a, b) => a - b);
    const found = new Map(rows.map((each) => [`${each.part} ${each.layer}`, each.share]));
    return html`<div class="scroll" tabindex="0" role="group" aria-label="Widths over the front"><table class="heat">
      <caption>Mean share of the largest choice over the ${this.model.front.items.length} subnets of the front; layer 0 is next to the embeddings</caption>
      <thead><tr><th scope="col">Layer</th>${layers.map((layer) => html`<th scope="col" class="right">${layer}</th>`)}</tr></thead>
      <tbody>${parts.map((part) => html`<tr><th scope="row">${partTitle(part)}</th>${layers.map((layer) => cell(found.get(`${part} ${layer}`)))}</tr>`)}</tbody></table></div>`;
  }
}

const cell = (share) =>
  share === null || share === undefined
    ? html`<td class="right">–</td>`
    : html`<td class="right" .style=${`--share:${Math.round(share * 100)}%`}>${percent(share)}</td>`;

/** A bar for each dimension, the most important first. */
class Importance extends Plot {
  static properties = { all: { state: true } };
  kind = "importance";

  drawing() {
    const rows = this.data.layers.importance;
    const most = rows[0]?.share || 1;
    const shown = this.all ? rows : rows.slice(0, MOST_BARS);
    return html`${table(
      ["Dimension", "Part", ["Importance", "right"], ["Bar", "wide unseen"]],
      shown.map(
        (each) =>
          html`<tr><td>${each.name}</td><td>${partTitle(each.part)}</td><td class="right">${(each.share * 100).toFixed(1)} %</td><td>${progressBar(each.share / most, `Importance of ${each.name}`)}</td></tr>`,
      ),
      {
        caption:
          "How much each dimension decides whether a subnet is among the best tenth (PED-ANOVA)",
      },
    )}
      ${rows.length > shown.length ? html`<button class="link" type="button" @click=${() => (this.all = true)}>All ${rows.length} dimensions</button>` : nothing}`;
  }
}

define("nas-widths", Widths);
define("nas-importance", Importance);
