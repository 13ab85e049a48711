// The live page: the snapshot once, then every change as it comes.

import { ask, beginAnew, dropToken, follow, keepToken, Problem, takeToken } from "./gateway.js";
import { refreshAges, showAlerts, showThing, showThings, updateThing } from "./show.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15000];

const things = new Map();   // id -> thing, as the API gives it
let cursor = null;
let failures = 0;

const line = document.getElementById("line");
const door = document.getElementById("door");

function say(state, text) { line.dataset.state = state; line.textContent = text; }

async function readSnapshot() {
  const { body } = await ask("/api/v1/things");
  const known = new Map(things);
  things.clear();
  for (const thing of body.things) things.set(thing.id, keepNewer(known.get(thing.id), thing));
  cursor = body.cursor;
  showThings(things, set);
  await readAlerts();
}

/** The thing as just read, but for what the stream has told of it since that answer was made. */
function keepNewer(known, read) {
  for (const [name, record] of Object.entries(known ? known.properties : {})) {
    if (name in read.properties && record.seq > read.properties[name].seq) read.properties[name] = record;
  }
  return read;
}

async function readAlerts() {
  const { body } = await ask("/api/v1/alerts");
  showAlerts(body.alerts, acknowledge);
}

async function readThing(id) {
  try {
    const { body } = await ask(`/api/v1/things/${encodeURIComponent(id)}`);
    const isNew = !things.has(id);
    things.set(id, keepNewer(things.get(id), body));
    if (isNew) showThings(things, set); else showThing(things.get(id), set);
  } catch (problem) {
    if (problem.status === 404 && things.delete(id)) showThings(things, set);
    else if (problem.status !== 404) throw problem;
  }
}

async function acknowledge(alert) {
  await ask(`/api/v1/alerts/${encodeURIComponent(alert.id)}/acknowledge`, { method: "POST" });
  await readAlerts();
}

/** Asks for a new value; what to tell about it. */
async function set(thing, name, value) {
  const { status, body } = await ask(
    `/api/v1/things/${encodeURIComponent(thing)}/properties/${encodeURIComponent(name)}`,
    { method: "PUT", body: JSON.stringify({ value }),
      headers: { "Content-Type": "application/json", Prefer: "wait=10", "Idempotency-Key": `"${newKey()}"` } });
  return status === 200 ? "done" : `${body.state}; the device has not answered yet`;
}

function newKey() {   // crypto.randomUUID is only there on https
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Takes one change in. What it does not say whole is read again. */
function take(change) {
  const thing = things.get(change.thing);
  if (change.type.startsWith("alert.")) later("alerts", readAlerts);
  else if (change.type === "journal.gap" || change.type === "clock.set") later("snapshot", readSnapshot);
  else if (change.type === "thing.removed") { things.delete(change.thing); showThings(things, set); }
  else if (change.type.startsWith("property.") && thing && thing.properties[change.name] && "value" in change) {
    const record = thing.properties[change.name];
    const quality = change.quality || "good";
    const isOld = (quality === "stale" || quality === "bad") && record.time;   // keeps the time at which it was right
    Object.assign(record, { value: change.value, quality, reason: change.reason || null, seq: change.seq,
      time: isOld ? record.time : change.time });
    updateThing(thing, change.name);
    if (record.target !== null && record.target !== change.value) later(`thing ${change.thing}`, () => readThing(change.thing));
  } else if (change.thing) later(`thing ${change.thing}`, () => readThing(change.thing));
}

const due = new Map();

/** Does `work` soon, and once, however often it is asked for meanwhile. */
function later(key, work) {
  if (due.has(key)) return;
  due.set(key, setTimeout(() => { due.delete(key); work().catch(() => { cursor = null; }); }, 150));
}

async function live() {
  for (;;) {
    try {
      if (cursor === null) await readSnapshot();
      door.hidden = true;
      beginAnew();
      await follow(cursor, {
        open: () => { failures = 0; say("live", "live"); },
        change: take,
        reset: () => later("snapshot", readSnapshot),
        cursor: (id) => (cursor = id),
      });
    } catch (problem) {
      if (problem instanceof Problem && (problem.status === 401 || problem.status === 403)) await askForToken(problem);
      else if (problem instanceof Problem) cursor = null;
    }
    say("down", `not connected since ${new Date().toLocaleTimeString()}; values below are as last heard`);
    const delay = RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)];
    await new Promise((done) => setTimeout(done, delay * (0.5 + Math.random() / 2)));
    say("waiting", "connecting…");
  }
}

/** Shows the door, and returns when somebody has entered a token. */
function askForToken(problem) {
  say("down", "no access");
  dropToken();
  things.clear();
  showThings(things, set);
  showAlerts([], acknowledge);
  cursor = null;
  document.getElementById("empty").hidden = true;
  document.getElementById("refused").textContent = problem.status === 403 ? problem.message : "";
  door.hidden = false;
  return new Promise((done) => {
    door.onsubmit = (event) => {
      event.preventDefault();
      keepToken(document.getElementById("token").value);
      failures = 0;
      done();
    };
  });
}

takeToken();
addEventListener("hashchange", () => { takeToken(); location.reload(); });
setInterval(refreshAges, 5000);
live();
