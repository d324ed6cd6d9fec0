import { html, live, nothing } from "../vendor/lit.js";
import { extent } from "../vendor/d3.js";
import { define, Part } from "../core/element.js";
import { SearchModel } from "../core/search-model.js";
import { isCost, label, lessIsBetter, percent, quantity, value } from "../core/format.js";
import "./take-home.js";

const STEPS = 400;

/**
 * A slider for each cost and metric of the front, the sentence that answers it, and the download.
 *
 * Says `bounds` with all of them. An unbounded objective has none.
 */
class Budget extends Part {
  static properties = {
    model: { attribute: false },
    revision: { attribute: false },
    bounds: { attribute: false },
    best: { attribute: false },
    others: { state: true },
  };

  /** Which objectives have a slider: those asked for first, the others behind a button. */
  names() {
    const { search, front, costs, metrics } = this.model;
    const varied = [...costs, ...metrics].filter((name) => {
      const [low, high] = extent(front.items, (item) => SearchModel.of(item, name));
      return low !== undefined && (low < high || name in this.bounds);
    });
    const first = search.objectives.filter((name) => varied.includes(name));
    const rest = varied.filter((name) => !first.includes(name));
    return [first, rest];
  }

  set(name, bound) {
    const bounds = { ...this.bounds };
    if (bound === null || Number.isNaN(bound)) delete bounds[name];
    else bounds[name] = bound;
    this.say(bounds);
  }

  say(bounds) {
    this.dispatchEvent(new CustomEvent("bounds", { detail: bounds }));
  }

  slider(name) {
    const [low, high] = extent(this.model.front.items, (item) => SearchModel.of(item, name));
    const less = lessIsBetter(name);
    const loose = less ? high : low;
    const bound = this.bounds[name] ?? loose;
    const at = high > low ? Math.round(((bound - low) / (high - low)) * STEPS) : STEPS;
    const slide = (event) => {
      const where = Number(event.target.value);
      const isLoose = where === (less ? STEPS : 0);
      this.set(name, isLoose ? null : rounded(low + ((high - low) * where) / STEPS, high - low));
    };
    return html`<div class="slider">
      <label for="bound-${name}">${less ? "At most" : "At least"} <span class="soft">${label(name)}</span></label>
      <input type="number" step="any" aria-label=${`${less ? "At most" : "At least"} ${label(name)}, as a number`} placeholder=${value(name, loose)} .value=${live(name in this.bounds ? String(this.bounds[name]) : "")} @change=${(event) => this.set(name, event.target.value === "" ? null : Number(event.target.value))}>
      <input id="bound-${name}" type="range" min="0" max=${STEPS} step="1" .value=${live(String(Math.max(0, Math.min(STEPS, at))))} aria-valuetext=${name in this.bounds ? value(name, bound) : "no bound"} @input=${slide}>
    </div>`;
  }

  render() {
    if (!this.model?.front) return nothing;
    if (!this.model.front.items.length)
      return html`<p class="soft">The first results will be here in a moment: then a slider for each objective.</p>`;
    const [first, rest] = this.names();
    const shown =
      this.others || rest.some((name) => name in this.bounds) ? [...first, ...rest] : first;
    return html`<div class="budget">
      ${this.answer()}
      <div class="sliders">${shown.map((name) => this.slider(name))}</div>
      <div class="row small">
        ${rest.length && shown.length === first.length ? html`<button class="link" type="button" @click=${() => (this.others = true)}>${rest.length} more bounds: ${rest.slice(0, 3).map(label).join(", ")}${rest.length > 3 ? "…" : ""}</button>` : nothing}
        ${Object.keys(this.bounds).length ? html`<button class="link" type="button" @click=${() => this.say({})}>Remove all bounds</button>` : nothing}
      </div>
    </div>`;
  }

  answer() {
    const { best } = this;
    if (best === null) return this.nothingWithin();
    return html`<div class="take">
      <p class="sentence" aria-live="polite">${sentence(this.model, best, this.bounds)}</p>
      <nas-take-home primary .search=${this.model.id} .number=${best.number}></nas-take-home>
    </div>`;
  }

  /** The bound that excludes all, the subnet that comes closest to it, and the way to it. */
  nothingWithin() {
    const wide = Object.entries(this.bounds).map(([name, bound]) => {
      const others = Object.fromEntries(
        Object.entries(this.bounds).filter(([each]) => each !== name),
      );
      const items = this.model.within(others);
      const closest = items.reduce(
        (best, item) =>
          best === null ||
          (lessIsBetter(name)
            ? SearchModel.of(item, name) < SearchModel.of(best, name)
            : SearchModel.of(item, name) > SearchModel.of(best, name))
            ? item
            : best,
        null,
      );
      return { name, bound, closest };
    });
    const { name, bound, closest } = wide.find((each) => each.closest !== null) ?? wide[0];
    const verb = lessIsBetter(name) ? "under" : "over";
    const superlative = isCost(name) ? "the cheapest" : "the best";
    if (closest === null)
      return html`<div class="note warm" role="status"><strong>No subnet is within all of these bounds.</strong><button type="button" @click=${() => this.say({})}>Remove all bounds</button></div>`;
    const reached = SearchModel.of(closest, name);
    return html`<div class="note warm" role="status"><strong>Nothing ${verb} ${isCost(name) ? quantity(name, bound) : `${label(name).toLowerCase()} ${value(name, bound)}`}${Object.keys(this.bounds).length > 1 ? " within the other bounds" : ""}; ${superlative} is ${value(name, reached)}.</strong>
      <span><button type="button" @click=${() => this.set(name, reached)}>Take ${value(name, reached)} as the bound</button></span></div>`;
  }
}

/** What the front's best within the bounds is, in a sentence. */
export function sentence(model, item, bounds) {
  const said = Object.entries(bounds).map(([name, bound]) =>
    isCost(name)
      ? `under ${quantity(name, bound)}`
      : `${lessIsBetter(name) ? "under" : "over"} ${label(name).toLowerCase()} ${value(name, bound)}`,
  );
  const found = item.verified?.metrics[model.metric];
  const metric = found
    ? html`${model.metric.replaceAll("_", " ")} ${value(model.metric, found.value)} (${value(model.metric, found.low)} to ${value(model.metric, found.high)})`
    : html`${model.metric.replaceAll("_", " ")} ${value(model.metric, item.metrics[model.metric])}`;
  const cost = model.cost;
  const full = model.search.maximal_cost[cost];
  return html`${said.length ? html`Best ${said.join(" and ")}` : "Best of all"}: <b>no. ${item.number}</b>, ${metric}, ${quantity(cost, item.cost[cost])}${full ? html`, ${percent(item.cost[cost] / full)} of the full model` : nothing}.`;
}

/** A bound with no more digits than its slider tells apart. */
function rounded(number, span) {
  const digits = Math.max(0, Math.min(12, 3 - Math.floor(Math.log10(span || 1))));
  return Number(number.toFixed(digits));
}

define("nas-budget", Budget);
