// The one stream of pictures, watched: what a browser does not notice (a server that hangs) we do.

const STALE_AFTER = 3000; // ms without a picture
const RETRY_AFTER = 5000; // ms between two attempts of ours; the browser makes its own where the connection broke

/** Calls `heard(picture)` for each picture and `silent(seconds)` once a second while there was none for too long. */
export class Stream {
  #url;
  #heard;
  #silent;
  #source = null;
  #last = performance.now();
  #opened = 0;

  constructor(url, heard, silent) {
    this.#url = url;
    this.#heard = heard;
    this.#silent = silent;
    this.#open();
    setInterval(() => this.#check(), 250);
  }

  #open() {
    this.#source?.close();
    this.#opened = performance.now();
    this.#source = new EventSource(this.#url);
    this.#source.addEventListener("picture", (event) => {
      this.#last = performance.now();
      this.#heard(JSON.parse(event.data));
    });
  }

  #check() {
    const now = performance.now();
    if (now - this.#last < STALE_AFTER) return;
    this.#silent(Math.floor((now - this.#last) / 1000));
    if (now - this.#opened > RETRY_AFTER) this.#open();
  }
}
