/** The public REST, and nothing beside it. */

/** A refusal: a problem document (RFC 9457), or the same shape for a server that does not answer. */
export class Refusal extends Error {
  /** @param {{title: string, detail?: string, status: number, type?: string, errors?: {pointer: string, detail: string, value?: string}[]}} problem */
  constructor(problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
    this.status = problem.status;
  }
}

/**
 * Send a request and read its JSON.
 * @param {string} method @param {string} path
 * @param {{body?: unknown, signal?: AbortSignal, headers?: Record<string, string>}} options
 * @throws {Refusal} the server refused, or does not answer
 */
export async function send(method, path, options = {}) {
  const answer = await raw(method, path, options);
  if (answer.status === 204) return null;
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

/**
 * The response itself, once it is known to be no refusal.
 * @param {string} method @param {string} path
 * @param {{body?: unknown, signal?: AbortSignal, headers?: Record<string, string>}} options
 */
export async function raw(method, path, { body, signal, headers = {} } = {}) {
  const isForm = body instanceof FormData;
  const sent = isForm ? body : JSON.stringify(body);
  if (body !== undefined && !isForm) headers = { "Content-Type": "application/json", ...headers };
  let answer;
  try {
    answer = await fetch(path, { method, body: sent, signal, headers });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal({
      title: "The server does not answer",
      detail: `${method} ${path} got no answer. Is the server running, and can this machine reach it?`,
      status: 0,
    });
  }
  if (!answer.ok && answer.status !== 304) throw new Refusal(await problemOf(answer));
  return answer;
}

async function problemOf(answer) {
  try {
    const problem = await answer.json();
    if (problem.title) return problem;
  } catch {
    // What answered is no ElasticNAS server: a proxy, perhaps.
  }
  return {
    title: `The server answered ${answer.status}`,
    detail: answer.statusText,
    status: answer.status,
  };
}

export const get = (path, signal) => send("GET", path, { signal });
export const post = (path, body, signal) => send("POST", path, { body, signal });

/**
 * Every item of a list, through all its pages, up to `most`.
 * @param {string} path @param {{signal?: AbortSignal, most?: number}} options
 */
export async function all(path, { signal, most = 1000 } = {}) {
  const items = [];
  let cursor = null;
  do {
    const url = new URL(path, location.origin);
    if (cursor) url.searchParams.set("cursor", cursor);
    const page = await get(url.pathname + url.search, signal);
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && items.length < most);
  return items;
}

const remembered = new Map();

/** What does not change while the page is open, such as a space: asked for once. */
export function once(path) {
  if (!remembered.has(path)) {
    const asked = get(path);
    remembered.set(path, asked);
    asked.catch(() => remembered.delete(path));
  }
  return remembered.get(path);
}

/** Upload a form with its progress, from 0 to 1, which `fetch` cannot tell. */
export function upload(path, form, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.responseType = "json";
    request.upload.onprogress = (event) =>
      event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () =>
      request.status < 400
        ? resolve(request.response)
        : reject(
            new Refusal(
              request.response ?? {
                title: `The server answered ${request.status}`,
                status: request.status,
              },
            ),
          );
    request.onerror = () =>
      reject(
        new Refusal({
          title: "The upload broke off",
          detail: "The server closed the connection. Nothing was registered; try again.",
          status: 0,
        }),
      );
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
