import { html, nothing } from "../vendor/lit.js";
import { get, raw } from "../core/api.js";
import { define, Part } from "../core/element.js";
import { bytes } from "../core/format.js";
import { problemNote, problemOf } from "./common.js";

const PATIENCE = 700;

/** A button that has a subnet's weights built and downloads them. */
class TakeHome extends Part {
  static properties = {
    search: {},
    number: { type: Number },
    format: {},
    primary: { type: Boolean },
    state: { state: true },
    pending: { state: true },
    problem: { state: true },
  };

  constructor() {
    super();
    this.format = "transformers";
    this.state = "idle";
  }

  willUpdate(changed) {
    if (changed.has("number") || changed.has("search")) {
      this.run = null;
      this.state = "idle";
      this.problem = null;
    }
  }

  get subnet() {
    return `/v1/searches/${encodeURIComponent(this.search)}/subnets/${this.number}`;
  }

  get path() {
    return `${this.subnet}/weights?format=${this.format}`;
  }

  /** Ask until a worker has built them; then the browser downloads. */
  async take() {
    const run = Symbol("download");
    this.run = run;
    const { path, subnet } = this;
    const { signal } = this.leaving;
    this.state = "building";
    this.problem = this.pending = null;
    try {
      while ((await raw("HEAD", path, { signal })).status === 202) {
        const { items } = await get(`${subnet}/exports`, signal);
        this.pending = items.find((each) => each.format === this.format);
        await new Promise((resolve) => setTimeout(resolve, PATIENCE));
        if (this.run !== run) return;
      }
      if (this.run !== run) return;
      this.state = "done";
      Object.assign(document.createElement("a"), { href: path, download: "" }).click();
    } catch (error) {
      this.state = "idle";
      this.problem = problemOf(error) && (await get(path).then(() => problemOf(error), problemOf)); // HEAD has no body
    }
  }

  render() {
    const text = { idle: "Download", building: "Building…", done: "Download again" }[this.state];
    const { worker, written_bytes: written } = this.pending ?? {};
    const progress = {
      building: worker
        ? `${worker} builds it${written ? `: ${bytes(written)} so far` : ""}`
        : "It waits for a worker.",
      done: "The download has begun.",
    }[this.state];
    return html`<span class="row"><button type="button" class=${this.primary ? "primary" : ""} ?disabled=${this.state === "building" || this.number === null} @click=${this.take}>${text}</button>
      <span role="status" class="small soft">${progress ?? nothing}</span></span>
      ${problemNote(this.problem)}`;
  }
}

define("nas-take-home", TakeHome);
