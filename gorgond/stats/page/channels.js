// The channels of notifications: what each has sent, what waits, why the last one could not be sent. Only where a
// notification server is.

import { $, Table, say } from "./dom.js";
import { age, count, counted, latency } from "./format.js";

const positive = (value, word) => (value > 0 ? word : undefined);

const table = new Table(
  $("channels"),
  [
    { name: "Channel", words: true, of: (channel) => channel.name },
    { name: "Sent", about: "Since this stats server began; so are Later, Given up and Off.", width: 9, of: (channel) => count(channel.sent) },
    { name: "Later", about: "Attempts that failed, to be made again.", width: 8, of: (channel) => count(channel.later) },
    {
      name: "Given up",
      about: "Dead letters of its queue: gorgonctl notifications list says why, and replay sends them again.",
      width: 8,
      of: (channel) => count(channel.dead),
      mark: (channel) => positive(channel.dead, "worse"),
    },
    {
      name: "Off",
      about: "Not sent, since their users do not want them, or what they were to go to is gone, as a browser.",
      width: 7,
      of: (channel) => count(channel.off + channel.gone),
    },
    { name: "Waiting", about: "In its queue.", width: 8, of: (channel) => count(channel.waiting) },
    { name: "In flight", about: "Being sent.", width: 8, of: (channel) => count(channel.in_flight) },
    { name: "Delayed", about: "To be tried again, or due later.", width: 8, of: (channel) => count(channel.delayed) },
    {
      name: "Median",
      about: "From a notification's being accepted to its being sent: half of those of the last hour took no longer.",
      width: 9,
      of: (channel) => (channel.p50 ? latency(channel.p50) : "–"),
    },
    {
      name: "99 %",
      about: "The same of all but one in a hundred.",
      width: 9,
      of: (channel) => (channel.p99 ? latency(channel.p99) : "–"),
    },
    {
      name: "Last sent",
      about: "How long ago; none since this stats server began: –.",
      width: 10,
      of: (channel) => (channel.idle === null ? "–" : age(channel.idle)),
      mark: (channel) => positive(channel.stalled, "bad"),
    },
    { name: "Last failure", about: "Why one could not be sent, the last time.", words: true, class: "fill", of: (channel) => channel.reason },
  ],
  (channel) => channel.name,
);

export function showChannels(channels) {
  $("channels-part").hidden = channels.length === 0;
  const stalled = channels.filter((channel) => channel.stalled).length;
  say($("channels-sum"), `${counted(channels.length, "channel")}${stalled ? `, ${count(stalled)} stalled` : ""}`);
  table.show(channels);
}
