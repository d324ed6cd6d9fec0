import { html, nothing } from "../vendor/lit.js";
import { all } from "../core/api.js";
import { define, Part } from "../core/element.js";
import { count, time } from "../core/format.js";
import { loading, problemNote, problemOf } from "./common.js";

const REASONS = {
  evaluation_budget_spent: "all evaluations of the budget are made",
  time_budget_spent: "the time of the budget is spent",
  space_exhausted: "every subnet of the space was measured",
  hypervolume_plateau: "the front had stopped growing",
  failure_limit: "too many evaluations had failed",
  cancelled: "it was cancelled",
  error: "of an error",
};

/** What has happened to a search, and what has failed, by its problem. */
class Log extends Part {
  static properties = {
    model: { attribute: false },
    version: { attribute: false },
    failures: { state: true },
    problem: { state: true },
  };

  willUpdate(changed) {
    if ((changed.has("model") || changed.has("version")) && this.model) this.read();
  }

  async read() {
    const failed = this.model.search.progress.failed;
    if (failed === this.known) return;
    this.known = failed;
    try {
      this.failures = failed
        ? await all(`${this.model.path}/evaluations?state=failed&limit=200`, {
            signal: this.leaving.signal,
            most: 400,
          })
        : [];
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  render() {
    if (!this.model) return nothing;
    const { search } = this.model;
    const moments = [
      [search.created_at, "The search was created"],
      [search.started_at, "It started"],
      [
        search.finished_at,
        `It ended, because ${REASONS[search.stop_reason] ?? search.stop_reason}`,
      ],
    ].filter(([when]) => when);
    return html`<div class="stack">
      ${problemNote(this.problem)}
      <dl class="pairs">${moments.map(([when, what]) => html`<dt>${time(when)}</dt><dd>${what}.</dd>`)}</dl>
      ${search.error ? problemNote(search.error) : nothing}
      ${this.failed()}
    </div>`;
  }

  failed() {
    if (!this.failures) return loading();
    if (!this.failures.length) return html`<p class="soft">No evaluation has failed.</p>`;
    return html`<div class="row spread"><h3>${count(this.failures.length)} failed evaluations, by problem</h3>
      <button type="button" @click=${() => this.dispatchEvent(new CustomEvent("retry", { bubbles: true }))}>Retry failed</button></div>
      ${groups(this.failures).map(({ problem, numbers }) => problemNote(problem, html`<span class="small">${numbers.length === 1 ? "Subnet" : `${count(numbers.length)} subnets:`} ${numbers.slice(0, 12).map((number) => html`<a href="/searches/${this.model.id}/subnets/${number}">${number}</a> `)}${numbers.length > 12 ? "…" : ""}</span>`))}`;
  }
}

/** Failures with the same problem but for numbers in its detail: one group each. */
export function groups(failures) {
  const found = new Map();
  for (const { number, error } of failures) {
    const key = `${error?.type} ${(error?.detail ?? "").replace(/\d+/g, "#")}`;
    const group = found.get(key) ?? {
      problem: error ?? { title: "It failed without a word", status: 0 },
      numbers: [],
    };
    group.numbers.push(number);
    found.set(key, group);
  }
  return [...found.values()].sort((a, b) => b.numbers.length - a.numbers.length);
}

define("nas-log", Log);
