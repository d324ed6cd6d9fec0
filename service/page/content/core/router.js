/** The address is the state: every view reads its own from it, and writes it back. */

const changed = new EventTarget();
const REST = 250; // browsers refuse more than 200 changes of the address in 30 seconds

/** Where the page is; the browser's own address may follow a moment later. */
let here = new URL(location.href);
let pending = null;

/** @param {() => void} listener @param {AbortSignal} signal */
export function onNavigation(listener, signal) {
  changed.addEventListener("navigation", listener, { signal });
}

/** Go to an address of this page. @param {string} href */
export function go(href, { replace = false } = {}) {
  const target = new URL(href, here);
  if (target.href === here.href) return;
  if (!replace) settle();
  here = target;
  if (replace) pending ??= setTimeout(settle, REST);
  else history.pushState(null, "", here);
  announce();
}

/** Write the address down that a dragged slider has left unwritten. */
function settle() {
  clearTimeout(pending);
  pending = null;
  if (here.href !== location.href) history.replaceState(null, "", here);
}

export const query = () => new URLSearchParams(here.search);

/** The path of the view that is shown. */
export const path = () => here.pathname;

/**
 * Set some parameters of the address; null or "" removes one.
 * @param {Record<string, string | number | null | undefined>} values
 */
export function setQuery(values, { replace = true } = {}) {
  const parameters = query();
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === "") parameters.delete(name);
    else parameters.set(name, String(value));
  }
  const text = parameters.toString();
  go(here.pathname + (text ? `?${text}` : ""), { replace });
}

function announce() {
  changed.dispatchEvent(new Event("navigation"));
}

/** Links within the page are followed without loading it anew. */
export function followLinks() {
  addEventListener("popstate", () => {
    clearTimeout(pending);
    pending = null;
    here = new URL(location.href);
    announce();
  });
  addEventListener("pagehide", settle);
  document.addEventListener("click", (event) => {
    const link = event.composedPath().find((each) => each instanceof HTMLAnchorElement);
    if (!(link instanceof HTMLAnchorElement) || !isOurs(event, link)) return;
    event.preventDefault();
    go(link.href);
    scrollTo(0, 0);
  });
}

function isOurs(event, link) {
  const plain = !(
    event.defaultPrevented ||
    event.button ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey
  );
  const here = link.origin === location.origin && !link.target && !link.hasAttribute("download");
  return (
    plain &&
    here &&
    !/^\/(v1|openapi|problems|page|healthz|readyz)\b/.test(link.pathname) &&
    !(link.hash && link.pathname === location.pathname)
  );
}
