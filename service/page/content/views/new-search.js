import { html, nothing } from "../vendor/lit.js";
import { define, Part } from "../core/element.js";
import { all, get, once, post, send } from "../core/api.js";
import { go, query, setQuery } from "../core/router.js";
import { fieldsOf } from "../core/schema.js";
import { COSTS, isCost, label, percent, quantity, size, value } from "../core/format.js";
import { copyButton, heading, loading, problemNote, problemOf } from "../parts/common.js";
import { asCommand, asCurl, asPython } from "../parts/request-text.js";

const WAIT = 350; // milliseconds of rest before the server is asked what a constraint leaves
/** @type {[string, (request: object) => string][]} */
const LANGUAGES = [
  ["curl", asCurl],
  ["Command", asCommand],
  ["Python", asPython],
];

/** `/searches/new`: a form that becomes the body of `POST /v1/searches`. */
class NewSearch extends Part {
  static properties = {
    supernets: { state: true },
    datasets: { state: true },
    strategies: { state: true },
    tasks: { state: true },
    draft: { state: true },
    feasible: { state: true },
    refusal: { state: true },
    problem: { state: true },
    sending: { state: true },
    language: { state: true },
  };

  constructor() {
    super();
    /** @type {any} the body of the request as far as it is filled in */
    this.draft = {
      supernet_id: "",
      dataset_id: "",
      constraints: [],
      strategy: { name: "pareto" },
      budget: { evaluations: 200 },
    };
    this.language = "curl";
  }

  connectedCallback() {
    super.connectedCallback();
    this.open();
  }

  async open() {
    const { signal } = this.leaving;
    try {
      const [supernets, datasets, meta] = await Promise.all([
        all("/v1/supernets?limit=200", { signal }),
        all("/v1/datasets?limit=200", { signal }),
        once("/v1/meta"),
      ]);
      Object.assign(this, { supernets, datasets, tasks: meta.tasks });
      this.strategies = meta.strategies.map((each) => ({
        ...each,
        fields: fieldsOf(each.settings),
      }));
      const from = query().get("from");
      if (from) await this.clone(from);
      const ready = this.supernets.filter((each) => each.state === "ready");
      this.draft.supernet_id ||= query().get("supernet") ?? ready[0]?.id ?? "";
      this.draft.dataset_id ||= query().get("dataset") ?? this.datasets[0]?.id ?? "";
      this.changed();
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  /** Begin with the request of another search, as it was given. */
  async clone(id) {
    const request = await get(
      `/v1/searches/${encodeURIComponent(id)}/request`,
      this.leaving.signal,
    );
    const given = Object.fromEntries(Object.entries(request).filter(([, each]) => each !== null));
    this.draft = {
      constraints: [],
      strategy: { name: "pareto" },
      ...given,
      budget: { evaluations: 200, ...given.budget },
    };
  }

  get supernet() {
    return this.supernets?.find(
      (each) => each.id === this.draft.supernet_id && each.state === "ready",
    );
  }

  get dataset() {
    return this.datasets?.find((each) => each.id === this.draft.dataset_id);
  }

  get metrics() {
    const task = this.tasks.find((each) => each.name === this.dataset?.task);
    return task?.metrics.map((each) => each.name) ?? [];
  }

  get costs() {
    const known = this.supernet?.cost.maximal ?? {};
    return Object.keys(COSTS).filter((name) => known[name] !== null && known[name] !== undefined);
  }

  /** What is sent: the draft without what is left to the server. */
  request() {
    const { draft } = this;
    const request = { ...draft };
    if (!draft.constraints.length) delete request.constraints;
    for (const [name, each] of Object.entries(request))
      if (each === null || each === undefined || each === "") delete request[name];
    if (request.budget.seconds === null || request.budget.seconds === undefined)
      request.budget = { evaluations: draft.budget.evaluations };
    return request;
  }

  set(name, entry) {
    this.draft = { ...this.draft, [name]: entry };
    this.changed();
  }

  /** Ask again what the constraints leave, once the typing rests. */
  changed() {
    this.requestUpdate();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), WAIT);
  }

