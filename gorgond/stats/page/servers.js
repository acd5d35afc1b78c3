// The servers that a broker is made of: who is the master, who follows, whom the Sentinels name.

import { $, Table, icon, make, say } from "./dom.js";
import { age, bytes, capital } from "./format.js";

const MONTH = 30 * 86_400;

const trouble = (server) => (server.error ? "bad" : undefined);

const standing = (server) =>
  make(
    "span",
    { className: `state ${answers(server) ? "up" : "silent"}` },
    icon(answers(server) ? "up" : "silent"),
    "names" in server ? opinion(server) : server.role === "replica" ? `replica of ${server.follows}` : server.role || "away",
  );

const answers = (server) => Boolean(server.role || server.names);

const opinion = (server) => (server.names ? `Sentinel, names ${server.names}` : "Sentinel, names nobody");

const serversTable = new Table(
  $("servers"),
  [
    { name: "Server", words: true, width: 20, of: (server) => server.where },
    { name: "Is", about: "The master, a replica, or a Sentinel, and which master it names.", width: 34, words: true, of: standing },
    {
      name: "Lacks",
      about: "Bytes that a replica has not told its master to have: what is under way, or how far it is behind.",
      width: 8,
      of: (server) => bytes(server.lacks),
    },
    {
      name: "Last heard",
      about: "How long ago a replica told its master what it has; after 10 s it is no copy.",
      width: 10,
      of: (server) => (server.heard === undefined || server.heard === null ? "" : `${age(server.heard)} ago`),
      mark: (server) => (server.heard > 3 ? "bad" : undefined),
    },
    {
      name: "Certificate",
      about: "In how long its certificate ends; gorgonctl tls makes a new one.",
      width: 11,
      of: (server) => age(server.ends_in),
      mark: (server) => (server.ends_in !== null && server.ends_in < MONTH ? "bad" : undefined),
    },
    { name: "Trouble", about: "Why it does not answer, or is no copy.", words: true, class: "fill", of: (server) => server.error, mark: trouble },
  ],
  (server) => `${"names" in server} ${server.where}`,
);

/** Those of brokers that have several. */
export function showServers(brokers) {
  const several = brokers.filter(({ replication }) => replication.name || replication.servers.length > 1);
  $("servers-part").hidden = several.length === 0;
  say($("servers-holds"), several.map(said).join(" "));
  serversTable.show(several.flatMap(({ replication }) => [...replication.servers, ...replication.sentinels]));
}

const said = ({ replication: { holds, failover } }) =>
  failover ? `${capital(holds)}. ${failover.to} has been the master for ${age(failover.ago)}, before it was ${failover.from}` : capital(holds);
