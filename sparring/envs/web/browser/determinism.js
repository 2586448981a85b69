// The time and chance of a page, in the page's own world, before any script of its own. Time moves only by
// `advance`, which runs what is due in order; Math.random is a generator seeded by the episode.
(() => {
  if (window.__sparringClock) return;
  const EPOCH = Date.UTC(2024, 0, 1, 12), FRAME_MS = 16, MOST_CALLS = 20000;
  const RealDate = Date, channel = new MessageChannel(), waiting = [];
  let now = EPOCH, next = 1, state = __SEED__ >>> 0;
  const timers = new Map();
  channel.port1.onmessage = () => waiting.shift()();
  const turn = () => new Promise((done) => { waiting.push(done); channel.port2.postMessage(0); });

  const add = (call, delay, repeats, values) => {
    const wait = Math.max(1, Number(delay) || 0);
    timers.set(next, { due: now + wait, call, every: repeats ? wait : 0, values });
    return next++;
  };
  const remove = (id) => { timers.delete(Number(id)); };
  window.setTimeout = (call, delay, ...values) => add(call, delay, false, values);
  window.setInterval = (call, delay, ...values) => add(call, delay, true, values);
  window.clearTimeout = window.clearInterval = remove;
  window.requestAnimationFrame = (call) => {
    const wait = FRAME_MS - ((now - EPOCH) % FRAME_MS);
    return add(() => call(now - EPOCH), wait, false, []);
  };
  window.requestIdleCallback = (call) => add(() => call({ didTimeout: false, timeRemaining: () => 50 }), 1, false, []);
  window.cancelAnimationFrame = window.cancelIdleCallback = remove;
  performance.now = () => now - EPOCH;
  window.Date = new Proxy(RealDate, {
    construct: (target, values, type) => Reflect.construct(target, values.length ? values : [now], type),
    apply: () => new RealDate(now).toString(),
    get: (target, name) => (name === "now" ? () => now : Reflect.get(target, name)),
  });
  Math.random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };

  const earliest = (end) => {
    let found = 0;
    for (const [id, timer] of timers) {
      if (timer.due <= end && (!found || timer.due < timers.get(found).due)) found = id;
    }
    return found;
  };
  const clock = {
    async advance(ms) {
      const end = now + ms;
      await turn();
      for (let calls = 0, id; calls < MOST_CALLS && (id = earliest(end)); calls++) {
        const timer = timers.get(id);
        now = Math.max(now, timer.due);
        if (timer.every) timer.due = now + timer.every; else timers.delete(id);
        try {
          if (typeof timer.call === "function") timer.call(...timer.values); else (0, eval)(String(timer.call));
        } catch (error) { console.error(error); }
        await turn();
      }
      now = Math.max(now, end);
      for (let at = 0; at < Math.min(frames.length, 20); at++) {
        try { await frames[at].__sparringClock.advance(ms); } catch (error) { /* another origin */ }
      }
    },
    save: () => [now, state],
    // Timers keep their distance: what waits does not fall due by the leap.
    load([time, chance]) {
      for (const timer of timers.values()) timer.due += time - now;
      [now, state] = [time, chance];
    },
    restart() { timers.clear(); now = EPOCH; },
  };
  Object.defineProperty(window, "__sparringClock", { value: Object.freeze(clock) });
})();
