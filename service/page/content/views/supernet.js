import { html, nothing } from "../vendor/lit.js";
import { define } from "../core/element.js";
import { once } from "../core/api.js";
import { query, setQuery } from "../core/router.js";
import { bytes, choice, count, isCost, label, percent, size, time, value } from "../core/format.js";
import { layerPicture, partTitle } from "../charts/layer-picture.js";
import { notesOf } from "../parts/annotations.js";
import { heading, loading, problemNote, problemOf, stateMark } from "../parts/common.js";
import { Detail } from "../parts/listing.js";
import { priced, shapeOf } from "../parts/subnet-card.js";

const EVERY = 1000;

/** `/supernets/{id}`: what it is, and a playground: a slider per dimension, the cost at once. */
class Supernet extends Detail {
  static properties = {
    supernet: {},
    space: { state: true },
    shape: { state: true },
    cost: { state: true },
    layers: { state: true },
    length: { state: true },
  };

  title = "Super-network";

  get path() {
    return `/v1/supernets/${encodeURIComponent(this.supernet)}`;
  }

  async opened() {
    if (this.item.state === "reading")
      return setTimeout(() => this.leaving.signal.aborted || this.open(), EVERY);
    if (this.item.state !== "ready") return undefined;
    [this.space, this.shape] = await Promise.all([
      once(`${this.path}/space`),
      shapeOf(this.supernet),
    ]);
    return this.price();
  }

  /** The subnet of the address: indices of choices, in the order of the dimensions. */
  get indices() {
    const given = (query().get("subnet") ?? "").split(".").map(Number);
    return this.space.dimensions.map((each, i) =>
      given[i] >= 0 && given[i] < each.choices.length ? given[i] : 0,
    );
  }

  get subnet() {
    const { indices } = this;
    return Object.fromEntries(
      this.space.dimensions.map((each, i) => [each.name, each.choices[indices[i]]]),
    );
  }

  choose(changes) {
    const indices = this.indices.map((index, i) => changes(this.space.dimensions[i], index));
    setQuery({ subnet: indices.some(Boolean) ? indices.join(".") : null });
    this.price();
  }

  /** Ask for the cost: one request at a time, and once more where a slider has moved meanwhile. */
  async price() {
    this.isStale = true;
    if (this.isAsking) return;
    this.isAsking = true;
    while (this.isStale) {
      this.isStale = false;
      try {
        const answer = await priced(
          this.supernet,
          [this.subnet],
          this.length ?? null,
          this.leaving.signal,
        );
        [this.cost, this.layers] = [answer.items[0].cost, answer.items[0].layers];
        this.refusal = null;
      } catch (error) {
        this.refusal = problemOf(error);
      }
    }
    this.isAsking = false;
  }

  body() {
    const { item } = this;
    return html`${heading(
      html`${item.name} ${item.state === "ready" ? nothing : stateMark(item.state)}`,
      {
        below: notesOf(item),
        crumbs: html`<a href="/supernets">Super-networks</a> / <span class="mono small">${item.id}</span>`,
        actions: html`${item.state === "ready" ? html`<a class="button primary" href="/searches/new?supernet=${item.id}">Search it</a>` : nothing}
        <nas-annotate .path=${this.path} .item=${item} @annotated=${(event) => (this.item = event.detail)}></nas-annotate>
        <button type="button" class="danger" @click=${() => this.remove("Delete this super-network?", "Its file goes with it. It is refused while a search refers to it.", "/supernets")}>Delete</button>`,
      },
    )}
    <div class="stack">${problemNote(this.refusal)}${this.state()}${item.state === "ready" ? this.ready() : nothing}</div>`;
  }