  async look() {
    const { supernet } = this;
    if (!supernet) return;
    const constraints = this.draft.constraints.filter((each) => each.max > 0);
    const asked = JSON.stringify([supernet.id, constraints, this.draft.max_length]);
    if (asked === this.asked) return;
    this.asked = asked;
    try {
      const answer = await post(
        `/v1/supernets/${supernet.id}/feasibility`,
        { constraints, max_length: this.draft.max_length ?? null },
        this.leaving.signal,
      );
      if (asked === this.asked) this.feasible = answer;
    } catch {
      if (asked === this.asked) this.feasible = this.asked = null;
    }
  }

  async submit(event) {
    event.preventDefault();
    this.sending = true;
    this.refusal = null;
    this.key ??= crypto.randomUUID?.() ?? String(Math.random());
    try {
      const search = await send("POST", "/v1/searches", {
        body: this.request(),
        headers: { "Idempotency-Key": this.key + JSON.stringify(this.request()).length },
      });
      go(`/searches/${search.id}`);
    } catch (error) {
      this.key = null;
      this.refusal = problemOf(error);
      this.updateComplete.then(() =>
        (
          this.querySelector("[aria-invalid=true]") ?? this.querySelector(".note.bad")
        )?.scrollIntoView({ block: "center" }),
      );
    }
    this.sending = false;
  }

  // -- fields --------------------------------------------------------------------------------

  /** What the server said of a field, by its pointer. */
  wrong(pointer) {
    return this.refusal?.errors?.find(
      (each) => each.pointer === pointer || each.pointer.startsWith(`${pointer}/`),
    )?.detail;
  }

  field(title, pointer, input, hint = nothing) {
    const wrong = this.wrong(pointer);
    return html`<label class="field"><span>${title}</span>${input(wrong ? "true" : nothing)}${wrong ? html`<small class="wrong">${wrong}</small>` : hint === nothing ? nothing : html`<small>${hint}</small>`}</label>`;
  }

  /** @param {{hint?: unknown, step?: number | string, min?: number, max?: number, placeholder?: string}} [options] */
  number(title, pointer, entry, onChange, options = {}) {
    const { hint = nothing, step = 1, min, max, placeholder = "" } = options;
    return this.field(
      title,
      pointer,
      (invalid) =>
        html`<input type="number" name=${pointer.slice(1)} step=${step} min=${min ?? nothing} max=${max ?? nothing} placeholder=${placeholder} aria-invalid=${invalid} .value=${entry === null || entry === undefined ? "" : String(entry)} @input=${(event) => onChange(event.target.value === "" ? null : Number(event.target.value))}>`,
      hint,
    );
  }

  select(title, pointer, entry, options, onChange, hint = nothing) {
    return this.field(
      title,
      pointer,
      (invalid) =>
        html`<select name=${pointer.slice(1)} aria-invalid=${invalid} @change=${(event) => onChange(event.target.value)}>${options.map(([key, text]) => html`<option value=${key} ?selected=${String(key) === String(entry ?? "")}>${text}</option>`)}</select>`,
      hint,
    );
  }

  render() {
    const title = heading("New search", { crumbs: html`<a href="/">Searches</a>` });
    if (this.problem) return html`${title}${problemNote(this.problem)}`;
    if (!this.strategies) return html`${title}${loading()}`;
    if (!this.supernet || !this.datasets.length) return html`${title}${this.missing()}`;
    return html`${title}<form class="two" @submit=${this.submit}>
      <div class="stack">
        ${problemNote(this.refusal)}
        ${this.what()}${this.objectives()}${this.constraints()}${this.strategy()}${this.budget()}${this.more()}
      </div>
      <aside class="stack" aria-label="Preview">${this.preview()}${this.texts()}</aside></form>`;
  }

  missing() {
    return html`<div class="card"><div class="empty"><h2>Two things come first</h2><ol>
      <li>${this.supernet ? html`A super-network: <strong>there is one</strong>` : html`<a href="/supernets">A super-network</a> that is ready`}</li>
      <li>${this.datasets.length ? html`Validation data: <strong>there is some</strong>` : html`<a href="/datasets">Validation data</a> to measure subnets on`}</li></ol></div></div>`;
  }

