import { html, nothing } from "../vendor/lit.js";
import { define, Part } from "../core/element.js";
import { get, once } from "../core/api.js";
import { SearchModel } from "../core/search-model.js";
import { bytes, count, isCost, label, percent, time, value } from "../core/format.js";
import { layerPicture } from "../charts/layer-picture.js";
import {
  copyButton,
  heading,
  loading,
  problemNote,
  problemOf,
  stateMark,
  table,
} from "../parts/common.js";
import { numbers, priced, shapeOf } from "../parts/subnet-card.js";
import "../parts/take-home.js";

const EVERY = 1500;

/** `/searches/{id}/subnets/{n}`: one subnet, layer by layer, among its neighbours, to take home. */
class Subnet extends Part {
  static properties = {
    search: {},
    number: { attribute: false },
    item: { state: true },
    model: { state: true },
    shape: { state: true },
    priced: { state: true },
    exports: { state: true },
    problem: { state: true },
  };

  connectedCallback() {
    super.connectedCallback();
    this.open();
  }

  get path() {
    return `/v1/searches/${encodeURIComponent(this.search)}`;
  }

  async open() {
    const { signal } = this.leaving;
    try {
      const [search, front, item, first] = await Promise.all([
        get(this.path, signal),
        get(`${this.path}/front`, signal),
        get(`${this.path}/evaluations/${this.number}`, signal),
        get(`${this.path}/evaluations/0`, signal),
      ]);
      this.maximal = first.origin === "maximal" && first.state === "completed" ? [first] : [];
      const metric = search.objectives.find((each) => !isCost(each));
      const cost = search.objectives.find(isCost) ?? "gflops";
      this.model = { id: search.id, search, front, metric, cost };
      this.item = item;
      document.title = `Subnet ${this.number} · ${search.name ?? search.id}`;
      await this.readExports();
      this.head = (await once(`/v1/supernets/${search.supernet_id}`)).head;
      this.shape = await shapeOf(search.supernet_id);
      const costs = await priced(search.supernet_id, [item.subnet], search.max_length, signal);
      this.priced = costs.items[0];
      if (!["completed", "failed", "given_up"].includes(item.state))
        setTimeout(() => signal.aborted || this.open(), EVERY);
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  /** What may be downloaded; while a worker builds one, asked anew. */
  async readExports() {
    this.exports = (
      await get(`${this.path}/subnets/${this.number}/exports`, this.leaving.signal)
    ).items;
    if (this.exports.some((each) => each.state === "pending"))
      setTimeout(() => this.leaving.signal.aborted || this.readExports(), EVERY);
  }

  render() {
    if (this.problem)
      return html`${heading("Subnet")}${problemNote(this.problem, html`<a href="/searches/${this.search}">The search</a>`)}`;
    if (!this.item) return html`${heading("Subnet")}${loading()}`;
    const { item, model } = this;
    const name = model.search.name ?? model.id;
    return html`${heading(
      html`Subnet ${item.number} ${item.on_front ? html`<span class="tag">on the front</span>` : stateMark(item.state)}`,
      {
        crumbs: html`<a href="/">Searches</a> / <a href="/searches/${model.id}?subnet=${item.number}">${name}</a>`,
        actions: html`${model.front.best !== null && model.front.best !== item.number ? html`<a class="button" href="/searches/${model.id}/compare?a=${model.front.best}&b=${item.number}">Compare with the best</a>` : nothing}`,
      },
    )}
    <div class="stack">
      ${item.error ? problemNote(item.error) : nothing}
      <div class="halves">
        <section class="card" aria-label="Numbers"><h2>Numbers</h2>${numbers(item, model)}</section>
        <section class="card" aria-label="Layers"><h2>Layers</h2>${this.shape ? layerPicture(this.shape, item.subnet, this.priced?.layers ?? null, 460) : loading()}</section>
      </div>
      <div class="halves">${this.neighbours()}${this.costs()}</div>
      ${item.state === "completed" ? this.takeHome() : nothing}
      ${this.provenance()}
    </div>`;
  }

  /** The members of the front beside it, by cost, and the maximal subnet. */
  neighbours() {
    const { item, model } = this;
    const by = (each) => SearchModel.of(each, model.cost);
    const others = model.front.items.filter((each) => each.number !== item.number);
    const cheaper = others.filter((each) => by(each) <= by(item)).slice(-2);
    const dearer = others.filter((each) => by(each) > by(item)).slice(0, 2);
    const shown = [...cheaper, item, ...dearer];
    const maximal = this.maximal.filter((each) => shown.every((it) => it.number !== each.number));
    const row = (
      each,
    ) => html`<tr aria-selected=${each.number === item.number}><td>${each.number === item.number ? html`<strong>${each.number}</strong>` : html`<a href="/searches/${model.id}/subnets/${each.number}">${each.number}</a>`}${each.origin === "maximal" ? " (maximal)" : nothing}</td>
      ${model.search.objectives.map((name) => html`<td class="right">${value(name, SearchModel.of(each, name))}</td>`)}
      <td>${each.number === item.number ? "this one" : html`<a href="/searches/${model.id}/compare?a=${item.number}&b=${each.number}">compare</a>`}</td></tr>`;
    return html`<section class="card" aria-label="Neighbours"><h2>Beside it on the front</h2>${table(["No.", ...model.search.objectives.map((name) => [label(name), "right"]), ["Compare", "unseen"]], [...shown, ...maximal].map(row))}
      ${item.verified?.versus_maximal?.[model.metric] ? html`<p class="small soft">Against the maximal subnet, on ${count(item.verified.rows)} unseen rows: ${signed(item.verified.versus_maximal[model.metric].value)} (${signed(item.verified.versus_maximal[model.metric].low)} to ${signed(item.verified.versus_maximal[model.metric].high)}).</p>` : nothing}</section>`;
  }

  costs() {
    const layers = this.priced?.layers;
    const { cost } = this.model;
    if (!layers) return nothing;
    const most = Math.max(
      ...layers.map((each) => each.cost[cost] ?? 0),
      this.priced.rest?.[cost] ?? 0,
    );
    const total = this.item.cost[cost];
    const row = (name, number) =>
      html`<tr><td>${name}</td><td class="right">${value(cost, number)}</td><td class="right">${percent(number / total)}</td><td class="only-wide"><meter min="0" max=${most} .value=${number} aria-label="Cost of ${name}"></meter></td></tr>`;
    return html`<section class="card" aria-label="Cost per layer"><h2>${label(cost)}, layer by layer</h2>${table(["Layer", [label(cost), "right"], ["Share", "right"], ["Bar", "only-wide unseen"]], html`${layers.map((each) => row(`Layer ${each.layer}`, each.cost[cost] ?? 0))}${this.priced.rest ? row("All else", this.priced.rest[cost] ?? 0) : nothing}`)}</section>`;
  }

  takeHome() {
    if (!this.exports) return nothing;
    return html`<section class="card stack" aria-label="Download"><h2>Take it home</h2>
      ${this.exports.map(
        (each) => html`<div class="stack tight"><div class="row spread"><div><h3>${each.format}</h3>
        <span class="small soft">${each.possible === false ? each.reason : (WHAT[each.format] ?? "")}${each.size_bytes ? `, ${bytes(each.size_bytes)}` : ""}</span></div>
        ${each.possible === false ? nothing : html`<nas-take-home .search=${this.search} .number=${this.number} .format=${each.format}></nas-take-home>`}</div>
        ${each.problem ? problemNote(each.problem) : nothing}
        ${each.possible === false ? nothing : snippet(this.item.number, each.format, this.search, this.head)}</div>`,
      )}</section>`;
  }

  provenance() {
    const { item, model } = this;
    return html`<section class="card" aria-label="Provenance"><h2>Provenance</h2><dl class="pairs">
      <dt>Measured by</dt><dd class="mono small">${item.worker ?? "–"}</dd><dt>Precision</dt><dd>${item.precision ?? "–"}</dd><dt>Attempt</dt><dd>${item.attempt}</dd><dt>Finished</dt><dd>${time(item.finished_at)}</dd>
      ${item.start ? html`<dt>Training began with</dt><dd><a href="/searches/${model.id}/subnets/${item.start.number}">subnet ${item.start.number}</a>, ${percent(item.start.overlap)} of its weights</dd>` : nothing}
      ${item.rungs?.length ? html`<dt>On the way</dt><dd>${item.rungs.map(({ steps, metrics }) => html`<div>${value(model.metric, metrics[model.metric])} after ${count(steps)} steps</div>`)}</dd>` : nothing}
      <dt>Super-network</dt><dd><a href="/supernets/${model.search.supernet_id}">${model.search.supernet_id}</a></dd><dt>Data</dt><dd><a href="/datasets/${model.search.dataset_id}">${model.search.dataset_id}</a></dd></dl>
      <details><summary>The subnet as JSON</summary><pre>${JSON.stringify(item.subnet, null, 1)}</pre>${copyButton(JSON.stringify(item.subnet))}</details></section>`;
  }
}

const WHAT = {
  transformers: "A self-contained folder for stock Transformers",
  peft: "A stock PEFT adapter",
  onnx: "A graph for ONNX Runtime",
};
const signed = (number) => `${number > 0 ? "+" : ""}${number.toFixed(3)}`;

const MODELS = {
  classifier: "AutoModelForSequenceClassification",
  causal_lm: "AutoModelForCausalLM",
  spans: "AutoModelForQuestionAnswering",
};

/** How the file is fetched and loaded, to copy. */
function snippet(number, format, search, head) {
  const fetch = `elasticnas weights ${search} ${number}${format === "transformers" ? "" : ` --format ${format}`} --output subnet-${number} --server ${location.origin}`;
  const kind = MODELS[head] ?? MODELS.classifier;
  const load = {
    transformers: `from transformers import ${kind}, AutoTokenizer\n\nmodel = ${kind}.from_pretrained("subnet-${number}", trust_remote_code=True)\ntokenizer = AutoTokenizer.from_pretrained("subnet-${number}")`,
    peft: `from peft import PeftModel\n\nmodel = PeftModel.from_pretrained(base_model, "subnet-${number}")`,
    onnx: `from onnxruntime import InferenceSession\n\nsession = InferenceSession("subnet-${number}/model.onnx")`,
  }[format];
  const text = `# ${fetch}\n${load ?? ""}`.trim();
  return html`<details><summary>Fetch and load it</summary><pre>${text}</pre>${copyButton(text)}</details>`;
}

define("nas-subnet", Subnet);
