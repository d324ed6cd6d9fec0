import { html, nothing, repeat, svg } from "../vendor/lit.js";
import { extent, line, scaleLinear } from "../vendor/d3.js";
import { define } from "../core/element.js";
import { all, get } from "../core/api.js";
import { query, setQuery } from "../core/router.js";
import { Stream } from "../core/stream.js";
import { ago, duration, quantity } from "../core/format.js";
import {
  choose,
  heading,
  loading,
  lostBanner,
  problemNote,
  problemOf,
  progressBar,
  stateMark,
  table,
} from "../parts/common.js";
import { Listing } from "../parts/listing.js";

const STATES = ["queued", "running", "paused", "completed", "failed", "cancelled"];

/** `/`: all searches, the newest first, live; the jobs beside them. */
class Searches extends Listing {
  static properties = {
    supernets: { state: true },
    jobs: { state: true },
    workers: { state: true },
    connection: { state: true },
  };

  connectedCallback() {
    super.connectedCallback();
    this.stream = new Stream("/v1/events", {
      kinds: ["progress", "state"],
      signal: this.leaving.signal,
      onEvent: (kind, data) => this.heard(kind, data),
      onState: (state) => (this.connection = state),
      onReopen: () => this.read(),
    });
  }

  async read() {
    const signal = this.leaving.signal;
    try {
      [this.items, this.supernets, this.jobs, this.workers] = await Promise.all([
        all("/v1/searches?limit=200&sparkline=true", { signal }),
        all("/v1/supernets?limit=200", { signal }),
        get("/v1/jobs?limit=8", signal).then((page) => page.items),
        get("/v1/workers", signal).then((page) => page.items),
      ]);
      this.problem = null;
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  heard(kind, data) {
    if (kind === "state") return this.readSoon();
    for (const news of data.searches ?? []) {
      const search = this.items?.find((each) => each.id === news.id);
      if (search) Object.assign(search, news);
    }
    for (const news of data.jobs ?? []) {
      const job = this.jobs?.find((each) => each.id === news.id);
      const step = job?.steps.find((each) => each.name === news.step);
      if (step) step.progress = news.progress;
    }
    this.requestUpdate();
  }

  readSoon() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.read(), 300);
  }

  shown() {
    const [state, supernet] = ["state", "supernet"].map((name) => query().get(name));
    return this.found((each) => [this.nameOf(each.supernet_id)]).filter(
      (each) => (!state || each.state === state) && (!supernet || each.supernet_id === supernet),
    );
  }

  nameOf(supernet) {
    return this.supernets?.find((each) => each.id === supernet)?.name ?? supernet;
  }

  render() {
    const begin = html`<a class="button primary" href="/searches/new">New search</a>`;
    return html`
      ${lostBanner(this.connection)}
      ${heading("Searches", { actions: this.items?.length ? begin : nothing })}
      ${problemNote(this.problem)}
      ${this.items ? this.body() : loading(this.problem)}`;
  }

  body() {
    if (!this.items.length) return firstSteps(this.supernets);
    return html`<div class="stack">
      ${noWorker(this.workers, this.items)}
      <div class="two">
        <section class="stack" aria-label="Searches">${this.filters()}${this.table()}</section>
        <aside class="card" aria-label="Jobs"><h2>Jobs</h2>${this.jobList()}</aside>
      </div></div>`;
  }

  filters() {
    const used = [...new Set(this.items.map((each) => each.supernet_id))];
    return html`<div class="fields">
      ${this.finder()}
      ${choose("State", query().get("state"), [["", "Every state"], ...STATES.map((each) => [each, each])], (state) => setQuery({ state }))}
      ${choose("Super-network", query().get("supernet"), [["", "All"], ...used.map((each) => [each, this.nameOf(each)])], (supernet) => setQuery({ supernet }))}
    </div>`;
  }

  table() {
    const shown = this.shown();
    if (!shown.length)
      return html`<div class="card"><p>No search is like that. <button class="link" @click=${() => setQuery({ q: null, state: null, supernet: null })}>Show all ${this.items.length}</button></p></div>`;
    return html`<div class="card">${table(
      ["Search", "State", "Progress", "Hypervolume", "Best"],
      repeat(
        shown,
        (each) => each.id,
        (each) => this.rowOf(each),
      ),
      { kind: "listing" },
    )}</div>`;
  }

