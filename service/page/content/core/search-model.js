import { get, once, post } from "./api.js";
import { isCost, lessIsBetter } from "./format.js";
import { Stream } from "./stream.js";

const FINAL = new Set(["completed", "failed", "cancelled"]);
const PAUSE = 400; // milliseconds between two readings of what streams announce

/**
 * One search as the page holds it: itself, every result as columns, its front; kept up to date by
 * the event stream. Says `change` when any of them has changed: `version` counts these. `revision`
 * counts changes of results and front alone: what is drawn of them is not drawn anew for progress.
 */
export class SearchModel extends EventTarget {
  /** @param {string} id @param {AbortSignal} signal */
  constructor(id, signal) {
    super();
    this.id = id;
    this.signal = signal;
    this.path = `/v1/searches/${encodeURIComponent(id)}`;
    this.connection = "open";
    /** @type {Rest["SearchRead"]} */
    this.search = null;
    /** @type {Rest["FrontRead"]} */
    this.front = null;
    /** @type {Record<string, any[]>} by the name of a field, a value for each result */
    this.columns = {};
    this.rows = new Map();
    this.after = 0;
    this.version = 0;
    this.revision = 0;
  }

  async open() {
    await Promise.all([this.readSearch(), this.readFront(), this.readPoints()]);
    this.metrics = [
      ...new Set([...this.search.objectives, ...Object.keys(this.search.best?.metrics ?? {})]),
    ].filter((each) => !isCost(each));
    this.costs = [
      ...new Set([
        ...this.search.objectives.filter(isCost),
        ...Object.keys(this.search.maximal_cost),
      ]),
    ];
    for (const name of [...this.metrics, ...this.costs])
      this.columns[name] ??= Array(this.count).fill(null);
    this.follow();
    this.say();
  }

  get isOver() {
    return FINAL.has(this.search.state);
  }

  /** The length of every column. */
  get count() {
    return this.columns.number?.length ?? 0;
  }

  /** The first cost among the objectives: what the front is walked by. */
  get cost() {
    return this.search.objectives.find(isCost) ?? "gflops";
  }

  get metric() {
    return this.search.objectives.find((each) => !isCost(each));
  }

  say() {
    this.version += 1;
    this.dispatchEvent(new Event("change"));
  }

  // -- what is read -------------------------------------------------------------------------

  async readPoints() {
    let page;
    do {
      page = await get(`${this.path}/points?fields=*&after=${this.after}`, this.signal);
      this.take(page);
    } while (page.more);
  }

  /** Append columns; a number that comes again was retried and replaces the earlier one. */
  take({ columns, count, after }) {
    if (!this.columns.number) {
      this.columns = columns; // as they are: there may be tens of thousands
      this.rows = new Map(columns.number.map((number, row) => [number, row]));
    } else {
      const names = Object.keys(this.columns);
      for (let i = 0; i < count; i += 1) {
        const number = columns.number[i];
        const row = this.rows.get(number) ?? this.count;
        this.rows.set(number, row);
        for (const name of names) this.columns[name][row] = columns[name]?.[i] ?? null;
      }
    }
    this.after = after;
    if (count) this.revision += 1;
  }

  async readSearch() {
    this.search = await get(this.path, this.signal);
  }

  async readFront() {
    this.front = await get(`${this.path}/front`, this.signal);
    /** The members of the front by their numbers. */
    this.members = new Map(this.front.items.map((item) => [item.number, item]));
    this.revision += 1;
  }

  supernet() {
    return once(`/v1/supernets/${this.search.supernet_id}`);
  }

  // -- what streams -------------------------------------------------------------------------

  follow() {
    this.stream?.close();
    this.stream = new Stream(`${this.path}/events`, {
      kinds: ["progress", "front", "state", "evaluation"],
      signal: this.signal,
      onEvent: (kind, data) => this.heard(kind, data),
      onState: (state) => {
        this.connection = state;
        this.say();
      },
      onReopen: () => this.refresh({ search: true, front: true, points: true }),
    });
  }

  heard(kind, data) {
    if (kind === "evaluation") {
      if (data.since === this.after && !data.more) {
        this.take(data);
        this.say();
      } else this.refresh({ points: true });
    } else if (kind === "progress") {
      Object.assign(this.search, {
        state: data.state,
        progress: data.progress,
        hypervolume: data.hypervolume,
        front_size: data.front_size,
      });
      this.say();
      if (data.recorded > this.after) this.refresh({ points: true });
    } else if (kind === "front") this.refresh({ front: true, points: true });
    else this.refresh({ search: true, front: true, points: true });
  }

  /** Read what has changed, not more often than every `PAUSE`. */
  refresh(what) {
    this.wanted = { ...this.wanted, ...what };
    if (this.refreshing) return;
    this.refreshing = true;
    setTimeout(() => this.refreshNow(), PAUSE);
  }

  async refreshNow() {
    const { search, front, points } = this.wanted;
    this.wanted = {};
    try {
      await Promise.all([
        search && this.readSearch(),
        front && this.readFront(),
        points && this.readPoints(),
      ]);
    } catch {
      if (this.signal.aborted) return;
      this.wanted = { search, front, points, ...this.wanted };
    }
    this.refreshing = false;
    this.say();
    if (Object.values(this.wanted).some(Boolean)) this.refresh({});
  }

  /** Pause, resume, cancel, extend or retry, and go on watching. */
  async change(action, body) {
    this.search = await post(`${this.path}/${action}`, body);
    if (this.connection === "over") this.follow();
    this.refresh({ search: true });
    this.say();
  }

  /** Take it as it is now. @param {Rest["SearchRead"]} search */
  replace(search) {
    this.search = search;
    this.say();
  }

  // -- what is asked of it ------------------------------------------------------------------

  /** A value of a front member or a point: a metric or a cost. */
  static of(item, name) {
    return isCost(name) ? item.cost[name] : item.metrics?.[name];
  }

  /** The members of the front within the bounds, by rising cost. @param {Record<string, number>} bounds */
  within(bounds) {
    return this.front.items.filter((item) =>
      Object.entries(bounds).every(([name, bound]) => {
        const value = SearchModel.of(item, name);
        return value !== undefined && (lessIsBetter(name) ? value <= bound : value >= bound);
      }),
    );
  }

  /** The best by the first metric, of equal ones the cheapest: as `best` of the front's REST. */
  best(items) {
    const sign = lessIsBetter(this.metric) ? -1 : 1;
    return items.reduce(
      (best, item) =>
        best === null ||
        sign * SearchModel.of(item, this.metric) > sign * SearchModel.of(best, this.metric)
          ? item
          : best,
      null,
    );
  }
}
