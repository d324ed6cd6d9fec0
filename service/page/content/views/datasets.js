import { html, nothing } from "../vendor/lit.js";
import { define } from "../core/element.js";
import { once } from "../core/api.js";
import { ago, count, percent, time } from "../core/format.js";
import { notesOf } from "../parts/annotations.js";
import { choose, heading, problemNote, progressBar, table } from "../parts/common.js";
import { Detail, Uploads } from "../parts/listing.js";

/** `/datasets`: what is measured on, and the way to upload more. */
class Datasets extends Uploads {
  static properties = {
    tasks: { state: true },
    kinds: { state: true },
    task: { state: true },
    kind: { state: true },
  };
  path = "/v1/datasets";
  title = "Datasets";
  registers = "Register validation data";

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

  none() {
    return html`<div class="card"><div class="empty"><h2>No data yet</h2><p class="soft">Upload the rows that subnets are measured on: JSONL, CSV or Parquet. On the command line:</p><pre>elasticnas dataset add rows.jsonl --text-columns sentence --label-column label</pre></div></div>`;
  }

  table() {
    return table(
      ["Dataset", "Task", "Metric", ["Rows", "right"], "Columns"],
      this.found((each) => [each.task]).map(
        (each) => html`<tr>
        <td><a href="/datasets/${each.id}"><strong>${each.name}</strong></a><br><span class="small soft">${ago(each.created_at)}</span></td>
        <td>${each.task}</td><td>${each.metric.replaceAll("_", " ")}</td><td class="right" data-is="Rows">${count(each.rows)}</td>
        <td class="small">${each.text_columns.join(", ")}${each.label_column ? ` → ${each.label_column}` : ""}</td></tr>`,
      ),
      { kind: "listing" },
    );
  }

  fields() {
    const text = (name, title, hint, required = false) =>
      html`<label class="field"><span>${title}</span><input name=${name} ?required=${required} aria-invalid=${this.refusal?.errors?.some((each) => each.pointer === `/${name}`) ? "true" : nothing}><small>${hint}</small></label>`;
    return html`<label class="field"><span>File</span><input name="file" type="file" required><small>JSONL, CSV, tab-separated or Parquet</small></label>
      ${text("name", "Name", "the file's, unless you say")}
      ${this.kinds ? choose("Public data", this.kind, [["", "No, columns of my own"], ...this.kinds.map((each) => [each.name, each.name])], (kind) => (this.kind = kind), { name: "kind" }) : nothing}
      ${
        this.kind
          ? nothing
          : html`
        ${choose(
          "Task",
          this.task,
          (this.tasks ?? []).map((each) => [each, each]),
          (task) => (this.task = task),
          { name: "task" },
        )}
        ${text("text_columns", "Text columns", "one, or two separated by a comma for pairs", true)}
        ${this.task === "perplexity" ? nothing : text("label_column", "Label column", "classes from 0, names of classes, or numbers")}
        ${this.task === "multiple-choice" ? text("choices_column", "Choices", "a column of lists, or a column for each choice") : nothing}
        ${this.task === "text-classification" ? text("label_names", "Label names", "of text labels, in the order of the model's classes") : nothing}`
      }
      ${text("metric", "Metric", "the task's first, unless you say")}`;
  }
}

/** `/datasets/{id}`: its rows, columns and classes. */
class Dataset extends Detail {
  static properties = { key: {} };
  title = "Dataset";

  get path() {
    return `/v1/datasets/${encodeURIComponent(this.key)}`;
  }

  body() {
    const { item } = this;
    return html`${heading(item.name, {
      below: notesOf(item),
      crumbs: html`<a href="/datasets">Datasets</a> / <span class="mono small">${item.id}</span>`,
      actions: html`<a class="button primary" href="/searches/new?dataset=${item.id}">Search on it</a><nas-annotate .path=${this.path} .item=${item} @annotated=${(event) => (this.item = event.detail)}></nas-annotate><button type="button" class="danger" @click=${() => this.remove("Delete this dataset?", "It is refused while a search or a job refers to it.", "/datasets")}>Delete</button>`,
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
    return html`<section class="card" aria-label="Classes"><h2>Classes</h2>${table(
      ["Class", ["Rows", "right"], ["Share", "right"], ["Bar", "unseen"]],
      item.class_counts.map(
        (each) =>
          html`<tr><td>${each.name ?? each.label}</td><td class="right">${count(each.rows)}</td><td class="right">${percent(each.rows / item.rows)}</td><td>${progressBar(each.rows / item.rows, `Share of ${each.name ?? each.label}`)}</td></tr>`,
      ),
    )}</section>`;
  }
}

define("nas-datasets", Datasets);
define("nas-dataset", Dataset);
