import { html, nothing } from "../vendor/lit.js";
import { define, Part } from "../core/element.js";
import { get } from "../core/api.js";
import { onNavigation, path, query, setQuery } from "../core/router.js";
import { choice, count, isCost, label, lessIsBetter, value } from "../core/format.js";
import { layerPicture } from "../charts/layer-picture.js";
import { heading, problemNote, problemOf, table } from "../parts/common.js";
import { priced, shapeOf } from "../parts/subnet-card.js";

/** `/searches/{id}/compare?a=&b=`: where two subnets differ, and whether it matters. */
class Compare extends Part {
  static properties = {
    search: {},
    answer: { state: true },
    record: { state: true },
    pair: { state: true },
    shape: { state: true },
    runs: { state: true },
    problem: { state: true },
  };

  connectedCallback() {
    super.connectedCallback();
    onNavigation(() => path().endsWith("/compare") && this.read(), this.leaving.signal);
    this.read();
  }

  async read() {
    const [a, b] = ["a", "b"].map((each) => query().get(each) ?? "");
    if (`${a} ${b}` === this.asked) return;
    this.asked = `${a} ${b}`;
    const address = `/v1/searches/${encodeURIComponent(this.search)}`;
    const { signal } = this.leaving;
    try {
      this.problem = null;
      this.record ??= await get(address, signal);
      this.front ??= await get(`${address}/front`, signal);
      document.title = `Compare · ${this.record.name ?? this.record.id}`;
      if (a === "" || b === "") return;
      this.pair = await Promise.all(
        [a, b].map((each) => get(`${address}/evaluations/${encodeURIComponent(each)}`, signal)),
      );
      this.answer = await get(
        `${address}/compare?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`,
        signal,
      );
      this.shape = await shapeOf(this.record.supernet_id);
      const subnets = this.pair.map((each) => each.subnet);
      const { supernet_id: supernet, max_length: maxLength } = this.record;
      this.runs = (await priced(supernet, subnets, maxLength, signal)).items;
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  render() {
    const [a, b] = ["a", "b"].map((each) => query().get(each) ?? "");
    const which = (name, at) =>
      html`<label class="field"><span>${name}</span><input type="number" min="0" step="1" .value=${at} @change=${(event) => setQuery({ [name.toLowerCase()]: event.target.value }, { replace: false })}></label>`;
    return html`${heading("Two subnets", { crumbs: html`<a href="/">Searches</a> / <a href="/searches/${this.search}">${this.record?.name ?? this.search}</a>` })}
      <div class="stack">
        <div class="row">${which("A", a)}${which("B", b)}<button type="button" @click=${() => setQuery({ a: b, b: a })}>Swap</button></div>
        ${problemNote(this.problem)}
        ${this.answer && !this.problem ? this.body() : this.problem ? nothing : html`<p class="soft">${a === "" || b === "" ? "Give the numbers of two subnets." : "Loading…"}</p>`}
      </div>`;
  }

  body() {
    const { answer } = this;
    return html`
      <section class="card stack" aria-label="Differences"><h2>What changes from A to B</h2>
        ${table(
          [
            "Quantity",
            [`A: ${answer.a}`, "right"],
            [`B: ${answer.b}`, "right"],
            ["Difference", "right"],
            "So",
          ],
          Object.entries({ ...answer.metrics, ...answer.cost })
            .filter(([name, each]) => each.difference !== 0 && this.isAsked(name))
            .map(([name, each]) => this.rowOf(name, each)),
        )}
        <p class="small soft">${answer.measured_on ? `Metrics with intervals of 95 %, paired, on ${count(answer.measured_on.rows)} ${answer.measured_on.part === "verification" ? "rows that the search never saw" : "rows"}.` : `No interval: ${answer.why_no_interval.replaceAll("`", "")}.`}</p></section>
      <section class="card stack" aria-label="Choices"><h2>${answer.dimensions.length ? `${answer.dimensions.length} dimensions differ` : "No dimension differs"}</h2>
        ${
          answer.dimensions.length
            ? html`${table(
                ["Dimension", ["A", "right"], ["B", "right"]],
                answer.dimensions.map(
                  (each) =>
                    html`<tr><td>${each.name}</td><td class="right">${choice(each.a)}</td><td class="right">${choice(each.b)}</td></tr>`,
                ),
              )}`
            : nothing
        }</section>
      ${this.shape && this.pair ? html`<div class="halves">${this.pair.map((each, i) => html`<section class="card" aria-label="Layers of ${each.number}"><h2>${"AB"[i]}: <a href="/searches/${this.search}/subnets/${each.number}">subnet ${each.number}</a></h2>${layerPicture(this.shape, each.subnet, this.runs?.[i]?.layers ?? null, 440)}</section>`)}</div>` : nothing}`;
  }

  isAsked(name) {
    return (
      !isCost(name) || this.record.objectives.includes(name) || ["gflops", "params"].includes(name)
    );
  }

  rowOf(name, { a, b, difference, low, high, could_be_chance: chance }) {
    const better = difference < 0 === lessIsBetter(name);
    const verdict = chance ? "could be chance" : better ? "better" : "worse";
    const sign = difference > 0 ? "+" : "−";
    return html`<tr><td>${label(name)}</td><td class="right">${value(name, a)}</td><td class="right">${value(name, b)}</td>
      <td class="right">${sign}${value(name, Math.abs(difference))}${low != null ? html`<br><span class="small soft">${value(name, low)} to ${value(name, high)}</span>` : nothing}</td><td>${chance ? html`<strong>${verdict}</strong>` : verdict}</td></tr>`;
  }
}

define("nas-compare", Compare);
