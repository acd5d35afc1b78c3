// Numbers in words. A number that is not known is the empty string.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FEW = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const DRIFT = new Intl.NumberFormat("en", {
  signDisplay: "exceptZero",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const SHORT_CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const YEAR = new Intl.DateTimeFormat("en-GB", { month: "short", year: "numeric" });

const known = (value, words) => (value === undefined || value === null || Number.isNaN(value) ? "" : words(value));

/** "two copies" → "Two copies" */
export const capital = (words) => words.slice(0, 1).toUpperCase() + words.slice(1);

/** 56411445 → "56,411,445" */
export const count = (n) => known(n, (it) => WHOLE.format(it));

/** 1 message, 1,909 messages: for nouns whose plural ends in s */
export const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

/** Per second: 0.2 → "0.2", 2411.6 → "2,412" */
export const rate = (n) => known(n, (it) => (it < 10 ? FEW.format(Math.round(it * 10) / 10) : WHOLE.format(it)));

/** Of µs: 320 → "320 µs", 4096 → "4.1 ms", 1200000 → "1.2 s" */
export const latency = (us) =>
  known(us, (it) =>
    it < 1000 ? `${WHOLE.format(it)} µs` : it < 999_500 ? `${tenths(it / 1000)} ms` : `${tenths(it / 1e6)} s`,
  );

/** Of bytes: 20480 → "20 kB" */
export const bytes = (n) =>
  known(n, (it) => {
    const power = it < 1000 ? 0 : Math.min(Math.floor(Math.log10(it) / 3), 5);
    return `${tenths(it / 1000 ** power)} ${["B", "kB", "MB", "GB", "TB", "PB"][power]}`;
  });

/** Of seconds: 0.004 → "4 ms", 38.2 → "38 s", 273840 → "3 d 4 h" */
export const age = (seconds) =>
  known(seconds, (it) => {
    if (it < 1) return it < 0.0005 ? "0 s" : `${tenths(it * 1000)} ms`;
    if (it < 60) return `${WHOLE.format(Math.floor(it))} s`;
    const [big, small, unit, half] =
      it < 3600 ? [60, 1, "min", "s"] : it < 86_400 ? [3600, 60, "h", "min"] : [86_400, 3600, "d", "h"];
    const rest = Math.floor((it % big) / small);
    return `${WHOLE.format(Math.floor(it / big))} ${unit}${rest ? ` ${rest} ${half}` : ""}`;
  });

/** Of a clock, by how many seconds it is ahead: 11.234 → "+11.2 s", -0.004 → "0.0 s" */
export const ahead = (seconds) => known(seconds, (it) => `${DRIFT.format(it)} s`);

/** Of a part: percent(3, 1000) → "0.3 %"; what is there is never rounded to nothing, nor what is missing to all */
export const percent = (part, whole) =>
  known(part, (it) => {
    if (!it || !whole) return "0 %";
    const share = (100 * it) / whole;
    if (share < 0.01) return "< 0.01 %";
    if (share > 99.99 && it < whole) return "> 99.99 %";
    return `${share < 0.1 ? share.toFixed(2) : share < 10 ? share.toFixed(1) : WHOLE.format(share)} %`;
  });

/** Of ms since 1970: "12:03:41" */
export const clock = (ms) => known(ms, (it) => CLOCK.format(it));

/** The same with the day where it is not today. */
export const moment = (ms) =>
  known(ms, (it) =>
    new Date(it).toDateString() === new Date().toDateString()
      ? clock(it)
      : `${DAY.format(it)}, ${SHORT_CLOCK.format(it)}`,
  );

/** As precise as a column of so many seconds: "12:03:41", "12:03", "25 Nov", "Nov 2026" */
export const instant = (ms, step) =>
  step < 60
    ? clock(ms)
    : step < 6 * 3600
      ? SHORT_CLOCK.format(ms)
      : step < 28 * 86_400
        ? DAY.format(ms)
        : YEAR.format(ms);

function tenths(it) {
  return it < 9.95 ? FEW.format(Math.round(it * 10) / 10) : WHOLE.format(it);
}
