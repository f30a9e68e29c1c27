// What the programs share while a node of the ring is killed under them. CLIENT_KILLED names a file that appears when it is dead;
// `half` on the output asks for it.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';

export const killing = Boolean(process.env.CLIENT_KILLED);
export const isKilled = () => existsSync(process.env.CLIENT_KILLED);
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const passing = /NOQUORUM|TRYAGAIN|ECONN|EPIPE|[Cc]onnection is closed|[Ss]ocket (closed|timeout)|client is closed/;
// Whether an error, or one that it wraps, is one after which users try again.
export const passes = (e) => Boolean(e) && (passing.test(`${e.code} ${e.message ?? e}`) || passes(e.lastNodeError ?? e.cause));

// As users do: again after what passes, or what also() says, fifty times in five seconds. `unsure` counts what may have been done by the tries before.
export async function again(run, unsure = {}, also = () => false) {
  for (let tries = 1; ; tries++) {
    try {
      return await run();
    } catch (e) {
      if (tries === 50 || !(passes(e) || also(e))) throw e;
      unsure.count = (unsure.count ?? 0) + 1;
      await sleep(100);
    }
  }
}

// Adds things one by one until the node is dead, and `more` afterwards; returns how many. `before` counts as half.
export async function until(before, more, add) {
  let count = 0;
  for (let after = 0; after < more; count++) {
    if (isKilled()) after += 1;
    await add(count);
    if (count + 1 === before) console.log('half');
  }
  return count;
}

// Writes of several kinds over all slots while the node dies, each acknowledged one read back. A client that sends again by itself
// may have counted twice what it does not tell.
export async function load(name, { set, get, incr, rpush, lrange, hset, hlen }, { sendsAgain = false, also } = {}) {
  const unsure = { n: {}, list: {}, other: {} };
  let began;
  const rounds = await until(300, 600, (i) => {
    if (!began && isKilled()) began = i;
    return Promise.all([
      again(() => set(`${name}:k:${i}`, String(i)), unsure.other, also),
      again(() => incr(`${name}:n`), unsure.n, also),
      again(() => rpush(`${name}:list:${i % 16}`, String(i)), unsure.list, also),
      again(() => hset(`${name}:h`, String(i), String(i)), unsure.other, also),
    ]);
  });
  for (let i = 0; i < rounds; i++) assert.equal(await again(() => get(`${name}:k:${i}`), {}, also), String(i));
  const counted = Number(await again(() => get(`${name}:n`), {}, also));
  const pushed = [];
  for (let i = 0; i < 16; i++) pushed.push(...await again(() => lrange(`${name}:list:${i}`), {}, also));
  assert.equal(new Set(pushed).size, rounds, 'pushes were lost');
  assert.equal(await again(() => hlen(`${name}:h`), {}, also), rounds);
  assert.ok(counted >= rounds, `${counted} were counted of ${rounds}`);
  if (!sendsAgain) {
    assert.ok(counted <= rounds + (unsure.n.count ?? 0), `${counted} were counted of ${rounds}, ${unsure.n.count ?? 0} unsure`);
    assert.ok(pushed.length <= rounds + (unsure.list.count ?? 0), `${pushed.length} were pushed of ${rounds}, ${unsure.list.count ?? 0} unsure`);
  }
  const retried = Object.values(unsure).reduce((sum, { count }) => sum + (count ?? 0), 0);
  console.log(`ok survived: ${4 * rounds} writes, ${4 * (rounds - began)} after the kill, ${retried} tried again`);
}
