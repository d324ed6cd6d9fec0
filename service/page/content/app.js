import { html, keyed, nothing } from "./vendor/lit.js";
import { define, Part } from "./core/element.js";
import { followLinks, onNavigation, path } from "./core/router.js";
import { once } from "./core/api.js";
import { learnMetrics } from "./core/format.js";
import "./views/searches.js";
import "./views/new-search.js";
import "./views/search.js";
import "./views/subnet.js";
import "./views/compare.js";
import "./views/supernets.js";
import "./views/supernet.js";
import "./views/datasets.js";
import "./views/workers.js";
import "./views/jobs.js";
import "./views/reference.js";

const id = "([^/]+)";
/** @type {[string, string, (...ids: any[]) => unknown][]} */
const PATTERNS = [
  ["/", "Searches", () => html`<nas-searches></nas-searches>`],
  ["/searches/new", "New search", () => html`<nas-new-search></nas-new-search>`],
  [`/searches/${id}`, "Search", (search) => html`<nas-search .search=${search}></nas-search>`],
  [
    `/searches/${id}/subnets/(\\d+)`,
    "Subnet",
    (search, number) => html`<nas-subnet .search=${search} .number=${Number(number)}></nas-subnet>`,
  ],
  [
    `/searches/${id}/compare`,
    "Compare",
    (search) => html`<nas-compare .search=${search}></nas-compare>`,
  ],
  ["/supernets", "Super-networks", () => html`<nas-supernets></nas-supernets>`],
  [
    `/supernets/${id}`,
    "Super-network",
    (supernet) => html`<nas-supernet .supernet=${supernet}></nas-supernet>`,
  ],
  ["/datasets", "Datasets", () => html`<nas-datasets></nas-datasets>`],
  [`/datasets/${id}`, "Dataset", (dataset) => html`<nas-dataset .key=${dataset}></nas-dataset>`],
  ["/workers", "Workers", () => html`<nas-workers></nas-workers>`],
  ["/jobs", "Jobs", () => html`<nas-jobs></nas-jobs>`],
  [`/jobs/${id}`, "Job", (job) => html`<nas-job .job=${job}></nas-job>`],
  ["/docs", "REST", () => html`<nas-reference></nas-reference>`],
];
const ROUTES = PATTERNS.map(([pattern, title, view]) => ({
  pattern: new RegExp(`^${pattern}/?$`),
  title,
  view,
}));

/** @type {[string, string, RegExp][]} */
const PLACES = [
  ["/", "Searches", /^\/($|searches)/],
  ["/supernets", "Super-networks", /^\/supernets/],
  ["/datasets", "Datasets", /^\/datasets/],
  ["/jobs", "Jobs", /^\/jobs/],
  ["/workers", "Workers", /^\/workers/],
  ["/docs", "REST", /^\/docs/],
];

class App extends Part {
  connectedCallback() {
    super.connectedCallback();
    followLinks();
    onNavigation(() => this.arrive(), this.leaving.signal);
    once("/v1/meta").then(learnMetrics, () => {}); // a view says that the server is away
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", sayTheme);
    this.arrive();
  }

  arrive() {
    const isNew = this.path !== path();
    const isFirst = this.path === undefined;
    this.path = path();
    if (isNew) {
      const route = ROUTES.find((each) => each.pattern.test(this.path));
      document.title = `${route?.title ?? "Not found"} · ElasticNAS`;
      this.route = route;
      this.key = Symbol(this.path);
      this.requestUpdate();
      if (!isFirst) this.updateComplete.then(() => focusTitle());
    } else {
      /** @type {Part} */ (this.querySelector("main > *"))?.requestUpdate?.();
    }
  }

  setTheme(theme) {
    if (theme === "system") {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem("elasticnas-theme");
    } else {
      document.documentElement.dataset.theme = theme;
      localStorage.setItem("elasticnas-theme", theme);
    }
    sayTheme();
    this.requestUpdate();
  }

  render() {
    const theme = document.documentElement.dataset.theme ?? "system";
    return html`
      <a class="skip" href="#main">Skip to the content</a>
      <header class="top"><div>
        <a class="brand" href="/"><svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7" fill="#0b5cad"/><path d="M7 24h5v-7h6v-5h7" fill="none" stroke="#fff" stroke-width="2.6" stroke-linejoin="round"/><g fill="#fff"><circle cx="12" cy="17" r="2.6"/><circle cx="18" cy="12" r="2.6"/><circle cx="25" cy="8" r="2.6"/></g></svg>ElasticNAS</a>
        <nav aria-label="Main">${PLACES.map(([href, name, mine]) => html`<a href=${href} aria-current=${mine.test(this.path) ? "page" : nothing}>${name}</a>`)}</nav>
        <label><span class="hidden-text">Theme</span><select @change=${(event) => this.setTheme(event.target.value)}>
          ${["system", "light", "dark"].map((each) => html`<option value=${each} ?selected=${each === theme}>${each === "system" ? "System" : each === "light" ? "Light" : "Dark"}</option>`)}
        </select></label>
      </div></header>
      <main class="page" id="main" tabindex="-1">${this.view()}</main>`;
  }

  view() {
    if (!this.route)
      return html`<div class="empty"><h1 tabindex="-1">There is nothing at this address</h1><p>Perhaps it was mistyped. <a href="/">All searches</a> are a start.</p></div>`;
    const [, ...parts] = this.route.pattern.exec(this.path);
    return keyed(this.key, this.route.view(...parts.map(decodeURIComponent)));
  }
}

/** What is painted on a canvas has the colours of the theme, and is painted anew. */
const sayTheme = () => dispatchEvent(new Event("theme"));

function focusTitle() {
  /** @type {HTMLElement} */ (document.querySelector("main h1"))?.focus({ preventScroll: true });
}

define("nas-app", App);
