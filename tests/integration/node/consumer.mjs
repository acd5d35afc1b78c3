// A consumer, step by step as docs/protocol.md has them under "A consumer" and "The fate of a message".
import { Refused, run } from './redis.mjs';

const PROTOCOL = 1; // that it understands
const WANT = 10; // messages that it takes at a time
const LIMIT = 3; // starts of a message
const BYTES = 4 << 20;
const DUE = 100;
const LOOK = 5000; // ms between two looks for silent consumers, and between two signs of life

export class Unusable extends Error { // a message that nobody can handle: `code` is an HTTP status, 400 to 499
  constructor(code, message) { super(message); this.code = code; }
}

export class Consumer {
  static tally = { handled: 0, failed: 0, expired: 0, batches: 0, bytes_in: 0, bytes_out: 0, busy: 0, rejoined: 0 };

  stopping = false;
  turned = performance.now(); // when its loop turned last
  #redis; #scripts; #queue; #name; #operations; #clock;
  #token; #length; #number; #looked = 0;

  constructor(redis, scripts, queue, name, operations, clock) {
    this.#redis = redis; this.#scripts = scripts; this.#queue = queue;
    this.#name = name; this.#operations = operations; this.#clock = clock;
  }

  #run(script, ...args) { return run(this.#scripts[script], this.#queue, args, this.#name); }

  async take() {
    for (let stands = '', status; String(status) !== 'ok';) {
      let lying;
      [[status, stands, lying]] = await this.#redis.persist([this.#run('take', this.#name, stands)]);
      [this.#token, this.#length, this.#number] = [stands, lying, 0];
    }
  }

  async run() {
    let outcomes = [];
    while (!this.stopping) {
      this.turned = performance.now();
      if (this.turned - this.#looked > LOOK) await this.#recover();
      let [messages, due] = await this.#claim(outcomes, WANT);
      outcomes = [];
      if (!messages.length && !this.stopping) messages = await this.#wait(due < 0 ? 3000 : Math.min(due, 3000));
      for (const raw of messages) outcomes.push(await this.#handle(raw));
    }
    await this.#claim(outcomes, 0);
    await this.#redis.persist([this.#run('leave', this.#name, this.#token, 0)]);
    this.#redis.close();
  }

  // Send the replies, settle what is done, and get what comes next. When the desk was lost, that is nothing.
  async #claim(outcomes, want) {
    const replies = outcomes.filter((each) => each.reply).flatMap(({ to, reply }) => [
      ['RPUSH', `gorgon:{${to}}:replies`, reply], ['PEXPIRE', `gorgon:{${to}}:replies`, 60000],
    ]);
    const failures = outcomes.flatMap(({ delay, reason, started = 1 }, index) => (
      delay === undefined ? [] : [index, delay, reason.slice(0, 500), started, '']));
    const expired = outcomes.filter((each) => each.expired).length;
    this.#number += 1;
    const known = [this.#name, this.#token, this.#number, this.#length, outcomes.length];
    const claim = this.#run('claim', ...known, want, LIMIT, expired, 0, BYTES, DUE, 0, 0, ...failures);
    const [status, length, due, , ...messages] = (await this.#redis.persist([...replies, claim])).at(-1);
    if (String(status) === 'superseded') throw new Refused(`another process has taken over as ${this.#name}`);
    if (String(status) === 'void') {
      await this.take();
      return [[], 0];
    }
    this.#length = length;
    return [messages, due];
  }

  async #wait(ms) {
    const queue = `gorgon:{${this.#queue}}`;
    const timeout = Math.max(ms, 10);
    try {
      const wait = ['BLMOVE', queue, `${queue}:desk:${this.#name}`, 'LEFT', 'RIGHT', timeout / 1000];
      const [raw] = await this.#redis.once([wait], timeout);
      if (!raw) return [];
      this.#length += 1;
      return raw.toString('latin1', 0, 12) === '{"attempts":' ? [] : [raw];
    } catch (error) {
      if (error instanceof Refused) throw error;
      await this.take();
      return [];
    }
  }

  async #recover() {
    this.#looked = performance.now();
    await this.#redis.persist([this.#run('recover', `gorgon:{${this.#queue}}:desk:`, 20000, 604800000)]);
  }

  // While a handler takes long, others are not to take us for dead.
  async #live() {
    const claim = [this.#name, this.#token, this.#number, this.#length, 0, -1, LIMIT, 0, 0, 0, 0, 0, 0];
    await this.#redis.once([this.#run('claim', ...claim)]).catch(() => {});
    this.turned = performance.now();
  }

  async #handle(raw) {
    let alive;
    const timer = setInterval(() => { alive = this.#live(); }, LOOK);
    const outcome = await this.#outcome(raw);
    clearInterval(timer);
    await alive; // then the connection is free for others
    Consumer.tally.handled += 1;
    Consumer.tally.bytes_in += raw.length;
    Consumer.tally.bytes_out += outcome.reply?.length ?? 0;
    if (outcome.expired) Consumer.tally.expired += 1;
    if (outcome.delay !== undefined) Consumer.tally.failed += 1;
    return outcome;
  }

  // The fate of a message: a `reply` for the list `to`; that it `expired`; or the `delay` with which it comes again.
  async #outcome(raw) {
    let message;
    try {
      message = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw));
      if (typeof message.id !== 'string' || typeof message.op !== 'string') throw new Error('no id or no op');
    } catch (error) {
      return { delay: -1, reason: `undecodable: ${error.message}` };
    }
    const { id, op, args = {}, reply: to, deadline = Infinity, needs = 1, attempts = 1 } = message;
    if (deadline < this.#clock.now()) return { expired: true };
    if (needs > PROTOCOL) return { delay: 5000, reason: `needs protocol ${needs}`, started: 0 };
    try {
      if (!Object.hasOwn(this.#operations, op)) throw new Unusable(400, `there is no ${op}`);
      const value = await this.#operations[op](args);
      return to ? { to, reply: `${JSON.stringify({ id })}\n${JSON.stringify(value)}` } : {};
    } catch (error) {
      const code = error instanceof Unusable ? error.code : 500;
      if (to) return { to, reply: `${JSON.stringify({ id, error: { code, message: error.message } })}\n` };
      if (code < 500) return { delay: -1, reason: `refused: ${error.message}` };
      return { delay: Math.min(500 * 2 ** (attempts - 1), 60000), reason: error.message };
    }
  }
}
