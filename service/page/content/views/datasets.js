import { html, nothing } from "../vendor/lit.js";
import { define } from "../core/element.js";
import { once, upload } from "../core/api.js";
import { go } from "../core/router.js";
import { ago, count, percent, time } from "../core/format.js";
import { choose, heading, problemNote, problemOf, progressBar } from "../parts/common.js";
import { Detail, Listing } from "../parts/listing.js";

const FALLBACK = [["text-classification", "text-classification"]];

/** `/datasets`: what is measured on, and the way to upload more. */
class Datasets extends Listing {
  static properties = {
    sent: { state: true },
    refusal: { state: true },
    tasks: { state: true },
    kinds: { state: true },
    task: { state: true },
    kind: { state: true },
  };
  path = "/v1/datasets";

  connectedCallback() {
    super.connectedCallback();
    this.task = "text-classification";
    this.kind = "";
    once("/v1/meta").then(
      (meta) => {
        this.tasks = meta.tasks.map((each) => each.name);
        this.kinds = meta.dataset_kinds;
      },
      () => {},
    );
  }

  async send(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    for (const [name, text] of [...form]) if (text === "") form.delete(name);
    this.sent = 0;
    this.refusal = null;
    try {
      const dataset = await upload(
        this.path,
        form,
        (share) => (this.sent = share),
        this.leaving.signal,
      );
      go(`/datasets/${dataset.id}`);
    } catch (error) {
      this.refusal = problemOf(error);
    }
    this.sent = undefined;
  }

  render() {
    return html`${heading("Datasets")}
      <div class="two"><section class="stack" aria-label="Datasets">${this.loading()}${this.items ? this.body() : nothing}</section>
      <section class="card" aria-label="Register"><h2>Register validation data</h2>${this.form()}</section></div>`;
  }

  body() {
    if (!this.items.length)
      return html`<div class="card"><div class="empty"><h2>No data yet</h2><p class="soft">Upload the rows that subnets are measured on: JSONL, CSV or Parquet. On the command line:</p><pre>elasticnas dataset add rows.jsonl --text-columns sentence --label-column label</pre></div></div>`;
    return html`${this.finder()}<div class="card"><div class="scroll" tabindex="0" role="group" aria-label="Table"><table class="listing">
      <thead><tr><th scope="col">Dataset</th><th scope="col">Task</th><th scope="col">Metric</th><th scope="col" class="right">Rows</th><th scope="col">Columns</th></tr></thead>
      <tbody>${this.found((each) => [
        each.name,
        each.id,
        each.task,
        each.notes,
        ...(each.tags ?? []),
      ]).map(
        (each) => html`<tr>
        <td><a href="/datasets/${each.id}"><strong>${each.name}</strong></a><br><span class="small soft">${ago(each.created_at)}</span></td>
        <td>${each.task}</td><td>${each.metric.replaceAll("_", " ")}</td><td class="right" data-is="Rows">${count(each.rows)}</td>
        <td class="small">${each.text_columns.join(", ")}${each.label_column ? ` → ${each.label_column}` : ""}</td></tr>`,
      )}</tbody></table></div></div>`;
  }

