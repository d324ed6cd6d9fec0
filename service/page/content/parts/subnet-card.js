import { html, nothing } from "../vendor/lit.js";
import { get, once, post } from "../core/api.js";
import { define, Part } from "../core/element.js";
import { duration, isCost, label, percent, value } from "../core/format.js";
import { layerPicture } from "../charts/layer-picture.js";
import { loading, problemNote, problemOf, stateMark } from "./common.js";
import "./take-home.js";

/** What the layers of a super-network are. @returns {Promise<Rest["LayersRead"]>} */
export const shapeOf = (supernet) => once(`/v1/supernets/${supernet}/layers`);

/**
 * What subnets cost, in all and layer by layer, and which halves of layers run.
 * @returns {Promise<Rest["CostsRead"]>}
 */
export const priced = (supernet, subnets, maxLength, signal) =>
  post(
    `/v1/supernets/${supernet}/costs`,
    { subnets, max_length: maxLength, per_layer: true },
    signal,
  );

/** The selected subnet: its numbers, its layers, and what can be done with it. */
class SubnetCard extends Part {
  static properties = {
    model: { attribute: false },
    revision: { attribute: false },
    number: { attribute: false },
    item: { state: true },
    shape: { state: true },
    layers: { state: true },
    problem: { state: true },
  };

  willUpdate(changed) {
    if (!this.model?.search || this.number === null || this.number === undefined) return;
    const known = this.model.members.get(this.number);
    if (changed.has("number") || changed.has("model")) this.read();
    else if (known && this.item?.number === this.number) this.item = known;
  }

  async read() {
    const { number } = this;
    this.problem = null;
    const { supernet_id: supernet, max_length: maxLength } = this.model.search;
    const known = this.model.members.get(number);
    if (known) this.item = known;
    try {
      const item =
        known ?? (await get(`${this.model.path}/evaluations/${number}`, this.leaving.signal));
      if (number !== this.number) return;
      this.item = item;
      this.shape = await shapeOf(supernet);
      const { items } = await priced(supernet, [item.subnet], maxLength, this.leaving.signal);
      if (number === this.number) this.layers = items[0].layers;
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  render() {
    if (!this.model?.search) return nothing;
    if (this.number === null || this.number === undefined)
      return html`<h2>No subnet is selected</h2><p class="soft">Click a dot of the front, or walk the front with the arrow keys.</p>`;
    if (this.problem) return problemNote(this.problem);
    if (!this.item) return loading();
    const { item, model } = this;
    return html`<div class="stack">
      <div class="row spread"><h2>Subnet ${item.number}</h2>${item.on_front ? html`<span class="tag">on the front</span>` : stateMark(item.state)}</div>
      ${numbers(item, model)}
      ${item.error ? problemNote(item.error) : nothing}
      ${this.shape ? html`<div>${layerPicture(this.shape, item.subnet, this.layers)}</div>` : nothing}
      <div class="row">
        <a class="button" href="/searches/${model.id}/subnets/${item.number}">Open</a>
        ${item.number === this.rival() ? nothing : html`<a class="button" href="/searches/${model.id}/compare?a=${this.rival()}&b=${item.number}">Compare with the best</a>`}
        ${item.state === "completed" ? html`<nas-take-home .search=${model.id} .number=${item.number}></nas-take-home>` : nothing}
      </div></div>`;
  }

  rival() {
    return this.model.front.best ?? this.item.number;
  }
}

/** The objectives with their intervals and shares of the full model; all else folded away. @param {Rest["EvaluationRead"]} item */
export function numbers(item, model) {
  const names = [...Object.keys(item.metrics ?? {}), ...Object.keys(item.cost).filter(isCost)];
  const asked = model.search.objectives.filter((each) => names.includes(each));
  const others = names.filter((each) => !asked.includes(each));
  return html`<dl class="pairs">
      ${asked.map((name) => number(item, model, name))}
      <dt>Origin</dt><dd>${item.origin}${item.cached ? ", answered from the database" : item.duration_seconds !== null ? `, measured in ${duration(item.duration_seconds)}` : ""}</dd>
      ${item.given_up ? html`<dt>Given up</dt><dd>after ${item.given_up.rows} rows against no. ${item.given_up.rival}; expected ${value(model.metric, item.given_up.estimate)}</dd>` : nothing}
    </dl>
    ${others.length ? html`<details><summary>${others.length} more metrics and costs</summary><dl class="pairs">${others.map((name) => number(item, model, name))}</dl></details>` : nothing}`;
}

function number(item, model, name) {
  if (isCost(name)) {
    const full = model.search.maximal_cost[name];
    return html`<dt>${label(name)}</dt><dd>${value(name, item.cost[name])}${full ? html`<span class="soft small">, ${percent(item.cost[name] / full)} of full</span>` : nothing}</dd>`;
  }
  const unseen = item.verified?.metrics[name];
  return html`<dt>${label(name)}</dt><dd>${value(name, item.metrics[name])}${unseen ? html`<br><span class="soft small">unseen rows: ${value(name, unseen.value)} (${value(name, unseen.low)} to ${value(name, unseen.high)})</span>` : nothing}</dd>`;
}

define("nas-subnet-card", SubnetCard);
