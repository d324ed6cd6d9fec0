import { html, nothing } from "../vendor/lit.js";
import { define } from "../core/element.js";
import { ago, bytes, count, percent } from "../core/format.js";
import { progressBar, stateMark, table } from "../parts/common.js";
import { Listing } from "../parts/listing.js";

const EVERY = 3000;
const NUMBERS = 4; // of evaluations that a worker has in hand, to be named

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

  /** @param {Rest["WorkerRead"]} worker */
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
    return html`<tr><td class="mono small">${worker.name || "inside the server"}</td><td>${stateMark(state, word)}</td>
      <td>${worker.device}${worker.device_name ? html`<br><span class="small soft">${worker.device_name}</span>` : nothing}</td>
      <td class="nowrap">${memoryOf(worker)}</td>
      <td>${worker.at.length ? html`<ul class="plain">${worker.at.map(work)}</ul>` : worker.alive && worker.busy ? "others' work" : "–"}${worker.busy === null ? nothing : html`<br><span class="small soft">busy ${percent(worker.busy)} of the time</span>`}</td>
      <td>${worker.precision ?? "–"}${worker.precisions?.length > 1 ? html`<br><span class="small soft">can ${worker.precisions.join(", ")}</span>` : nothing}</td>
      <td class="right" data-is="Evaluations">${count(worker.evaluations)}</td><td>${ago(worker.last_seen_at)}</td></tr>`;
  }
}

/** The memory of the host, and of the device where that has its own. @param {Rest["WorkerRead"]} worker */
function memoryOf({ memory, name }) {
  if (!memory) return "–";
  const bar = (used, total, what) =>
    html`${progressBar(used / total, `${what} of ${name}`)}<span class="small soft">${what}: ${bytes(used)} of ${bytes(total)}</span>`;
  const { device_used_bytes: used, device_total_bytes: total } = memory;
  return html`${bar(memory.resident_bytes, memory.limit_bytes, "memory")}${total ? html`<br>${bar(used, total, "device")}` : nothing}`;
}

/** Something that a worker is at. @param {Rest["WorkRead"]} it */
function work(it) {
  const href = it.search_id
    ? `/searches/${it.search_id}`
    : it.job_id
      ? `/jobs/${it.job_id}`
      : `/supernets/${it.supernet_id}`;
  const numbers = it.numbers.slice(0, NUMBERS).join(", ");
  return html`<li class="small"><a href=${href}>${it.kind}${it.step ? ` ${it.step}` : ""}${numbers ? ` of ${numbers}${it.numbers.length > NUMBERS ? "…" : ""}` : ""}${it.name ? `, ${it.name}` : ""}</a></li>`;
}

define("nas-workers", Workers);
