import { html, nothing } from "../vendor/lit.js";
import { define } from "../core/element.js";
import { ago, bytes, count } from "../core/format.js";
import { progressBar, stateMark, table } from "../parts/common.js";
import { Listing } from "../parts/listing.js";

const EVERY = 3000;

/** `/workers`: who does the work, on what, and what each is at. */
class Workers extends Listing {
  path = "/v1/workers";
  title = "Workers";

  connectedCallback() {
    super.connectedCallback();
    const timer = setInterval(() => document.hidden || this.read(), EVERY);
    this.leaving.signal.addEventListener("abort", () => clearInterval(timer));
  }

  body() {
    const alive = this.items.some((each) => each.alive || each.loading);
    return html`<div class="stack">
      ${alive ? nothing : html`<div class="card"><div class="empty"><h2>No worker is alive</h2><p class="soft">Searches, registrations and downloads wait for one. A server without a queue of its own has one inside; beside others, start one for each GPU:</p><pre>elasticnas worker</pre></div></div>`}
      ${
        this.items.length
          ? html`<div class="card">${table(
              [
                "Worker",
                "State",
                "Device",
                "Memory",
                "At work on",
                "Precision",
                ["Evaluations", "right"],
                "Heard from",
              ],
              this.items.map((each) => this.rowOf(each)),
              { kind: "listing" },
            )}</div>`
          : nothing
      }
    </div>`;
  }

  rowOf(worker) {
    const state = worker.loading
      ? "reading"
      : worker.alive === null
        ? "queued"
        : worker.alive
          ? "alive"
          : "lost";
    const word = { reading: "loading", queued: "unknown", alive: "alive", lost: "not heard from" }[
      state
    ];
    const { memory } = worker;
    return html`<tr><td class="mono small">${worker.name || "inside the server"}</td><td>${stateMark(state, word)}</td>
      <td>${worker.device}${worker.device_name ? html`<br><span class="small soft">${worker.device_name}</span>` : nothing}</td>
      <td class="nowrap">${memory ? html`${progressBar(memory.used_bytes / memory.total_bytes, `Memory of ${worker.name}`)}<span class="small soft">${bytes(memory.used_bytes)} of ${bytes(memory.total_bytes)}</span>` : "–"}</td>
      <td>${worker.at?.length ? summary(worker.at) : worker.busy ? "others' work" : "–"}</td>
      <td>${worker.precision ?? "–"}${worker.precisions?.length > 1 ? html`<br><span class="small soft">can ${worker.precisions.join(", ")}</span>` : nothing}</td>
      <td class="right" data-is="Evaluations">${count(worker.evaluations)}</td><td>${ago(worker.last_seen_at)}</td></tr>`;
  }
}

/** What a worker is at, a line for each kind and place. */
function summary(at) {
  const lines = new Map();
  for (const each of at) {
    const [href, where] = each.search_id
      ? [`/searches/${each.search_id}`, each.search_id]
      : each.job_id
        ? [`/jobs/${each.job_id}`, each.job_id]
        : [`/supernets/${each.supernet_id}`, each.supernet_id];
    const key = `${each.kind} ${where}`;
    lines.set(key, {
      href,
      kind: each.kind,
      step: each.step,
      numbers: [...(lines.get(key)?.numbers ?? []), each.number].filter(
        (number) => number !== undefined,
      ),
    });
  }
  return html`<ul class="plain">${[...lines.values()].map((each) => html`<li class="small"><a href=${each.href}>${each.kind}${each.step ? ` ${each.step}` : ""}${each.numbers.length ? ` of ${each.numbers.slice(0, 4).join(", ")}${each.numbers.length > 4 ? "…" : ""}` : ""}</a></li>`)}</ul>`;
}

define("nas-workers", Workers);
