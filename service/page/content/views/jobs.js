import { html, nothing } from "../vendor/lit.js";
import { define } from "../core/element.js";
import { get, post } from "../core/api.js";
import { query, setQuery } from "../core/router.js";
import { Stream } from "../core/stream.js";
import { ago, count, time } from "../core/format.js";
import {
  choose,
  confirmed,
  heading,
  lostBanner,
  problemNote,
  problemOf,
  progressBar,
  stateMark,
  table,
} from "../parts/common.js";
import { Detail, Listing } from "../parts/listing.js";
import "../charts/curves.js";

const STATES = ["queued", "running", "completed", "failed", "cancelled"];
const FINAL = ["completed", "failed", "cancelled"];
const MOST = 600; // points of a curve: every second is dropped beyond

/** `/jobs`: trainings and registrations, the newest first, live. */
class Jobs extends Listing {
  path = "/v1/jobs";
  title = "Jobs";

  connectedCallback() {
    super.connectedCallback();
    this.stream = new Stream("/v1/events", {
      kinds: ["progress", "state"],
      signal: this.leaving.signal,
      onEvent: (kind, data) => this.heard(kind, data),
      onReopen: () => this.read(),
    });
  }

  heard(kind, data) {
    if (kind === "state" && data.kind === "job") this.read();
    for (const news of data.jobs ?? []) {
      const step = this.items
        ?.find((each) => each.id === news.id)
        ?.steps.find((each) => each.name === news.step);
      if (step) step.progress = news.progress;
    }
    this.requestUpdate();
  }

  body() {
    if (!this.items.length)
      return html`<div class="card"><div class="empty"><h2>No job yet</h2><p class="soft">Make a super-network of a model of yours: a training is a job, and so is the reading of an upload.</p><pre>elasticnas train --server ${location.origin} --base MODEL --data train.jsonl --epochs 3</pre></div></div>`;
    const state = query().get("state") ?? "";
    const shown = this.found((each) => [each.recipe, each.kind]).filter(
      (each) => !state || each.state === state,
    );
    return html`<div class="stack"><div class="fields">${this.finder()}${choose("State", state, [["", "Every state"], ...STATES.map((each) => [each, each])], (text) => setQuery({ state: text }))}</div>
      <div class="card">${table(
        ["Job", "Kind", "State", "Progress", "Created"],
        shown.map(
          (each) =>
            html`<tr><td><a href="/jobs/${each.id}"><strong>${each.name}</strong></a></td><td>${each.kind}${each.recipe ? html`<br><span class="small soft">${each.recipe}</span>` : nothing}</td><td>${stateMark(each.state)}${each.queue_position != null ? html`<br><span class="small soft">${each.queue_position}. in the queue</span>` : nothing}</td><td>${overall(each)}</td><td>${ago(each.created_at)}</td></tr>`,
        ),
        { kind: "listing" },
      )}</div></div>`;
  }
}

function overall(job) {
  const step = job.steps.find((each) => each.state === "running");
  if (!step?.progress.total) return "–";
  return html`${progressBar(step.progress.done / step.progress.total, `Progress of ${job.name}`)}<span class="small soft">${step.name}: ${count(step.progress.done)} of ${count(step.progress.total)}</span>`;
}

/** `/jobs/{id}`: its steps, and what each watches, as curves that grow. */
class Job extends Detail {
  static properties = { job: {}, curves: { state: true }, connection: { state: true } };
  title = "Job";

  get path() {
    return `/v1/jobs/${encodeURIComponent(this.job)}`;
  }

  opened() {
    this.curves = new Map();
    this.stream?.close();
    this.stream = new Stream(`${this.path}/events`, {
      from: "0",
      kinds: ["state", "scalars", "progress"],
      signal: this.leaving.signal,
      onEvent: (kind, data) => this.heard(kind, data),
      onState: (state) => (this.connection = state),
    });
  }

  heard(kind, data) {
    if (kind === "scalars") this.grow(data);
    if (kind === "progress") {
      const step = this.item.steps.find((each) => each.name === data.step);
      if (step) step.progress = data.progress;
      this.item.state = data.state;
    }
    if (kind === "state") this.readSoon();
    this.requestUpdate();
  }

