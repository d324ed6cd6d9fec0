import { html, nothing } from "../vendor/lit.js";
import { get } from "../core/api.js";
import { define, Part } from "../core/element.js";
import { problemNote, problemOf } from "../parts/common.js";

/** A drawing whose data the server computes: read anew when the search has moved on and it is seen. */
export class Plot extends Part {
  static properties = { model: { attribute: false }, version: { attribute: false }, data: { state: true }, problem: { state: true } };

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
      this.data = await get(`${this.model.path}/plots/${this.kind}?format=json`, this.leaving.signal);
      this.problem = null;
    } catch (error) {
      this.problem = problemOf(error);
    }
    this.reading = false;
  }

  render() {
    if (this.problem?.type === "/problems/nothing-to-draw") return html`<p class="soft">${this.problem.detail}</p>`;
    if (this.problem?.status === 422) return html`<img .style=${"max-width:100%"} src="${this.model.path}/plots/${this.kind}?format=svg" alt=${this.alt}>`;
    if (this.problem) return problemNote(this.problem);
    return this.data ? this.drawing() : html`<p class="soft">Loading…</p>`;
  }

  drawing() {
    return nothing;
  }
}

class Widths extends Plot {
  kind = "widths";
  alt = "The front's mean share of each layer's heads, widths and ranks";
}

class Importance extends Plot {
  kind = "importance";
  alt = "Which dimensions decide whether a subnet is among the best";
}

define("nas-widths", Widths);
define("nas-importance", Importance);
