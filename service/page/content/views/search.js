import { html, nothing } from "../vendor/lit.js";
import { define, Part } from "../core/element.js";
import { get } from "../core/api.js";
import { go, query, setQuery } from "../core/router.js";
import { SearchModel } from "../core/search-model.js";
import { boundOf, count, duration, isCost, label } from "../core/format.js";
import {
  confirmed,
  heading,
  loading,
  lostBanner,
  problemNote,
  problemOf,
  progressBar,
  stateMark,
} from "../parts/common.js";
import { frontLegend } from "../charts/front-chart.js";
import { noWorker } from "./searches.js";
import "../charts/history.js";
import "../charts/parallel.js";
import "../charts/plots.js";
import { notesOf } from "../parts/annotations.js";
import "../parts/budget.js";
import "../parts/log.js";
import "../parts/subnet-card.js";
import "../parts/table.js";

const TABS = [
  ["table", "Table"],
  ["history", "History"],
  ["parallel", "Parallel coordinates"],
  ["widths", "Widths"],
  ["importance", "Importance"],
  ["log", "Log"],
];
const AXES = 6;

/** `/searches/{id}`: the front grows, a budget finds the subnet, the card shows it. */
class Search extends Part {
  static properties = {
    search: {},
    model: { attribute: false },
    version: { state: true },
    problem: { state: true },
    refusal: { state: true },
    supernet: { state: true },
    data: { state: true },
    workers: { state: true },
    busy: { state: true },
  };

  connectedCallback() {
    super.connectedCallback();
    this.open();
  }

