// Keeps a page up to date. Without it every page still works: it is then as fresh as its last load.
"use strict";

const main = document.getElementById("main");
const news = document.getElementById("news");
let source = null;
let due = 0;
let busy = false;
let again = false;

async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (answer.redirected && new URL(answer.url).pathname === "/login") { location.assign(answer.url); return; }
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const fresh of page.querySelectorAll("[data-fresh]")) take(fresh);
    const counted = page.querySelector("nav");
    const nav = document.querySelector("nav");
    if (counted && nav && counted.innerHTML !== nav.innerHTML && !nav.contains(document.activeElement)) nav.replaceChildren(...counted.childNodes);
  } catch { /* the next event tries again */ } finally {
    busy = false;
    if (again) { again = false; soon(); }
  }
}

function take(fresh) {
  const old = document.getElementById(fresh.id);
  if (!old) return;
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  if (focused && focused.matches("input, textarea, select")) return;
  old.hidden = fresh.hidden;
  if (fresh.dataset.say && fresh.dataset.say !== old.dataset.say) {
    old.dataset.say = fresh.dataset.say;
    news.textContent = fresh.dataset.say;
  }
  if (old.innerHTML === fresh.innerHTML) return;
  const open = [...old.querySelectorAll("details")].map((one) => one.open);
  const places = focused ? [...old.querySelectorAll("a, button, [tabindex]")].indexOf(focused) : -1;
  const story = old.querySelector(".story");
  const atEnd = story && story.scrollTop + story.clientHeight >= story.scrollHeight - 30;
  const top = story ? story.scrollTop : 0;
  old.replaceChildren(...fresh.childNodes);
  old.querySelectorAll("details").forEach((one, n) => { if (open[n] !== undefined) one.open = open[n]; });
  if (places >= 0) old.querySelectorAll("a, button, [tabindex]")[places]?.focus({ preventScroll: true });
  const now = old.querySelector(".story");
  if (now) now.scrollTop = atEnd ? now.scrollHeight : top;
}

function soon() {
  if (due) return;
  due = setTimeout(() => { due = 0; refresh(); }, 250);
}

function follow() {
  if (!main || !main.dataset.live || source) return;
  source = new EventSource(main.dataset.live);
  source.addEventListener("record", soon);
  source.addEventListener("open", soon);
  source.addEventListener("end", () => { source.close(); soon(); });
}

document.addEventListener("submit", (event) => {
  // A second click on a decision is not a second decision.
  setTimeout(() => { for (const button of event.target.querySelectorAll("button")) button.disabled = true; }, 0);
});
window.addEventListener("pageshow", () => { for (const button of document.querySelectorAll("button:disabled")) button.disabled = false; });
window.addEventListener("pagehide", () => { if (source) { source.close(); source = null; } });
follow();
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
const story = document.querySelector(".story");
if (story && main.dataset.live) story.scrollTop = story.scrollHeight;
