// The gateway as this page sees it: requests with the token, and the feed followed from a cursor.

const TOKEN = "hearthgate.token";
const SILENT_MS = 40000;   // the feed says something at least every 15 s

let skewMs = 0;            // how far this device's clock is ahead of the gateway's

/** Takes the token out of the address (`/#t=…`), so that it is neither shared nor bookmarked, and keeps it. */
export function takeToken() {
  const found = /^#t=(.+)$/.exec(location.hash);
  if (!found) return;
  keepToken(decodeURIComponent(found[1]));
  history.replaceState(null, "", location.pathname);
}

export function keepToken(token) { localStorage.setItem(TOKEN, token.trim()); }
export function dropToken() { localStorage.removeItem(TOKEN); }

/** Now, on the gateway's clock, in milliseconds: ages are right even where this device's clock is not. */
export function gatewayNow() { return Date.now() - skewMs; }

/** An answer that is no success, with the problem that it carried. */
export class Problem extends Error {
  constructor(status, body) {
    super([body.detail || body.title, body.hint].filter(Boolean).join(" — ") || `the gateway answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

/** A request; the decoded JSON of its answer, with `status` beside it. Throws Problem, or TypeError when nobody answers. */
export async function ask(path, options = {}) {
  const response = await fetch(path, { cache: "no-store", ...options, headers: { ...credentials(), ...options.headers } });
  const told = Date.parse(response.headers.get("Date") || "");
  if (!Number.isNaN(told)) skewMs = Date.now() - told;
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  return { status: response.status, body: await response.json() };
}

/**
 * Follows the feed after `cursor` until the stream ends; resolves with the cursor reached.
 * `on.change(change)`, `on.reset()`: what it was following is gone, read the snapshot; `on.open()`.
 */
export async function follow(cursor, on) {
  const gone = new AbortController();
  let watchdog;
  const heard = () => { clearTimeout(watchdog); watchdog = setTimeout(() => gone.abort(), SILENT_MS); };
  heard();
  try {
    const headers = { ...credentials(), Accept: "text/event-stream" };
    const response = await fetch(`/api/v1/changes?since=${encodeURIComponent(cursor)}`,
      { headers, cache: "no-store", signal: gone.signal });
    if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
    on.open();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return cursor;
      heard();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      cursor = dispatch(lines, cursor, on);
    }
  } finally {
    clearTimeout(watchdog);
    gone.abort();
  }
}

const block = { id: "", event: "", data: [] };

/** Feeds whole lines to the block being read; the cursor after the last event that was complete. */
function dispatch(lines, cursor, on) {
  for (const line of lines) {
    if (line === "") {
      if (block.data.length && block.event === "reset") on.reset();
      else if (block.data.length) on.change(JSON.parse(block.data.join("\n")));
      if (block.data.length && block.id) cursor = on.cursor(block.id);
      Object.assign(block, { id: "", event: "", data: [] });
    } else if (!line.startsWith(":")) {
      const [, field, value] = /^([^:]*)(?:: ?(.*))?$/.exec(line);
      if (field === "data") block.data.push(value || "");
      else if (field === "id" || field === "event") block[field] = value || "";
    }
  }
  return cursor;
}

/** Forgets a half-read block of a stream that ended. */
export function beginAnew() { Object.assign(block, { id: "", event: "", data: [] }); }

function credentials() {
  const token = localStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}
