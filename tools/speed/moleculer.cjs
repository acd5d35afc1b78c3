// A baseline in Node.js: a gateway on node's http and a service behind it, which talk by Moleculer over Redis.
//
//     node moleculer.cjs service REDIS-SOCKET
//     node moleculer.cjs gateway REDIS-SOCKET PORT
//
// It answers GET /info/<uid> as gorgond does without notes.

const http = require("node:http");
const { ServiceBroker } = require("moleculer");

const [what, path, port] = process.argv.slice(2);
const broker = new ServiceBroker({
  nodeID: what,
  logger: false,
  requestTimeout: 10000,
  transporter: { type: "Redis", options: { path } },
});

function answer(request, response) {
  broker.call("store.find", { uid: Number(request.url.split("/")[2]) }).then(
    (found) => {
      response.writeHead(200, { "Content-Type": "application/json" });
      response.end(JSON.stringify(found));
    },
    (error) => {
      response.writeHead(500);
      response.end(error.message);
    },
  );
}

if (what === "service") {
  const find = (context) => ({ items: [], uid: context.params.uid, lim: 20, off: 0 });
  broker.createService({ name: "store", actions: { find } });
  broker.start();
} else {
  broker
    .start()
    .then(() => broker.waitForServices("store"))
    .then(() => http.createServer(answer).listen(Number(port), "127.0.0.1"));
}