  form() {
    const text = (name, title, hint, required = false) =>
      html`<label class="field"><span>${title}</span><input name=${name} ?required=${required} aria-invalid=${this.refusal?.errors?.some((each) => each.pointer === `/${name}`) ? "true" : nothing}><small>${hint}</small></label>`;
    return html`<form class="stack" @submit=${this.send}>
      ${problemNote(this.refusal)}
      <label class="field"><span>File</span><input name="file" type="file" required><small>JSONL, CSV, tab-separated or Parquet</small></label>
      ${text("name", "Name", "the file's, unless you say")}
      ${this.kinds ? choose("Public data", this.kind, [["", "No, columns of my own"], ...this.kinds.map((each) => [each.name, each.name])], (kind) => (this.kind = kind), { name: "kind" }) : nothing}
      ${
        this.kind
          ? nothing
          : html`
        ${choose("Task", this.task, this.tasks?.map((each) => [each, each]) ?? FALLBACK, (task) => (this.task = task), { name: "task" })}
        ${text("text_columns", "Text columns", "one, or two separated by a comma for pairs", true)}
        ${this.task === "perplexity" ? nothing : text("label_column", "Label column", "classes from 0, names of classes, or numbers")}
        ${this.task === "multiple-choice" ? text("choices_column", "Choices", "a column of lists, or a column for each choice") : nothing}
        ${this.task === "text-classification" ? text("label_names", "Label names", "of text labels, in the order of the model's classes") : nothing}`
      }
      ${text("metric", "Metric", "the task's first, unless you say")}
      ${this.sent === undefined ? html`<button class="primary">Upload</button>` : html`${progressBar(this.sent, "Upload")}<span class="small soft" role="status">${this.sent < 1 ? `${Math.round(this.sent * 100)} % is sent` : "The server reads it…"}</span>`}
    </form>`;
  }
}

/** `/datasets/{id}`: its rows, columns and classes. */
class Dataset extends Detail {
  static properties = { dataset: {} };

  get path() {
    return `/v1/datasets/${encodeURIComponent(this.dataset)}`;
  }

  render() {
    if (this.problem) return html`${heading("Dataset")}${problemNote(this.problem)}`;
    if (!this.item) return html`${heading("Dataset")}<p class="soft">Loading…</p>`;
    const { item } = this;
    return html`${heading(item.name, {
      crumbs: html`<a href="/datasets">Datasets</a> / <span class="mono small">${item.id}</span>`,
      actions: html`<a class="button primary" href="/searches/new?dataset=${item.id}">Search on it</a><button type="button" class="danger" @click=${() => this.remove("Delete this dataset?", "It is refused while a search or a job refers to it.", "/datasets")}>Delete</button>`,
    })}<div class="stack">${problemNote(this.refusal)}
      <section class="card" aria-label="Facts"><dl class="facts">
        <div><dt>Task</dt><dd>${item.task}</dd></div><div><dt>Metric</dt><dd>${item.metric.replaceAll("_", " ")}</dd></div><div><dt>Rows</dt><dd>${count(item.rows)}</dd></div>
        <div><dt>Text</dt><dd>${item.text_columns.join(", ")}</dd></div>${item.label_column ? html`<div><dt>Label</dt><dd>${item.label_column}</dd></div>` : nothing}
        ${item.kind ? html`<div><dt>Kind</dt><dd>${item.kind}</dd></div>` : nothing}<div><dt>Registered</dt><dd><small>${time(item.created_at)}</small></dd></div></dl></section>
      ${this.classes()}
      ${Object.keys(item.task_settings ?? {}).length ? html`<section class="card" aria-label="Settings"><h2>Settings of the task</h2><pre>${JSON.stringify(item.task_settings, null, 2)}</pre></section>` : nothing}</div>`;
  }

  classes() {
    const { item } = this;
    if (!item.class_counts?.length)
      return item.label_names
        ? html`<section class="card" aria-label="Classes"><h2>Classes</h2><p>${item.label_names.join(", ")}${item.label_names_given ? "" : html` <span class="soft">(sorted; a search takes their order from the super-network)</span>`}</p></section>`
        : nothing;
    return html`<section class="card" aria-label="Classes"><h2>Classes</h2><div class="scroll" tabindex="0" role="group" aria-label="Table"><table><thead><tr><th scope="col">Class</th><th scope="col" class="right">Rows</th><th scope="col" class="right">Share</th><th scope="col"><span class="hidden-text">Bar</span></th></tr></thead>
      <tbody>${item.class_counts.map((each) => html`<tr><td>${each.name ?? each.label}</td><td class="right">${count(each.rows)}</td><td class="right">${percent(each.rows / item.rows)}</td><td>${progressBar(each.rows / item.rows, `Share of ${each.name ?? each.label}`)}</td></tr>`)}</tbody></table></div></section>`;
  }
}

define("nas-datasets", Datasets);
define("nas-dataset", Dataset);