  rowOf(search) {
    const { progress } = search;
    const metric = search.objectives.find(
      (each) => search.best?.metrics && each in search.best.metrics,
    );
    const eta = progress.eta_seconds === null ? "" : `, ${duration(progress.eta_seconds)} left`;
    return html`<tr>
      <td><a href="/searches/${search.id}"><strong>${search.name ?? search.id}</strong></a><br><span class="small soft">${this.nameOf(search.supernet_id)} · ${search.strategy.name} · ${ago(search.created_at)}</span></td>
      <td>${stateMark(search.state)}</td>
      <td class="nowrap">${progressBar(progress.fraction, `Progress of ${search.name ?? search.id}`)}<span class="small soft">${progress.completed + progress.failed + progress.given_up} of ${progress.budget_evaluations}${search.state === "running" ? eta : ""}${progress.failed ? html`, ${progress.failed} failed` : nothing}</span></td>
      <td data-is="Hypervolume">${spark(search.sparkline)}<span class="small soft number">${search.hypervolume.toFixed(3)}</span></td>
      <td class="nowrap">${metric ? quantity(metric, search.best.metrics[metric]) : "–"}</td>
    </tr>`;
  }

  jobList() {
    if (!this.jobs?.length)
      return html`<p class="soft small">Trainings and registrations are listed here.</p>`;
    return html`<ul class="plain stack">${this.jobs.map((job) => {
      const step = job.steps.find((each) => each.state === "running") ?? job.steps.at(-1);
      return html`<li><div class="row spread"><a href="/jobs/${job.id}">${job.name}</a>${stateMark(job.state)}</div>
        <span class="small soft">${job.kind}${job.recipe ? ` by ${job.recipe}` : ""} · ${ago(job.created_at)}</span>
        ${job.state === "running" && step?.progress.total ? progressBar(step.progress.done / step.progress.total, `Progress of ${job.name}`) : nothing}</li>`;
    })}</ul><p class="small"><a href="/jobs">All jobs</a></p>`;
  }
}

/** The hypervolume as it grew, in a few pixels. */
function spark(points) {
  if (!points?.length || points.length < 2) return nothing;
  const x = scaleLinear(
    extent(points, (each) => each[0]),
    [1, 95],
  );
  const y = scaleLinear([0, Math.max(...points.map((each) => each[1]), 1e-9)], [24, 2]);
  const path = line(
    (each) => x(each[0]),
    (each) => y(each[1]),
  )(points);
  return html`<svg class="spark" viewBox="0 0 96 26" aria-hidden="true">${svg`<path class="line" d=${path}></path>`}</svg>`;
}

/** Says that nobody works, where somebody should, and how to begin. */
export function noWorker(workers, searches) {
  const waiting = searches.find(
    (each) => ["queued", "running"].includes(each.state) && each.waiting_for,
  );
  if (
    !workers ||
    workers.some((each) => each.alive || each.loading || each.alive === null) ||
    !waiting
  )
    return nothing;
  return html`<div class="note warm" role="status"><strong>No worker is alive: nothing is being measured.</strong><span>Start one where the GPUs are:</span>
    <pre>elasticnas worker</pre></div>`;
}

const STEPS = [
  ["Register a super-network", "elasticnas supernet add CHECKPOINT", "/supernets"],
  [
    "Register validation data",
    "elasticnas dataset add rows.jsonl --text-columns sentence --label-column label",
    "/datasets",
  ],
  [
    "Start a search",
    "elasticnas search --supernet ID --dataset ID --constraint 'gflops<=8'",
    "/searches/new",
  ],
];

function firstSteps(supernets) {
  const done = supernets?.length ? 1 : 0;
  return html`<div class="card"><div class="empty"><h2>No search yet. Three steps to the first front</h2>
    <p class="soft">Here on the page, or on the command line; both do the same.</p>
    <ol>${STEPS.map(([title, command, href], i) => html`<li><a href=${href}>${title}</a>${i < done ? " (done)" : ""}<pre>${command}</pre></li>`)}</ol></div></div>`;
}

define("nas-searches", Searches);
