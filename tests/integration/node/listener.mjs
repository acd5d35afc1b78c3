// Clients of Socket.IO, from npm: node listener.mjs MODULE URL CLIENTS, of which CLIENTS is JSON: [{name, auth, options}].
// Each event is a line of JSON, {name, event, data}. A line of the input is {name, emit, data}, whose acknowledgement is
// an event "ack", or {name, close: true}.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [, , module, url, clients] = process.argv;
const { io } = createRequire(import.meta.url)(module);
const sockets = new Map();

function say(name, event, data) { process.stdout.write(`${JSON.stringify({ name, event, data })}\n`); }

for (const { name, auth, options } of JSON.parse(clients)) {
  let since = auth?.since;
  const socket = io(url, {
    transports: ['websocket'], forceNew: true, auth: (tell) => tell({ ...auth, since }), ...options,
  });
  sockets.set(name, socket);
  socket.on('connect', () => say(name, 'connect', socket.recovered));
  socket.on('disconnect', (reason) => say(name, 'disconnect', reason));
  socket.on('connect_error', (error) => say(name, 'connect_error', {
    message: error.message, data: error.data ?? null, active: socket.active, status: error.context?.status ?? null,
    said: error.context?.responseText ?? null,
  }));
  socket.onAny((event, data) => {
    if (event === 'notification' || event === 'ready' || event === 'reset') since = data.number;
    say(name, event, data);
  });
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const { name, emit, data, close } = JSON.parse(line);
  const socket = sockets.get(name);
  if (close) socket.close();
  else socket.emit(emit, data, (answer) => say(name, 'ack', answer));
}).on('close', () => process.exit(0));