  grow({ step, done, scalars }) {
    for (const [name, number] of Object.entries(scalars)) {
      const key = `${step} ${name}`;
      const points = this.curves.get(key) ?? [];
      const grown = [...points.filter(([at]) => at < done), [done, number]]; // a step that goes on from a save point repeats some
      this.curves.set(
        key,
        grown.length > MOST ? grown.filter((_, i) => i % 2 || i === grown.length - 1) : grown,
      );
    }
  }

  readSoon() {
    clearTimeout(this.soon);
    this.soon = setTimeout(async () => {
      this.item = await get(this.path, this.leaving.signal).catch(() => this.item);
    }, 250);
  }

  async act(action) {
    try {
      this.item = await post(`${this.path}/${action}`);
      this.refusal = null;
      if (action === "retry") this.opened();
    } catch (error) {
      this.refusal = problemOf(error);
    }
  }

  async cancel() {
    if (
      await confirmed(
        "Cancel this job?",
        "What it has saved stays; a retry goes on from its last save point.",
        "Cancel the job",
      )
    )
      this.act("cancel");
  }

  body() {
    const { item } = this;
    const isOver = FINAL.includes(item.state);
    const isReading = item.kind === "registration";
    return html`
      ${isOver ? nothing : lostBanner(this.connection)}
      ${heading(html`${item.name} ${stateMark(item.state)}`, {
        crumbs: html`<a href="/jobs">Jobs</a> / <span class="mono small">${item.id}</span>`,
        below: html`<p class="soft small">${item.kind}${item.recipe ? ` by ${item.recipe}` : ""}${item.dataset_id ? html` on <a href="/datasets/${item.dataset_id}">its data</a>` : nothing}, created ${time(item.created_at)}</p>`,
        actions: html`
          ${item.supernet_id && item.state === "completed" ? html`<a class="button primary" href="/supernets/${item.supernet_id}">Open the super-network</a>` : nothing}
          ${["failed", "cancelled"].includes(item.state) ? html`<button type="button" @click=${() => this.act("retry")}>Retry</button>` : nothing}
          ${!isOver && !isReading ? html`<button type="button" class="danger" @click=${() => this.cancel()}>Cancel</button>` : nothing}
          ${isOver && !isReading ? html`<button type="button" class="danger" @click=${() => this.remove("Delete this job?", "What its steps have left goes with it; a super-network that it made stays.", "/jobs")}>Delete</button>` : nothing}`,
      })}
      <div class="stack">${problemNote(this.refusal)}${problemNote(item.problem)}
        ${item.waiting_for ? html`<div class="note warm" role="status"><strong>The job waits for ${item.waiting_for}</strong></div>` : nothing}
        ${this.steps()}
        ${this.curves?.size ? html`<section class="card" aria-label="Curves"><h2>Curves</h2><div class="halves">${[...this.curves].map(([name, points]) => html`<nas-curve .name=${name} .points=${points}></nas-curve>`)}</div></section>` : nothing}
        ${Object.keys(item.settings).length ? html`<section class="card" aria-label="Settings"><h2>Settings</h2><pre>${JSON.stringify(item.settings, null, 2)}</pre></section>` : nothing}
      </div>`;
  }

  steps() {
    return html`<section class="card" aria-label="Steps"><h2>Steps</h2>${table(
      ["Step", "State", "Progress", ["Attempt", "right"], "Saved", "Worker"],
      this.item.steps.map(
        (each) => html`<tr><td>${each.name}</td><td>${stateMark(each.state)}</td>
        <td>${each.progress.total ? html`${progressBar(each.progress.done / each.progress.total, `Progress of ${each.name}`)}<span class="small soft">${count(each.progress.done)} of ${count(each.progress.total)}</span>` : "–"}</td>
        <td class="right">${each.attempt}</td><td>${each.saved_at ? ago(each.saved_at) : "–"}</td><td class="mono small">${each.worker ?? "–"}</td></tr>`,
      ),
    )}</section>`;
  }
}

define("nas-jobs", Jobs);
define("nas-job", Job);
