// The page: one stream of pictures, each shown by the parts. Pictures that come while it is paused wait.

import { $, label } from "./dom.js";
import { showJobs } from "./jobs.js";
import { showChannels } from "./channels.js";
import { showDead } from "./dead.js";
import { showDatabase, showInstances, showLedger, showMarks, showRedis } from "./fabric.js";
import { showQueues } from "./queues.js";
import { showServers } from "./servers.js";
import { ask } from "./api.js";
import { clock } from "./format.js";
import { tickLatency } from "./latency.js";
import { loadMinute, showFacts, showSpans, showState, showTiles, showVerdict } from "./overview.js";
import { askToLogIn, isOperator, onOperator } from "./operator.js";
import { Stream } from "./stream.js";
import "./theme.js";

let newest = null;
let paused = false;

function show(picture) {
  showVerdict(picture.verdict);
  showFacts(picture);
  showTiles(picture);
  showSpans(picture.spans);
  showQueues(picture.queues);
  showJobs(picture.jobs);
  showChannels(picture.channels);
  showInstances(picture);
  showLedger(picture.ledger);
  showRedis(picture.redis);
  showServers(picture.redis);
  showDatabase(picture.database);
  showMarks(picture.marks);
  showDead(picture.queues);
  tickLatency(picture);
}

function showLive(state, words) {
  const live = $("live");
  live.dataset.live = state;
  if (live.textContent !== words) live.textContent = words;
}

function heard(picture) {
  newest = picture;
  if (paused) return;
  showLive("live", "Live");
  show(picture);
}

function silent(seconds) {
  if (paused) return;
  showLive("stale", "No data");
  if (newest)
    showState("stale", `Stale: no figures for ${seconds} s`, [`At ${clock(newest.at)} it was: ${newest.verdict.text}`]);
  else showState("stale", `No figures yet, for ${seconds} s`);
}

/** A visitor who is not on the server's own host may look only as the operator. */
async function begin() {
  try {
    heard(await ask("api/stats.json"));
  } catch (problem) {
    if (problem.status === 401 || problem.status === 403) return refused(problem);
  }
  loadMinute().catch(() => {}); // the sparklines begin now, then
  new Stream("api/events", heard, silent);
}

function refused(problem) {
  showLive("stale", "No data");
  if (problem.status === 403) return showState("stale", problem.message);
  showState("stale", "Log in to see the figures");
  onOperator(() => isOperator() && location.reload());
  askToLogIn();
}

function showPause() {
  $("pause").ariaPressed = String(paused);
  label($("pause"), paused ? "play" : "paused", paused ? "Resume page" : "Pause page");
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  showPause();
  if (paused) showLive("paused", "Paused");
  else if (newest) heard(newest);
});

showPause();
begin();