  what() {
    const { draft } = this;
    return html`<fieldset class="card"><legend>What is searched</legend><div class="fields">
      ${this.select(
        "Super-network",
        "/supernet_id",
        draft.supernet_id,
        this.supernets.filter((each) => each.state === "ready").map((each) => [each.id, each.name]),
        (id) => {
          this.set("supernet_id", id);
          setQuery({ supernet: id });
        },
      )}
      ${this.select(
        "Validation data",
        "/dataset_id",
        draft.dataset_id,
        this.datasets.map((each) => [each.id, `${each.name}, ${each.rows} rows`]),
        (id) => {
          this.draft.objectives = undefined;
          this.set("dataset_id", id);
          setQuery({ dataset: id });
        },
      )}
      ${this.field("Name", "/name", (invalid) => html`<input name="name" maxlength="200" aria-invalid=${invalid} .value=${draft.name ?? ""} @input=${(event) => this.set("name", event.target.value)}>`, "to find it again")}
    </div></fieldset>`;
  }

  objectives() {
    const names = [...this.metrics, ...this.costs];
    const asked = this.draft.objectives ?? [];
    const set = (at, name) => {
      const objectives = [...(asked.length ? asked : [this.dataset.metric, "gflops"])];
      if (name) objectives[at] = name;
      else objectives.splice(at, 1);
      this.set("objectives", objectives);
    };
    const options = (none) => [
      ...(none ? [["", none]] : []),
      ...names.map((each) => [each, `${label(each)}${isCost(each) ? " (less is better)" : ""}`]),
    ];
    const shown = asked.length ? asked : [this.dataset.metric, "gflops"];
    return html`<fieldset class="card"><legend>Objectives</legend><div class="fields">
      ${this.select("First", "/objectives", shown[0], options(), (name) => set(0, name), "the best of this is named")}
      ${this.select("Against", "/objectives/1", shown[1], options(), (name) => set(1, name))}
      ${this.select("And", "/objectives/2", shown[2] ?? "", options("nothing else"), (name) => set(2, name))}
    </div></fieldset>`;
  }

  constraints() {
    const { constraints } = this.draft;
    const replace = (at, change) =>
      this.set(
        "constraints",
        constraints.map((each, i) => (i === at ? { ...each, ...change } : each)),
      );
    const range = (cost) =>
      this.feasible?.range?.[cost] ??
      (this.supernet
        ? { low: this.supernet.cost.minimal[cost], high: this.supernet.cost.maximal[cost] }
        : null);
    return html`<fieldset class="card"><legend>Constraints</legend><div class="stack">
      ${constraints.map((each, i) => {
        const ends = range(each.cost);
        return html`<div class="row">
          ${this.select(
            "Cost",
            `/constraints/${i}/cost`,
            each.cost,
            this.costs.map((cost) => [cost, label(cost)]),
            (cost) => replace(i, { cost }),
          )}
          ${this.number("At most", `/constraints/${i}/max`, each.max, (max) => replace(i, { max }), { step: "any", min: 0, hint: ends ? `${value(each.cost, ends.low)} to ${value(each.cost, ends.high)}` : nothing })}
          <button type="button" class="quiet" @click=${() =>
            this.set(
              "constraints",
              constraints.filter((_, at) => at !== i),
            )}>Remove</button></div>`;
      })}
      <div><button type="button" ?disabled=${constraints.length >= this.costs.length} @click=${() => {
        const cost =
          this.costs.find((each) => !constraints.some((one) => one.cost === each)) ?? "gflops";
        this.set("constraints", [
          ...constraints,
          { cost, max: Number((this.supernet.cost.maximal[cost] * 0.75).toPrecision(3)) },
        ]);
      }}>Add a constraint</button></div>
      ${constraints.length ? nothing : html`<p class="small soft">Every subnet of the space may be measured.</p>`}
    </div></fieldset>`;
  }

