// rate-limiter-flexible: two limiters, each connected to its own node, let exactly so many through together; PROGRAM HOST PORT PREFIX.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { again, killing, passes, sleep, until } from './killed.mjs';
const require = createRequire(process.env.CLIENT_MODULES + '/');
const { Redis } = require('ioredis');
const { RateLimiterRedis, RateLimiterRes } = require('rate-limiter-flexible');
const [host, port, name] = process.argv.slice(2);
const clients = [port, process.env.CLIENT_OTHER].map((p) => new Redis({ host, port: Number(p), maxRetriesPerRequest: 1, commandTimeout: 20000 }));
const points = 5, calls = 8;
const limiter = (storeClient, duration) => new RateLimiterRedis({ storeClient, keyPrefix: `${name}${duration}`, points, duration });
const hour = clients.map((c) => limiter(c, 3600));

let unsureAll = 0;
async function user(i) {
  let passed = 0, unsure = 0;
  await Promise.all([...Array(calls).keys()].map(async (call) => {
    try {
      await hour[call % 2].consume(`user-${i}`);
      passed += 1;
    } catch (e) {
      if (e instanceof RateLimiterRes) return;
      if (!killing || !passes(e)) throw e;
      unsure += 1;
    }
  }));
  assert.ok(passed <= points && passed >= points - unsure, `${passed} passed, ${unsure} unsure`);
  const { consumedPoints } = await again(() => hour[0].get(`user-${i}`));
  assert.ok(consumedPoints <= calls && consumedPoints >= calls - unsure, `${consumedPoints} counted, ${unsure} unsure`);
  unsureAll += unsure;
}
let users = 200;
if (killing) users = await until(100, 200, user);
else for (let i = 0; i < users; i++) await user(i);

const [short] = clients.map((c) => limiter(c, 1));
for (let i = 0; i < points; i++) await again(() => short.consume('short'));
await sleep(1500);
assert.equal((await again(() => short.consume('short'))).consumedPoints, 1);
console.log(`ok limits: ${users} users of ${calls} calls, ${points} passed; ${unsureAll} unsure`);
for (const c of clients) c.disconnect();
