import { html, nothing } from "../vendor/lit.js";
import { get, raw } from "../core/api.js";
import { define, Part } from "../core/element.js";
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

  get path() {
    return `/v1/searches/${encodeURIComponent(this.search)}/subnets/${this.number}/weights?format=${this.format}`;
  }

  /** Ask until a worker has built them; then the browser downloads. */
  async take() {
    const run = Symbol("download");
    this.run = run;
    const path = this.path;
    this.state = "building";
    this.problem = null;
    try {
      while ((await raw("HEAD", path, { signal: this.leaving.signal })).status === 202) {
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
    const text = { idle: "Download", building: "A worker builds it…", done: "Download again" }[
      this.state
    ];
    return html`<span class="row"><button type="button" class=${this.primary ? "primary" : ""} ?disabled=${this.state === "building" || this.number === null} @click=${this.take}>${text}</button>
      <span role="status" class="small soft">${this.state === "building" ? "The file is ready in a moment." : this.state === "done" ? "The download has begun." : nothing}</span></span>
      ${problemNote(this.problem)}`;
  }
}

define("nas-take-home", TakeHome);