  strategy() {
    const { strategy } = this.draft;
    const chosen =
      this.strategies.find((each) => each.name === strategy.name) ?? this.strategies[0];
    const set = (name, entry) => {
      const { [name]: _, ...others } = strategy;
      this.set(
        "strategy",
        entry === null || entry === undefined || entry === ""
          ? others
          : { ...others, [name]: entry },
      );
    };
    return html`<fieldset class="card"><legend>Strategy</legend><div class="stack">
      <div class="fields">${this.select(
        "Strategy",
        "/strategy/name",
        strategy.name,
        this.strategies.map((each) => [
          each.name,
          each.missing.length ? `${each.name} (needs ${each.missing.join(", ")})` : each.name,
        ]),
        (name) => this.set("strategy", { name }),
      )}</div>
      <p class="small soft">${chosen.description.split("\n\n")[0].replaceAll("`", "")}</p>
      ${chosen.fields.length ? html`<details ?open=${Object.keys(strategy).length > 1 || Boolean(this.wrong("/strategy"))}><summary>${chosen.fields.length} settings of ${chosen.name}</summary><div class="fields">${chosen.fields.map((each) => this.setting(each, strategy[each.name], (entry) => set(each.name, entry)))}</div></details>` : nothing}
    </div></fieldset>`;
  }

  setting(field, entry, onChange) {
    const title = field.name.replaceAll("_", " ");
    const pointer = `/strategy/${field.name}`;
    const usual =
      field.default === null || field.default === undefined
        ? "the strategy's choice"
        : String(field.default);
    const hint = field.description || nothing;
    if (field.kind === "choice")
      return this.select(
        title,
        pointer,
        entry ?? "",
        [["", usual], ...field.options.map((each) => [each, each])],
        onChange,
        hint,
      );
    if (field.kind === "check")
      return this.select(
        title,
        pointer,
        entry === undefined ? "" : String(entry),
        [
          ["", usual],
          ["true", "yes"],
          ["false", "no"],
        ],
        (text) => onChange(text === "" ? null : text === "true"),
        hint,
      );
    if (field.kind === "number")
      return this.number(title, pointer, entry, onChange, { ...field, hint, placeholder: usual });
    const parse = (text) => {
      if (field.kind === "text" || text === "") return text;
      try {
        return JSON.parse(text);
      } catch {
        return text;
      }
    };
    return this.field(
      title,
      pointer,
      (invalid) =>
        html`<input aria-invalid=${invalid} placeholder=${typeof field.default === "object" && field.default ? JSON.stringify(field.default) : usual} .value=${entry === undefined ? "" : typeof entry === "string" ? entry : JSON.stringify(entry)} @change=${(event) => onChange(parse(event.target.value))}>`,
      hint,
    );
  }

  budget() {
    const { budget } = this.draft;
    return html`<fieldset class="card"><legend>Budget</legend><div class="fields">
      ${this.number("Evaluations", "/budget/evaluations", budget.evaluations, (evaluations) => this.set("budget", { ...budget, evaluations }), { min: 1, hint: "so many subnets are measured" })}
      ${this.number("Seconds", "/budget/seconds", budget.seconds, (seconds) => this.set("budget", { ...budget, seconds }), { min: 0, step: "any", placeholder: "no limit", hint: "whichever ends first" })}
      ${this.number("At once", "/parallel_evaluations", this.draft.parallel_evaluations, (entry) => this.set("parallel_evaluations", entry), { min: 1, placeholder: "8" })}
    </div></fieldset>`;
  }

  more() {
    const { draft } = this;
    const is =
      [
        "max_length",
        "seed",
        "verify",
        "racing",
        "plateau",
        "precision",
        "weight",
        "max_failures",
        "task_settings",
      ].some((name) => draft[name] !== undefined && draft[name] !== null) || this.refusal;
    return html`<details class="card" ?open=${Boolean(is)}><summary>Verification, races, precision and more</summary><div class="fields">
      ${this.number("Verify on", "/verify", draft.verify, (entry) => this.set("verify", entry), { step: "any", min: 0, max: 1, placeholder: "no rows", hint: "share of the rows kept back to measure the front on at the end" })}
      ${this.number("Races", "/racing", draft.racing?.confidence, (confidence) => this.set("racing", confidence === null ? undefined : { confidence }), { step: "any", min: 0, max: 1, placeholder: "none", hint: "give up what so surely will not reach the front, such as 0.95" })}
      ${this.number("Plateau", "/plateau", draft.plateau?.evaluations, (evaluations) => this.set("plateau", evaluations === null ? undefined : { evaluations }), { min: 1, placeholder: "spend the whole budget", hint: "end after so many evaluations without gain" })}
      ${this.number("Tokens", "/max_length", draft.max_length, (entry) => this.set("max_length", entry), { min: 4, max: this.supernet.max_positions, placeholder: String(this.supernet.reference_length), hint: "rows are cut to so many" })}
      ${this.number("Seed", "/seed", draft.seed, (entry) => this.set("seed", entry), { min: 0, placeholder: "0" })}
      ${this.select("Precision", "/precision", draft.precision ?? "", [["", "as workers prefer"], ...["float32", "bfloat16", "float16"].map((each) => [each, each])], (entry) => this.set("precision", entry))}
      ${this.number("Weight", "/weight", draft.weight, (entry) => this.set("weight", entry), { step: "any", min: 0.01, max: 100, placeholder: "1", hint: "share of the workers beside other searches" })}
      ${this.number("Most failures", "/max_failures", draft.max_failures, (entry) => this.set("max_failures", entry), { min: 1, placeholder: "50" })}
    </div></details>`;
  }

  // -- beside it -----------------------------------------------------------------------------

  preview() {
    const { supernet, feasible, draft } = this;
    const constraints = draft.constraints.filter((each) => each.max > 0);
    const gflops = feasible?.range?.gflops ?? {
      low: supernet.cost.minimal.gflops,
      high: supernet.cost.maximal.gflops,
    };
    // Ends are known of bounded costs, and not yet of a bound that was just written.
    const first = constraints.map((each) => each.cost).find((each) => feasible?.feasible?.[each]);
    return html`<section class="card stack tight" aria-label="The space"><h2>The space</h2>
      <dl class="pairs"><dt>Subnets</dt><dd>${size(supernet.space.size)}</dd><dt>Dimensions</dt><dd>${supernet.space.dimensions}</dd><dt>GFLOPs</dt><dd>${value("gflops", gflops.low)} to ${value("gflops", gflops.high)}</dd></dl>
      ${constraints.length && feasible ? html`<div aria-live="polite">${feasible.feasible === null ? html`<div class="note warm"><strong>No subnet is known to meet these constraints.</strong><span>The cheapest has ${constraints.map((each) => quantity(each.cost, feasible.range[each.cost].low)).join(", ")}.</span></div>` : html`<p>${feasible.is_exact ? "" : "About "}<strong>${share(feasible.share.value)}</strong> of the space meets the constraints${first ? html`; the cheapest has ${quantity(first, feasible.feasible[first].low)}, the dearest ${value(first, feasible.feasible[first].high)}` : nothing}.</p>`}</div>` : nothing}
      <button class="primary" ?disabled=${this.sending}>${this.sending ? "Starting…" : "Start the search"}</button></section>`;
  }

  texts() {
    const [, write] = LANGUAGES.find(([name]) => name === this.language);
    const text = write(this.request());
    return html`<section class="card stack tight" aria-label="The same request"><h2>The same request</h2>
      <div class="row spread"><div class="row" role="group" aria-label="Language">${LANGUAGES.map(([name]) => html`<button type="button" class="quiet" aria-pressed=${name === this.language} @click=${() => (this.language = name)}>${name}</button>`)}</div>${copyButton(text)}</div>
      <pre tabindex="0">${text}</pre></section>`;
  }
}

const share = (part) =>
  part > 0 && part < 0.01 ? `${(part * 100).toPrecision(1)} %` : percent(part);

define("nas-new-search", NewSearch);
