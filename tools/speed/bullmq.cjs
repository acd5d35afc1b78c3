// Jobs that do nothing, on BullMQ over Redis.
//
//     node bullmq.cjs worker REDIS-SOCKET COUNT FILE READY    tells in FILE what tools.speed.noop tells
//     node bullmq.cjs enqueue REDIS-SOCKET COUNT              prints when it began, as JSON
//
// The worker does as many at the same time as an app server of gorgond; what enqueues has 500 under way.

const fs = require("node:fs");
const { Queue, Worker } = require("bullmq");

const CONCURRENCY = 16;
const AT_ONCE = 500;

const [what, path, count, file, ready] = process.argv.slice(2);
const connection = { path, maxRetriesPerRequest: null };
const now = () => Number(process.hrtime.bigint()) / 1e9;
const waits = [];

async function begin(job) {
  waits.push(now() - job.data.asked);
  if (waits.length === Number(count)) {
    waits.sort((a, b) => a - b);
    const told = { at: now(), waits: [50, 99].map((percent) => waits[Math.floor((waits.length * percent) / 100)]) };
    fs.writeFileSync(`${file}.new`, JSON.stringify(told));
    fs.renameSync(`${file}.new`, file);
  }
}

async function enqueue() {
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  const began = now();
  for (let done = 0; done < Number(count); done += AT_ONCE) {
    const some = Math.min(AT_ONCE, Number(count) - done);
    await queue.addBulk(Array.from({ length: some }, () => ({ name: "job", data: { asked: now() } })));
  }
  console.log(JSON.stringify({ at: began }));
  await queue.close();
}

if (what === "worker") {
  const worker = new Worker("bench", begin, { connection, concurrency: CONCURRENCY });
  worker.waitUntilReady().then(() => fs.writeFileSync(ready, ""));
} else {
  enqueue();
}
