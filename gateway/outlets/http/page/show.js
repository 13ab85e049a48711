// How things look. Text is only ever set as text: a thing may name itself as it likes.

import { gatewayNow } from "./gateway.js";

const SENT_AFTER_MS = 700;   // taps on the stepper are gathered for so long
const WORDS = {
  motion: ["motion", "still"], occupancy: ["occupied", "empty"], door: ["open", "closed"], window: ["open", "closed"],
  opening: ["open", "closed"], contact: ["open", "closed"], smoke: ["smoke", "clear"], moisture: ["wet", "dry"],
};

const cards = new Map();     // thing id -> { card, rows: Map(name -> refresh) }

/** Shows all things, by room. */
export function showThings(things, set) {
  const place = document.getElementById("things");
  place.replaceChildren();
  cards.clear();
  document.getElementById("empty").hidden = things.size > 0;
  const rooms = new Map();
  for (const thing of things.values()) {
    const room = thing.room || "";
    if (!rooms.has(room)) rooms.set(room, []);
    rooms.get(room).push(thing);
  }
  for (const room of [...rooms.keys()].sort((a, b) => (a === "") - (b === "") || a.localeCompare(b))) {
    place.append(make("h2", "", room || (rooms.size > 1 ? "Elsewhere" : "Things")));
    const grid = make("div", "room");
    for (const thing of rooms.get(room).sort((a, b) => title(a).localeCompare(title(b)))) grid.append(card(thing, set));
    place.append(grid);
  }
}

/** Shows one thing anew; its place stays. */
export function showThing(thing, set) {
  const old = cards.get(thing.id);
  if (old && !old.card.contains(document.activeElement)) old.card.replaceWith(card(thing, set));
  else if (old) { old.refresh(thing); }
}

/** Shows one property anew. */
export function updateThing(thing, name) {
  const shown = cards.get(thing.id);
  const refresh = shown && shown.rows.get(name);
  if (refresh) refresh(thing);
}

/** Ages grow without any change. */
export function refreshAges() {
  for (const element of document.querySelectorAll("time")) element.textContent = age(element.dateTime);
}

export function showAlerts(alerts, acknowledge) {
  const place = document.getElementById("alerts");
  place.hidden = alerts.length === 0;
  place.replaceChildren(...alerts.map((alert) => {
    const box = make("div", `alert ${alert.severity || "warning"}`);
    const text = make("p", "", [alert.kind, alert.subject, alert.reason].filter(Boolean).join(": "));
    box.append(text);
    if (!alert.acknowledged) {
      const button = make("button", "", "Seen");
      button.onclick = () => acknowledge(alert).catch((problem) => { text.textContent += ` (${problem.message})`; });
      box.append(button);
    } else box.append(make("span", "quiet", "seen"));
    return box;
  }));
}

function card(thing, set) {
  const box = make("article", `thing ${thing.availability}`);
  const head = make("div", "head");
  const badge = make("span");
  const reason = make("p", "reason");
  head.append(make("h3", "", title(thing)), badge);
  box.append(head, reason);
  const rows = new Map();
  for (const name of Object.keys(thing.properties)) {
    const [row, refresh] = property(thing, name, set);
    rows.set(name, refresh);
    box.append(row);
  }
  const refresh = (now) => {
    box.className = `thing ${now.availability}`;
    badge.className = `badge ${now.availability}`;
    badge.textContent = now.availability;
    reason.textContent = now.availability === "online" ? "" : now.reason || "";
    reason.hidden = !reason.textContent;
    for (const [name, again] of rows) if (now.properties[name]) again(now);
  };
  refresh(thing);
  cards.set(thing.id, { card: box, rows, refresh });
  return box;
}

function property(thing, name, set) {
  const box = make("div", "property");
  const row = make("div", "row");
  const value = make("span", "value");
  const about = make("div", "about");
  const trust = make("span");
  const when = make("time");
  row.append(make("span", "name", name.replaceAll("_", " ")), value);
  about.append(trust, when);
  box.append(row, about);
  const control = thing.properties[name].writable ? makeControl(thing, name, set) : null;
  if (control) box.append(control.box);
  const refresh = (now) => {
    const record = now.properties[name];
    const isDoubtful = record.quality !== "good" && record.quality !== "simulated";
    value.className = isDoubtful || now.availability !== "online" ? "value doubtful" : "value";
    value.replaceChildren(words(record, record.value), ...(record.unit ? [make("span", "unit", record.unit)] : []));
    trust.className = record.quality || "";
    trust.textContent = [record.quality === "good" ? "" : record.quality, record.reason].filter(Boolean).join(": ");
    when.dateTime = record.time || "";
    when.title = record.time || "";
    when.textContent = age(record.time);
    if (control) control.refresh(record);
  };
  return [box, refresh];
}

