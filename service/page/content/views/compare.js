import { html, nothing } from "../vendor/lit.js";
import { define, Part } from "../core/element.js";
import { get } from "../core/api.js";
import { onNavigation, path, query, setQuery } from "../core/router.js";
import { choice, count, isCost, label, lessIsBetter, value } from "../core/format.js";
import { layerPicture } from "../charts/layer-picture.js";
import { heading, problemNote, problemOf } from "../parts/common.js";
import { perLayer, shapeOf } from "../parts/subnet-card.js";

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
      ).catch((error) => {
        if (error.status !== 404) throw error;
        return differences(this.pair); // of a server that pairs no results
      });
      this.shape = await shapeOf(this.record.supernet_id);
      this.runs = await Promise.all(
        this.pair.map((each) =>
          perLayer(this.record.supernet_id, each.subnet, this.record.max_length, signal),
        ),
      );
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
        <div class="scroll" tabindex="0" role="group" aria-label="Table"><table><thead><tr><th scope="col">Quantity</th><th scope="col" class="right">A: ${answer.a}</th><th scope="col" class="right">B: ${answer.b}</th><th scope="col" class="right">Difference</th><th scope="col">So</th></tr></thead>
        <tbody>${Object.entries({ ...answer.metrics, ...answer.cost })
          .filter(([name]) => this.isAsked(name))
          .map(([name, each]) => this.rowOf(name, each))}</tbody></table></div>
        <p class="small soft">${answer.measured_on ? `Metrics with intervals of 95 %, paired, on ${count(answer.measured_on.rows)} ${answer.measured_on.part === "verification" ? "rows that the search never saw" : "rows"}.` : (answer.why_no_interval ?? "")}</p></section>
      <section class="card stack" aria-label="Choices"><h2>${answer.dimensions.length ? `${answer.dimensions.length} dimensions differ` : "No dimension differs"}</h2>
        ${answer.dimensions.length ? html`<div class="scroll" tabindex="0" role="group" aria-label="Table"><table><thead><tr><th scope="col">Dimension</th><th scope="col" class="right">A</th><th scope="col" class="right">B</th></tr></thead><tbody>${answer.dimensions.map((each) => html`<tr><td>${each.name}</td><td class="right">${choice(each.a)}</td><td class="right">${choice(each.b)}</td></tr>`)}</tbody></table></div>` : nothing}</section>
      ${this.shape && this.pair ? html`<div class="halves">${this.pair.map((each, i) => html`<section class="card" aria-label="Layers of ${each.number}"><h2>${"AB"[i]}: <a href="/searches/${this.search}/subnets/${each.number}">subnet ${each.number}</a></h2>${layerPicture(this.shape, each.subnet, this.runs?.[i]?.layers ?? null, 440)}</section>`)}</div>` : nothing}`;
  }

  isAsked(name) {
    return (
      !isCost(name) || this.record.objectives.includes(name) || ["gflops", "params"].includes(name)
    );
  }

  rowOf(name, { a, b, difference, low, high, could_be_chance: chance }) {
    const better = difference !== 0 && difference < 0 === lessIsBetter(name);
    const verdict =
      difference === 0 ? "the same" : chance ? "could be chance" : better ? "better" : "worse";
    const sign = isCost(name)
      ? difference > 0
        ? "+"
        : difference < 0
          ? "−"
          : ""
      : difference > 0
        ? "+"
        : "";
    return html`<tr><td>${label(name)}</td><td class="right">${value(name, a)}</td><td class="right">${value(name, b)}</td>
      <td class="right">${sign}${value(name, isCost(name) ? Math.abs(difference) : difference)}${low != null ? html`<br><span class="small soft">${value(name, low)} to ${value(name, high)}</span>` : nothing}</td><td>${chance ? html`<strong>${verdict}</strong>` : verdict}</td></tr>`;
  }
}

/** What differs between two evaluations, in the shape of the server's answer, without intervals. */
function differences([a, b]) {
  const between = (one, other) =>
    Object.fromEntries(
      Object.keys(one ?? {})
        .filter((name) => name in (other ?? {}))
        .map((name) => [
          name,
          { a: one[name], b: other[name], difference: other[name] - one[name] },
        ]),
    );
  const names = Object.keys(a.subnet).filter(
    (name) => choice(a.subnet[name]) !== choice(b.subnet[name]),
  );
  return {
    a: a.number,
    b: b.number,
    metrics: between(a.metrics, b.metrics),
    cost: between(a.cost, b.cost),
    dimensions: names.map((name) => ({ name, a: a.subnet[name], b: b.subnet[name] })),
    measured_on: null,
    why_no_interval:
      "The server pairs no results of this search: whether a difference is chance is not known.",
  };
}

define("nas-compare", Compare);