  async open() {
    const { signal } = this.leaving;
    const model = new SearchModel(this.search, signal);
    model.addEventListener("change", () => {
      this.version = model.version;
      this.look();
    });
    try {
      await model.open();
      this.model = model;
      document.title = `${model.search.name ?? model.id} · ElasticNAS`;
      const unless = () => undefined; // deleted meanwhile: the search names its id
      [this.supernet, this.data] = await Promise.all([
        model.supernet().catch(unless),
        get(`/v1/datasets/${model.search.dataset_id}`, signal).catch(unless),
      ]);
      await this.look();
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  /** Who is at work on it, or why nobody is. */
  async look() {
    if (!this.model || this.model.isOver || this.looking) return;
    this.looking = true;
    this.workers = (
      await get("/v1/workers", this.leaving.signal).catch(() => ({ items: null }))
    ).items;
    setTimeout(() => (this.looking = false), 5000);
  }

  // -- the state in the address --------------------------------------------------------------

  /** What `make` makes of what the key names: the same object as long as the key is the same. */
  kept(name, key, make) {
    this.cache ??= {};
    if (this.cache[name]?.key !== key) this.cache[name] = { key, value: make() };
    return this.cache[name].value;
  }

  get bounds() {
    const names = [...this.model.costs, ...this.model.metrics];
    const given = names.flatMap((name) => {
      const text = query().get(boundOf(name));
      return text && Number.isFinite(Number(text)) ? [[name, Number(text)]] : [];
    });
    return this.kept("bounds", given.join(), () => Object.fromEntries(given));
  }

  setBounds(bounds) {
    const names = [...this.model.costs, ...this.model.metrics];
    setQuery({
      ...Object.fromEntries(names.map((name) => [boundOf(name), bounds[name] ?? null])),
      subnet: null,
    });
  }

  get ranges() {
    const text = query().get("only") ?? "";
    return this.kept("ranges", text, () => Object.fromEntries(text.split(",").flatMap(rangeOf)));
  }

  setRanges(ranges) {
    const end = (number) => (Number.isFinite(number) ? String(Number(number.toPrecision(6))) : "");
    setQuery({
      only: Object.entries(ranges)
        .map(([name, [low, high]]) => `${name}:${end(low)}..${end(high)}`)
        .join(","),
    });
  }

  /** Which rows pass the ranges; null for all. */
  get mask() {
    const key = `${query().get("only")} ${this.model.revision}`;
    return this.kept("mask", key, () => this.passing());
  }

  passing() {
    const ranges = Object.entries(this.ranges).filter(([name]) => name in this.model.columns);
    if (!ranges.length) return null;
    const passes = new Uint8Array(this.model.count).fill(1);
    for (const [name, [low, high]] of ranges) {
      const column = this.model.columns[name];
      for (let row = 0; row < passes.length; row += 1) {
        const at = column[row];
        if (at === null || !(at >= low && at <= high)) passes[row] = 0;
      }
    }
    return passes;
  }

  /** The columns of the table and axes of the parallel coordinates: what differs between subnets. */
  get names() {
    const { search, costs, metrics, columns, revision } = this.model;
    const differs = (name) => columns[name].some((each) => each !== columns[name][0]);
    return this.kept("names", revision, () => {
      const others = [...metrics, ...costs].filter(
        (name) => !search.objectives.includes(name) && differs(name),
      );
      return [...search.objectives, ...others].slice(0, AXES);
    });
  }

  // -- what is done --------------------------------------------------------------------------

  async act(action, body) {
    this.busy = action;
    this.refusal = null;
    try {
      await this.model.change(action, body);
    } catch (error) {
      this.refusal = problemOf(error);
    }
    this.busy = null;
  }

  async cancel() {
    const finished = this.model.search.progress.completed;
    if (
      await confirmed(
        "Cancel this search?",
        `The ${count(finished)} results so far stay; what is being measured is dropped. It can be extended later.`,
        "Cancel the search",
      )
    )
      this.act("cancel");
  }

  // -- what is seen --------------------------------------------------------------------------

  render() {
    if (this.problem)
      return html`${heading("Search")}${problemNote(this.problem, html`<a href="/">All searches</a>`)}`;
    if (!this.model) return html`${heading("Search")}${loading()}`;
    return html`
      ${lostBanner(this.model.connection)}
      ${this.head()}
      <div class="stack">
        ${problemNote(this.refusal)}
        ${this.waiting()}
        ${this.facts()}
        ${this.main()}
        ${this.tabs()}
      </div>
      ${this.extendDialog()}`;
  }

  head() {
    const { search } = this.model;
    const state = search.state;
    const can = {
      pause: ["queued", "running"].includes(state),
      resume: state === "paused",
      cancel: ["queued", "running", "paused"].includes(state),
      retry: search.progress.failed > 0,
    };
    const button = (action, text, run, kind = "") =>
      html`<button type="button" class=${kind} ?disabled=${this.busy === action} @click=${run}>${text}</button>`;
    return heading(html`${search.name ?? search.id} ${stateMark(state)}`, {
      crumbs: html`<a href="/">Searches</a> / <span class="mono small">${search.id}</span>`,
      below: html`<p class="soft small">${this.supernet ? html`<a href="/supernets/${search.supernet_id}">${this.supernet.name}</a>` : search.supernet_id} on ${this.data ? html`<a href="/datasets/${search.dataset_id}">${this.data.name}</a>` : search.dataset_id}, ${search.strategy.name}, seed ${search.seed}, at most ${search.max_length} tokens${search.constraints.length ? `, ${search.constraints.map((each) => `${label(each.cost)} ≤ ${each.max}`).join(", ")}` : ""}</p>
        ${notesOf(search)}`,
      actions: html`
        ${can.pause ? button("pause", "Pause", () => this.act("pause")) : nothing}
        ${can.resume ? button("resume", "Resume", () => this.act("resume"), "primary") : nothing}
        ${can.retry ? button("retry", "Retry failed", () => this.act("retry")) : nothing}
        ${button("extend", "Extend", () => this.extendBox.showModal())}
        <nas-annotate .path=${this.model.path} .item=${search} @annotated=${(event) => this.model.replace(event.detail)}></nas-annotate>
        <a class="button" href="/searches/new?from=${search.id}">Clone</a>
        ${can.cancel ? button("cancel", "Cancel", () => this.cancel(), "danger") : nothing}`,
    });
  }

  waiting() {
    const { search } = this.model;
    if (!search.waiting_for || this.model.isOver)
      return search.error ? problemNote(search.error) : nothing;
    const absent = noWorker(this.workers, [search]);
    return absent === nothing
      ? html`<div class="note warm" role="status"><strong>The search waits for ${search.waiting_for}</strong></div>`
      : absent;
  }

  facts() {
    const { search } = this.model;
    const { progress } = search;
    const finished = progress.completed + progress.failed + progress.given_up;
    const ends = search.state === "running" && progress.eta_seconds !== null;
    const at = (this.model.isOver ? null : this.workers)?.filter((worker) =>
      worker.at.some((work) => work.search_id === search.id),
    );
    const range =
      progress.eta_low_seconds != null && progress.eta_high_seconds != null
        ? html` <small>${duration(progress.eta_low_seconds)} to ${duration(progress.eta_high_seconds)}</small>`
        : nothing;
    return html`<section class="card stack tight" aria-label="Progress">
      ${progressBar(progress.fraction, "Progress of the search")}
      <dl class="facts">
        <div><dt>Evaluations</dt><dd>${count(finished)} <small>of ${count(progress.budget_evaluations)}</small></dd></div>
        ${search.state === "queued" && search.queue_position != null ? html`<div><dt>Place in the queue</dt><dd>${search.queue_position}</dd></div>` : nothing}
        ${ends ? html`<div><dt>Left</dt><dd>${duration(progress.eta_seconds)}${range}</dd></div>` : html`<div><dt>Ran for</dt><dd>${duration(progress.elapsed_seconds)}</dd></div>`}
        <div><dt>Rate</dt><dd>${progress.evaluations_per_second ? html`${progress.evaluations_per_second.toPrecision(2)} <small>a second</small>` : "–"}</dd></div>
        <div><dt>On the front</dt><dd>${count(this.model.front.items.length)}</dd></div>
        <div><dt>Hypervolume</dt><dd>${search.hypervolume.toFixed(4)}</dd></div>
        ${progress.running ? html`<div><dt>Being measured</dt><dd>${progress.running}</dd></div>` : nothing}
        ${at?.length ? html`<div><dt><a href="/workers">Workers</a></dt><dd>${at.length} <small>${at.map((worker) => worker.name).join(", ")}</small></dd></div>` : nothing}
        ${progress.cached ? html`<div><dt>Known before</dt><dd>${count(progress.cached)}</dd></div>` : nothing}
        ${progress.given_up ? html`<div><dt>Given up</dt><dd>${count(progress.given_up)}</dd></div>` : nothing}
        ${progress.failed ? html`<div><dt>Failed</dt><dd>${count(progress.failed)}</dd></div>` : nothing}
      </dl></section>`;
  }

  main() {
    const { model } = this;
    const parameters = query();
    const axes = [...model.costs, ...model.metrics];
    const x = axes.includes(parameters.get("x"))
      ? parameters.get("x")
      : (model.search.objectives.find(isCost) ?? model.search.objectives[1]);
    const y = axes.includes(parameters.get("y")) ? parameters.get("y") : model.metric;
    const { bounds } = this;
    const inside = model.within(bounds);
    const best = model.best(inside);
    const knee = Object.keys(bounds).length ? null : model.front.knee;
    const selected = parameters.has("subnet")
      ? Number(parameters.get("subnet"))
      : (best?.number ?? null);
    const pick = (number) => setQuery({ subnet: number });
    if (!model.front.items.length)
      return model.search.progress.failed ? this.allFailed() : this.nothingYet();
    return html`<div class="two">
      <section class="card stack" aria-label="Pareto front">
        <div class="row spread">${frontLegend(model)}
          <div class="row">
            <label class="check small">Across <select aria-label="Across" @change=${(event) => setQuery({ x: event.target.value })}>${axes.map((each) => html`<option value=${each} ?selected=${each === x}>${label(each)}</option>`)}</select></label>
            <label class="check small">Up <select aria-label="Up" @change=${(event) => setQuery({ y: event.target.value })}>${axes.map((each) => html`<option value=${each} ?selected=${each === y}>${label(each)}</option>`)}</select></label>
            <label class="check small"><input type="checkbox" .checked=${parameters.get("zoom") === "front"} @change=${(event) => setQuery({ zoom: event.target.checked ? "front" : null })}> Zoom to the front</label>
          </div></div>
        <nas-front-chart .model=${model} .revision=${model.revision} .x=${x} .y=${y} .bounds=${bounds} .selected=${selected} .best=${best?.number ?? null} .knee=${knee} .mask=${this.mask} .zoomed=${parameters.get("zoom") === "front"}
          @pick=${(event) => pick(event.detail)} @open=${(event) => go(`/searches/${model.id}/subnets/${event.detail}`)} @take=${() => /** @type {Part} */ (this.querySelector(".selected nas-take-home"))?.take()}></nas-front-chart>
        <nas-budget .model=${model} .revision=${model.revision} .bounds=${bounds} .best=${best} @bounds=${(event) => this.setBounds(event.detail)}></nas-budget>
      </section>
      <section class="card selected" aria-label="Selected subnet"><nas-subnet-card .model=${model} .revision=${model.revision} .number=${selected}></nas-subnet-card></section>
    </div>`;
  }

  /** Nothing but failures: what the problems are, and the way on. */
  allFailed() {
    return html`<section class="card stack" aria-label="Failures"><h2>Every evaluation so far has failed</h2>
      <p class="soft">Mend what the problems name, then have the failed ones measured once more.</p>
      <nas-log .model=${this.model} .version=${this.version} @retry=${() => this.act("retry")}></nas-log></section>`;
  }

  nothingYet() {
    const { search } = this.model;
    if (this.model.isOver)
      return html`<section class="card"><div class="empty"><h2>The search ended without a result</h2><p class="soft">Nothing was measured before it ended. Extend it, or clone it with other settings.</p></div></section>`;
    return html`<section class="card"><div class="empty"><h2>The first results are on their way</h2><p class="soft">${search.state === "paused" ? "The search is paused: resume it to have it measured." : "The maximal, minimal and middle subnets are measured first. The front appears here as it grows; there is no need to reload."}</p></div></section>`;
  }

  tabs() {
    if (!this.model.front.items.length) return nothing;
    const tab = TABS.some(([each]) => each === query().get("tab")) ? query().get("tab") : "table";
    const select = (each) => setQuery({ tab: each === "table" ? null : each });
    const key = (event) => {
      const at = TABS.findIndex(([each]) => each === tab);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1 }[event.key];
      if (to === undefined) return;
      const [next] = TABS[(to + TABS.length) % TABS.length];
      select(next);
      this.updateComplete.then(() =>
        /** @type {HTMLElement} */ (this.querySelector(`#tab-${next}`)).focus(),
      );
    };
    return html`<section class="card stack" aria-label="Details">
      <div class="tabs" role="tablist" aria-label="Details" @keydown=${key}>${TABS.map(([each, text]) => html`<button type="button" role="tab" id="tab-${each}" aria-controls="panel" aria-selected=${each === tab} tabindex=${each === tab ? 0 : -1} @click=${() => select(each)}>${text}</button>`)}</div>
      <div role="tabpanel" id="panel" aria-labelledby="tab-${tab}">${this.panel(tab)}</div></section>`;
  }

  panel(tab) {
    const { model, version } = this;
    const { revision } = model;
    if (tab === "history")
      return html`<nas-history .model=${model} .revision=${revision}></nas-history>`;
    if (tab === "parallel")
      return html`<nas-parallel .model=${model} .revision=${revision} .names=${this.names} .ranges=${this.ranges} .mask=${this.mask} @ranges=${(event) => this.setRanges(event.detail)}></nas-parallel>`;
    if (tab === "widths")
      return html`<nas-widths .model=${model} .version=${version}></nas-widths>`;
    if (tab === "importance")
      return html`<nas-importance .model=${model} .version=${version}></nas-importance>`;
    if (tab === "log")
      return html`<nas-log .model=${model} .version=${version} @retry=${() => this.act("retry")}></nas-log>`;
    const parameters = query();
    return html`<nas-result-table .model=${model} .revision=${revision} .names=${this.names} .mask=${this.mask} .ranges=${this.ranges} .sort=${parameters.get("sort") ?? "number"} .onlyFront=${parameters.get("show") === "front"} .selected=${Number(parameters.get("subnet") ?? -1)}
      @sort=${(event) => setQuery({ sort: event.detail })} @ranges=${(event) => this.setRanges(event.detail)} @only-front=${(event) => setQuery({ show: event.detail ? "front" : null })}></nas-result-table>`;
  }

  extendDialog() {
    const { seconds } = this.model.search.budget;
    const submit = (event) => {
      const form = Object.fromEntries(new FormData(event.target));
      const body = { evaluations: Number(form.evaluations), seconds: Number(form.seconds ?? 0) };
      this.act("extend", body);
    };
    return html`<dialog class="extend" aria-labelledby="extend-title"><form method="dialog" class="stack" @submit=${submit}>
      <h2 id="extend-title">Extend the search</h2>
      <p class="soft">A search that has ended goes on from its results, as if it had had this budget from the start.</p>
      <label class="field"><span>Evaluations more</span><input name="evaluations" type="number" min="0" step="1" value="50"></label>
      ${seconds === null ? nothing : html`<label class="field"><span>Seconds more</span><input name="seconds" type="number" min="0" value="0"></label>`}
      <div class="actions"><button type="button" @click=${() => this.extendBox.close()}>Go back</button><button class="primary">Extend</button></div></form></dialog>`;
  }

  /** @type {HTMLDialogElement} */
  get extendBox() {
    return this.querySelector("dialog.extend");
  }
}

/** A filter of the address, `name:low..high`, either end left out, as entries of ranges. */
function rangeOf(text) {
  const [, name, low, high] = /^(\w+):([^:]*)\.\.([^:]*)$/.exec(text) ?? [];
  return name ? [[name, [low ? Number(low) : -Infinity, high ? Number(high) : Infinity]]] : [];
}

define("nas-search", Search);
