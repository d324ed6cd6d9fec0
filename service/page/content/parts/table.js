import { html, nothing } from "../vendor/lit.js";
import { define, Part } from "../core/element.js";
import { count, duration, isCost, label, lessIsBetter, value } from "../core/format.js";

const PAGE = 25;

/**
 * Every result as rows: to sort, to filter, to take as CSV. Says `pick` (a number), `ranges`, `sort`.
 */
class ResultTable extends Part {
  static properties = {
    model: { attribute: false },
    revision: { attribute: false },
    names: { attribute: false },
    mask: { attribute: false },
    ranges: { attribute: false },
    onlyFront: { attribute: false },
    sort: {},
    selected: { attribute: false },
    page: { state: true },
  };

  constructor() {
    super();
    this.page = 0;
  }

  willUpdate(changed) {
    if (["mask", "onlyFront", "sort"].some((name) => changed.has(name))) this.page = 0;
  }

  /** The rows that pass, in their order: sorted anew only when something of that has changed. */
  rows() {
    const key = `${this.revision} ${this.sort} ${this.onlyFront}`;
    if (key !== this.key || this.mask !== this.sortedFor) this.sorted = this.arranged();
    [this.key, this.sortedFor] = [key, this.mask];
    return this.sorted;
  }

  arranged() {
    const { columns, members } = this.model;
    const rows = [];
    for (let row = 0; row < this.model.count; row += 1) {
      if ((!this.mask || this.mask[row]) && (!this.onlyFront || members.has(columns.number[row])))
        rows.push(row);
    }
    const descending = this.sort.startsWith("-");
    const keys = columns[this.sort.replace("-", "")] ?? columns.number;
    const sign = descending ? -1 : 1;
    rows.sort((a, b) => {
      if (keys[a] === null || keys[b] === null)
        return Number(keys[a] === null) - Number(keys[b] === null);
      return keys[a] < keys[b] ? -sign : keys[a] > keys[b] ? sign : a - b;
    });
    return rows;
  }

  say(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail, bubbles: true }));
  }

  header(name, text, right = true) {
    const active = this.sort.replace("-", "") === name;
    const descending = this.sort.startsWith("-");
    const next = active
      ? descending
        ? name
        : `-${name}`
      : isCost(name) || lessIsBetter(name) || name === "number"
        ? name
        : `-${name}`;
    return html`<th scope="col" class=${right ? "right" : ""} aria-sort=${active ? (descending ? "descending" : "ascending") : nothing}><button type="button" @click=${() => this.say("sort", next)}>${text}${active ? (descending ? " ↓" : " ↑") : ""}</button></th>`;
  }

  render() {
    if (!this.model) return nothing;
    const rows = this.rows();
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    const page = Math.min(this.page, pages - 1);
    const { columns } = this.model;
    return html`<div class="stack tight">
      <div class="row spread">
        <div class="row"><span>${count(rows.length)} of ${count(this.model.count)} results</span>
          <label class="check"><input type="checkbox" .checked=${this.onlyFront} @change=${(event) => this.say("only-front", event.target.checked)}> Front only</label></div>
        <div class="row"><button type="button" @click=${() => this.download(rows)}>CSV of these</button></div>
      </div>
      <details ?open=${Object.keys(this.ranges).length > 0}><summary>Filters</summary><div class="fields">${this.names.map((name) => this.filter(name))}</div></details>
      <div class="scroll" tabindex="0" role="group" aria-label="Results"><table>
        <thead><tr>${this.header("number", "No.")}${this.names.map((name) => this.header(name, label(name)))}${this.header("duration_seconds", "Took")}${this.header("origin", "Origin", false)}${this.header("state", "State", false)}</tr></thead>
        <tbody>${rows.slice(page * PAGE, (page + 1) * PAGE).map(
          (row) => html`<tr aria-selected=${columns.number[row] === this.selected}>
          <td class="right"><a href="/searches/${this.model.id}/subnets/${columns.number[row]}" @mouseenter=${() => this.say("hover", columns.number[row])}>${columns.number[row]}</a></td>
          ${this.names.map((name) => html`<td class="right">${value(name, columns[name][row])}</td>`)}
          <td class="right">${columns.cached[row] ? "known" : duration(columns.duration_seconds[row])}</td>
          <td>${columns.origin[row]}</td>
          <td>${this.model.members.has(columns.number[row]) ? html`<strong>on the front</strong>` : columns.state[row].replaceAll("_", " ")}</td></tr>`,
        )}</tbody>
      </table></div>
      ${rows.length ? nothing : html`<p class="soft">No result passes these filters. <button class="link" type="button" @click=${() => this.say("ranges", {})}>Remove all filters</button></p>`}
      ${pages > 1 ? html`<div class="row"><button type="button" ?disabled=${page === 0} @click=${() => (this.page = page - 1)}>Back</button><span class="small soft number">Page ${page + 1} of ${count(pages)}</span><button type="button" ?disabled=${page === pages - 1} @click=${() => (this.page = page + 1)}>Next</button></div>` : nothing}
    </div>`;
  }

  filter(name) {
    const [low, high] = this.ranges[name] ?? [];
    const set = (end, text) => {
      const range = [low ?? -Infinity, high ?? Infinity];
      range[end] = text === "" ? (end ? Infinity : -Infinity) : Number(text);
      const { [name]: _, ...others } = this.ranges;
      this.say(
        "ranges",
        range.every((each) => !Number.isFinite(each)) ? others : { ...others, [name]: range },
      );
    };
    const shown = (end) => (Number.isFinite(end) ? String(Number(end.toPrecision(5))) : "");
    return html`<fieldset class="field"><span>${label(name)}</span><span class="row tight">
      <input type="number" step="any" placeholder="from" aria-label="${label(name)} from" .value=${shown(low)} @change=${(event) => set(0, event.target.value)}>
      <input type="number" step="any" placeholder="to" aria-label="${label(name)} to" .value=${shown(high)} @change=${(event) => set(1, event.target.value)}></span></fieldset>`;
  }

  /** The rows as they are seen, all pages of them. */
  download(rows) {
    const { columns } = this.model;
    const names = ["number", "state", "origin", ...this.names, "duration_seconds", "hypervolume"];
    const lines = [
      [...names, "on_front"].join(","),
      ...rows.map((row) =>
        [
          ...names.map((name) => columns[name][row] ?? ""),
          this.model.members.has(columns.number[row]),
        ].join(","),
      ),
    ];
    const url = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
    Object.assign(document.createElement("a"), {
      href: url,
      download: `${this.model.id}.csv`,
    }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }
}

define("nas-result-table", ResultTable);