/** What sets a property: a stepper, a switch, a choice or a text; and what came of it. */
function makeControl(thing, name, set) {
  const box = make("div", "control");
  const said = make("p", "said");
  said.setAttribute("role", "status");
  let record = thing.properties[name];
  let count = 0;
  const send = async (wanted) => {
    const mine = ++count;
    const tell = (style, text) => { if (mine === count) { said.className = `said ${style}`; said.textContent = text; } };
    tell("quiet", `asking for ${words(record, wanted)}…`);
    try { tell("quiet", await set(thing.id, name, wanted)); }
    catch (problem) { tell("bad", problem.message); show(record); }
  };
  const [parts, show] = (MAKERS[record.type] || textInput)(record, `${title(thing)}: ${name}`, send);
  box.append(...parts, said);
  const refresh = (now) => {
    record = now;
    show(now);
    const differs = now.target !== null && now.target !== undefined && now.target !== now.value;
    if (differs) { said.className = "said stale"; said.textContent = `set to ${words(now, now.target)}, reports ${words(now, now.value)}`; }
    else if (said.classList.contains("stale")) said.textContent = "";
  };
  return { box, refresh };
}

const MAKERS = { number: stepper, integer: stepper, boolean: toggle, enum: choice };

function wanted(record) { return record.target !== null && record.target !== undefined ? record.target : record.value; }

function stepper(record, label, send) {
  const step = record.step || (record.type === "integer" ? 1 : 0.5);
  const input = make("input");
  Object.assign(input, { type: "number", step: record.step || (record.type === "integer" ? 1 : "any"), inputMode: "decimal" });
  if (record.min !== undefined && record.min !== null) input.min = record.min;
  if (record.max !== undefined && record.max !== null) input.max = record.max;
  input.setAttribute("aria-label", label);
  let timer;
  const later = (delay) => {
    clearTimeout(timer);
    timer = setTimeout(() => { timer = undefined; if (input.value !== "") send(Number(input.value)); }, delay);
  };
  const move = (by) => () => {
    const from = input.value === "" ? Number(record.min || 0) - by : Number(input.value);
    const low = record.min ?? -Infinity, high = record.max ?? Infinity;
    input.value = Number(Math.min(high, Math.max(low, from + by)).toFixed(6));
    later(SENT_AFTER_MS);
  };
  input.onchange = () => later(0);
  const less = make("button", "", "−"), more = make("button", "", "+");
  less.setAttribute("aria-label", `${label}: less`);
  more.setAttribute("aria-label", `${label}: more`);
  less.onclick = move(-step);
  more.onclick = move(step);
  const show = (now) => {
    record = now;
    if (timer === undefined && document.activeElement !== input) input.value = wanted(now) ?? "";
  };
  return [[less, input, more], show];
}

function toggle(record, label, send) {
  const input = make("input");
  Object.assign(input, { type: "checkbox" });
  input.setAttribute("role", "switch");
  input.setAttribute("aria-label", label);
  input.onchange = () => send(input.checked);
  return [[input], (now) => { input.checked = wanted(now) === true; }];
}

function choice(record, label, send) {
  const select = make("select");
  select.setAttribute("aria-label", label);
  for (const word of record.values || []) select.append(new Option(word, word));
  select.onchange = () => send(select.value);
  return [[select], (now) => { if (document.activeElement !== select) select.value = wanted(now) ?? ""; }];
}

function textInput(record, label, send) {
  const input = make("input");
  input.setAttribute("aria-label", label);
  input.onchange = () => send(input.value);
  return [[input], (now) => { if (document.activeElement !== input) input.value = wanted(now) ?? ""; }];
}

/** A value as people read it. */
function words(record, value) {
  if (value === null || value === undefined) return "—";
  if (typeof value === "boolean") return (WORDS[record.class] || ["on", "off"])[value ? 0 : 1];
  if (typeof value !== "number") return String(value);
  const places = record.precision ?? (Number.isInteger(value) ? 0 : Math.abs(value) < 10 ? 2 : 1);
  return value.toLocaleString(undefined, { minimumFractionDigits: record.precision ?? 0, maximumFractionDigits: places });
}

function age(time) {
  if (!time) return "never";
  const s = Math.max(0, (gatewayNow() - Date.parse(time)) / 1000);
  if (Number.isNaN(s)) return "";
  if (s < 10) return "just now";
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 129600) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86400)} days ago`;
}

function title(thing) { return thing.name || thing.id; }

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}