  state() {
    const { item } = this;
    if (item.state === "failed")
      return problemNote(item.problem ?? { title: "It could not be read" });
    if (item.state === "reading")
      return html`<div class="note" role="status"><strong>A worker reads the checkpoint…</strong>${item.waiting_for ? html`<span>It waits for ${item.waiting_for}</span>` : nothing}</div>`;
    return html`<section class="card" aria-label="Facts"><dl class="facts">
      <div><dt>Method</dt><dd>${item.method} <small>${item.model_type}</small></dd></div>
      <div><dt>Subnets</dt><dd>${size(item.space.size)}</dd></div>
      <div><dt>Dimensions</dt><dd>${item.space.dimensions} <small>${Object.entries(item.space.parts)
        .map(([part, many]) => `${many} ${part}`)
        .join(", ")}</small></dd></div>
      <div><dt>GFLOPs</dt><dd>${value("gflops", item.cost.minimal.gflops)} to ${value("gflops", item.cost.maximal.gflops)}</dd></div>
      <div><dt>Reference length</dt><dd>${count(item.reference_length)} <small>of ${count(item.max_positions)} tokens</small></dd></div>
      <div><dt>File</dt><dd>${bytes(item.size_bytes)}</dd></div>
      <div><dt>Registered</dt><dd><small>${time(item.created_at)}</small></dd></div></dl></section>`;
  }

  ready() {
    if (!this.space) return loading();
    return html`<div class="halves">
      <section class="card stack" aria-label="Playground">
        <div class="row spread"><h2>Playground</h2><div class="row">
          <button type="button" @click=${() => this.choose(() => 0)}>Maximal</button>
          <button type="button" @click=${() => this.choose((each) => Math.floor(each.choices.length / 2))}>Middle</button>
          <button type="button" @click=${() => this.choose((each) => each.choices.length - 1)}>Minimal</button></div></div>
        ${this.together()}
        <details><summary>Each of the ${this.space.dimensions.length} dimensions</summary><div class="stack tight">${this.space.dimensions.map((each, i) => this.slider(each, i))}</div></details>
      </section>
      <section class="card stack" aria-label="Cost of the subnet">
        <h2>This subnet costs</h2>${this.prices()}
        ${this.shape ? layerPicture(this.shape, this.subnet, this.layers, 440) : nothing}
      </section></div>`;
  }

  /** A slider for all dimensions of a part at once. */
  together() {
    const parts = [...new Set(this.space.dimensions.map((each) => each.part))];
    const { indices } = this;
    return parts.map((part) => {
      const mine = this.space.dimensions
        .map((each, i) => [each, i])
        .filter(([each]) => each.part === part);
      const most = Math.max(...mine.map(([each]) => each.choices.length - 1));
      if (!most) return nothing;
      const chosen = mine.map(([, i]) => indices[i]);
      const same = chosen.every((each) => each === chosen[0]);
      return html`<div class="slider"><label for="all-${part}">${partTitle(part)} <span class="soft">of all layers</span></label><output>${same ? choice(mine[0][0].choices[chosen[0]]) : "mixed"}</output>
        <input id="all-${part}" type="range" min="0" max=${most} step="1" .value=${String(most - Math.round(chosen.reduce((a, b) => a + b, 0) / chosen.length))} @input=${(event) => this.choose((each, index) => (each.part === part ? Math.min(each.choices.length - 1, most - Number(event.target.value)) : index))}></div>`;
    });
  }

  slider(dimension, i) {
    const last = dimension.choices.length - 1;
    const index = this.indices[i];
    return html`<div class="dimension"><label for="dimension-${i}">${dimension.name}</label>
      <input id="dimension-${i}" type="range" min="0" max=${last} step="1" ?disabled=${!last} .value=${String(last - index)} aria-valuetext=${choice(dimension.choices[index])} @input=${(event) => this.choose((each, old) => (each === dimension ? last - Number(event.target.value) : old))}>
      <output class="number">${choice(dimension.choices[index])}</output></div>`;
  }

  prices() {
    if (!this.cost) return loading();
    const full = this.item.cost.maximal;
    return html`<label class="row small">At <input type="number" min="1" max=${this.item.max_positions} .value=${String(this.cost.max_length)} @change=${(
      event,
    ) => {
      this.length = Number(event.target.value) || null;
      this.price();
    }} aria-label="Tokens of the sequence"> tokens</label>
      <dl class="pairs" aria-live="polite">${Object.entries(this.cost)
        .filter(([name, number]) => isCost(name) && number !== null)
        .map(
          ([name, number]) =>
            html`<dt>${label(name)}</dt><dd>${value(name, number)}${full[name] && this.cost.max_length === full.max_length ? html`<span class="soft small">, ${percent(number / full[name])} of full</span>` : nothing}</dd>`,
        )}</dl>`;
  }
}

define("nas-supernet", Supernet);
