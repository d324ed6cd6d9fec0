const PATIENCE = [1000, 2000, 4000, 8000, 15000];
const GRACE = 3000; // a server that closes a stream is back at once: no reason to alarm

/**
 * A stream of server-sent events that comes back after every loss, with what was missed.
 *
 * `EventSource` comes back by itself while the server closes connections, but gives up on any other
 * answer than 200 (a proxy's 502, a server that is still starting). Then this asks again, from the
 * last id that it has seen. A 204 says that all is over and seen: `onEnd`.
 */
export class Stream {
  /**
   * @param {string} path
   * @param {{kinds: string[], onEvent: (kind: string, data: any) => void, onState?: (state: "open" | "lost" | "over") => void, onReopen?: () => void, from?: string, signal?: AbortSignal}} options
   *   `from`: the id of the event after which the stream begins; else it begins now
   */
  constructor(
    path,
    { kinds, onEvent, onState = () => {}, onReopen = () => {}, from = null, signal },
  ) {
    this.path = path;
    this.kinds = kinds;
    this.onEvent = onEvent;
    this.onState = onState;
    this.onReopen = onReopen;
    this.lastId = from;
    this.failures = 0;
    this.wasLost = false;
    signal?.addEventListener("abort", () => this.close());
    this.open();
  }

  open() {
    if (this.closed) return;
    const source = new EventSource(
      this.lastId === null ? this.path : `${this.path}?last_event_id=${this.lastId}`,
    );
    this.source = source;
    source.onopen = () => this.opened();
    source.onerror = () => this.lost();
    for (const kind of this.kinds) {
      source.addEventListener(kind, (event) => {
        if (event.lastEventId) this.lastId = event.lastEventId;
        this.onEvent(kind, JSON.parse(event.data));
      });
    }
  }

  opened() {
    this.failures = 0;
    clearTimeout(this.alarm);
    this.alarm = null;
    this.onState("open");
    if (this.wasLost) this.onReopen();
    this.wasLost = false;
  }

  async lost() {
    if (this.closed) return;
    if (this.source.readyState === EventSource.CLOSED) {
      if (await this.isOver()) return this.end();
      const wait = PATIENCE[Math.min(this.failures++, PATIENCE.length - 1)];
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.open(), wait);
    }
    this.wasLost = true;
    this.alarm ??= setTimeout(() => this.onState("lost"), GRACE);
  }

  /** Whether the server says that nothing more will come: all is seen (204), or deleted (404). */
  async isOver() {
    try {
      const url = `${this.path}?last_event_id=${this.lastId ?? 0}`;
      return [204, 404].includes((await fetch(url, { method: "HEAD" })).status);
    } catch {
      return false;
    }
  }

  end() {
    this.close();
    this.onState("over");
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearTimeout(this.alarm);
    this.source?.close();
  }
}
