// A role in Node.js that has nothing of gorgond's but the scripts, by docs/protocol.md: `node role.mjs SCRIPTS INSTANCE`
// answers what comes to the queue node_get. It tells systemd, or `gorgond up`, that it is ready and lives, and stats
// servers how it fares. SIGTERM ends it in order.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Consumer, Unusable } from './consumer.mjs';
import { Redis, Script, run } from './redis.mjs';

const [, , folder, instance] = process.argv;
const host = hostname().replace(/[^A-Za-z0-9_.:@-]/gu, (found) => `_x${found.codePointAt(0).toString(16)}_`);
const NAME = `node@${instance}.${host}`;
const QUEUE = 'node_get';
const { GORGOND_BROKER_URL: durable, GORGOND_BROKER_CALLS: calls = durable } = process.env;

const OPERATIONS = {
  'node.double': ({ number }) => {
    if (typeof number !== 'number') throw new Unusable(400, 'number is to be a number');
    return 2 * number;
  },
  'node.wait': async ({ file }) => {
    while (!existsSync(file)) await sleep(50);
    return 'it is there';
  },
};

// The broker's clock: by how many ms it is ahead of ours, which nobody sets.
const clock = {
  ahead: 0,
  now() { return performance.now() + this.ahead; },
  async look(redis) {
    const asked = performance.now();
    const [[seconds, micro]] = await redis.persist([['TIME']]);
    this.ahead = seconds * 1000 + micro / 1000 - (asked + performance.now()) / 2;
  },
};

// The words of sd_notify(3), for which Node.js has no sockets.
function notify(...words) {
  if (process.env.NOTIFY_SOCKET) execFile('systemd-notify', words, () => {});
}

function figures(state, silent) {
  const cpu = process.cpuUsage();
  return {
    name: NAME, role: 'node', instance, host, pid: process.pid, version: 'node', run: RUN, uptime: process.uptime(),
    state, done: false, status: `consuming ${QUEUE}`, silent: silent / 1000, lag: 0, clock: null,
    rss: process.memoryUsage.rss(), cpu: (cpu.user + cpu.system) / 1e6, counters: {}, operations: {},
    queues: { [QUEUE]: Consumer.tally },
  };
}

const RUN = randomBytes(4).toString('hex');
const scripts = Object.fromEntries(
  ['take', 'claim', 'leave', 'recover', 'publish'].map((name) => [name, new Script(folder, name)]),
);
const redis = new Redis(calls, Object.values(scripts));
const consumers = [...new Set([durable, calls])].map((url) => (
  new Consumer(new Redis(url, Object.values(scripts)), scripts, QUEUE, NAME, OPERATIONS, clock)));
let state = 'up';
process.on('SIGHUP', () => {}); // nothing of the configuration is read while it runs
process.on('SIGTERM', () => { state = 'draining'; for (const each of consumers) each.stopping = true; });

await clock.look(redis);
await Promise.all(consumers.map((each) => each.take()));
notify('READY=1');
const consuming = Promise.all(consumers.map((each) => each.run())).then(() => { state = 'gone'; });
for (let number = 1, said = ''; said !== 'gone'; number += 1) {
  await Promise.race([sleep(1000), consuming]);
  await clock.look(redis);
  const silent = Math.max(...consumers.map((each) => performance.now() - each.turned));
  if (silent < 10_000) notify('WATCHDOG=1');
  said = state;
  const producer = `${NAME}:${RUN}`;
  const event = JSON.stringify({ id: `${producer}:${number}`, op: 'stats.second', args: figures(said, silent) });
  await redis.persist([run(scripts.publish, 'stats', [number, 'gorgon:{stats}', 1000, 1000000, event], producer)]);
}
redis.close();
