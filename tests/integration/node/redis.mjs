// As much of a Redis client as docs/protocol.md asks for: a connection, its commands, its scripts.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

const ROUND_TRIP = 5000; // ms
const AWAY = /^(LOADING|BUSY|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|UNBLOCKED|NOSCRIPT|OOM|MISCONF)\b/;

export class Refused extends Error {} // an operator must act

export class Script {
  constructor(folder, name) {
    const read = (each) => readFileSync(`${folder}/${each}.lua`, 'utf8')
      .replace(/^ *--! (.*)\n/gm, (_, names) => names.split(' ').map(read).join(''));
    this.text = read(name);
    this.keys = [...this.text.matchAll(/^-- KEY (\w+):/gm)].map((found) => found[1]);
    this.sha = createHash('sha1').update(this.text).digest('hex');
  }
}

// The key of a queue or topic by what the scripts call it; one that somebody has alone is that of `who`.
function keyOf(word, name, who) {
  if (word === 'queue') return `gorgon:{${name}}`;
  if (word === 'consumers') return `gorgon:{${name}}:lanes`;
  return `gorgon:{${name}}:${word}${['desk', 'producer', 'publisher'].includes(word) ? `:${who}` : ''}`;
}

// One connection, used by one loop. `ask` sends commands in one write and gives their answers, an Error where that is one.
// Without an answer it throws, and the connection is gone.
class Connection {
  #waiting; #answers = []; #bytes = Buffer.alloc(0); #error; #socket;

  constructor(path) {
    this.#socket = connect(path);
    this.#socket.on('data', (some) => this.#read(some));
    for (const what of ['error', 'close']) this.#socket.on(what, () => this.close(`${path}: connection lost`));
  }

  ask(commands, blocks = 0) {
    if (this.#error) throw this.#error;
    const parts = commands.flatMap((words) => [`*${words.length}\r\n`, ...words.flatMap((word) => {
      const bytes = Buffer.isBuffer(word) ? word : Buffer.from(String(word));
      return [`$${bytes.length}\r\n`, bytes, '\r\n'];
    })]);
    this.#socket.write(Buffer.concat(parts.map((part) => Buffer.from(part))));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.close('no answer in time'), ROUND_TRIP + blocks);
      const end = (settle) => (value) => { clearTimeout(timer); this.#waiting = undefined; settle(value); };
      this.#waiting = { count: commands.length, resolve: end(resolve), reject: end(reject) };
    });
  }

  close(why) {
    this.#error ??= new Error(why);
    this.#socket.destroy();
    this.#waiting?.reject(this.#error);
  }

  #read(some) {
    this.#bytes = Buffer.concat([this.#bytes, some]);
    for (let found; (found = this.#parse(0)); this.#bytes = this.#bytes.subarray(found[1])) {
      this.#answers.push(found[0]);
    }
    if (this.#waiting?.count === this.#answers.length) this.#waiting.resolve(this.#answers.splice(0));
  }

  // The value that begins there and where it ends; nothing while not all of it has come.
  #parse(at) {
    const end = this.#bytes.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const line = this.#bytes.toString('utf8', at + 1, end);
    const size = Number(line);
    switch (String.fromCharCode(this.#bytes[at])) {
      case '+': return [line, end + 2];
      case '-': return [new Error(line), end + 2];
      case ':': return [size, end + 2];
      case '$':
        if (size < 0) return [null, end + 2];
        if (this.#bytes.length < end + size + 4) return undefined;
        return [this.#bytes.subarray(end + 2, end + 2 + size), end + size + 4];
      default: {
        const items = size < 0 ? null : [];
        let place = end + 2;
        while (items && items.length < size) {
          const found = this.#parse(place);
          if (!found) return undefined;
          items.push(found[0]);
          place = found[1];
        }
        return [items, place];
      }
    }
  }
}

// The answers, if none is an error.
function check(answers) {
  const bad = answers.find((answer) => answer instanceof Error);
  if (bad) throw AWAY.test(bad.message) ? bad : new Refused(bad.message);
  return answers;
}

// A Redis that may be away: what is asked is asked again, over a new connection, until it is answered.
export class Redis {
  #connection; #scripts; #user; #path;

  constructor(url, scripts) {
    [, this.#user, this.#path] = url.match(/^unix:\/\/(?:(.*)@)?(\/.*)$/);
    this.#scripts = scripts;
  }

  // The answers of several commands. Throws Refused for an error that no waiting ends.
  async persist(commands, blocks = 0) {
    for (let pause = 50; ; pause = Math.min(2 * pause, 500)) {
      try {
        return await this.once(commands, blocks);
      } catch (error) {
        if (error instanceof Refused) throw error;
      }
      await new Promise((resolve) => { setTimeout(resolve, pause * (0.5 + Math.random() / 2)); });
    }
  }

  // The same, asked once: without an answer it throws another error, and the connection is gone.
  async once(commands, blocks = 0) {
    const connection = (this.#connection ??= await this.#meet(new Connection(this.#path)));
    try {
      return check(await connection.ask(commands, blocks));
    } catch (error) {
      connection.close('not used any more');
      this.#connection = undefined;
      throw error;
    }
  }

  // What a process does that connects: it says who it is, looks at the version, and loads the scripts that are missing.
  async #meet(connection) {
    const words = this.#user?.split(':').map(decodeURIComponent);
    if (words) check(await connection.ask([['AUTH', ...words]]));
    const exist = ['SCRIPT', 'EXISTS', ...this.#scripts.map((each) => each.sha)];
    const [version, there] = check(await connection.ask([['GET', 'gorgon:protocol'], exist]));
    if (version && !/^1\./.test(version)) throw new Refused(`the broker is of protocol ${version}, this role of 1`);
    const missing = this.#scripts.filter((_, index) => !there[index]);
    if (missing.length) check(await connection.ask(missing.map((each) => ['SCRIPT', 'LOAD', each.text])));
    return connection;
  }

  close() {
    this.#connection?.close('closed');
  }
}

// The command that runs a script on the keys of queue or topic `name`.
export function run(script, name, args, who) {
  return ['EVALSHA', script.sha, script.keys.length, ...script.keys.map((word) => keyOf(word, name, who)), ...args];
}
