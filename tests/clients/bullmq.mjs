// BullMQ: every job of a queue is done exactly once, failed ones again; PROGRAM HOST PORT PREFIX.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
const { Queue, Worker, QueueEvents } = createRequire(process.env.CLIENT_MODULES + '/')('bullmq');
const [host, port, name] = process.argv.slice(2);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const prefix = `{${name}}`;
const jobs = 300;

const queue = new Queue('work', { connection, prefix });
const events = new QueueEvents('work', { connection, prefix });
await events.waitUntilReady();
const done = new Map();
let failed = 0, heard = 0;
events.on('completed', () => { heard += 1; });
const work = async (job) => {
  if (job.data.i % 50 === 0 && job.attemptsMade === 0) {
    failed += 1;
    throw new Error('once more');
  }
  done.set(job.data.i, (done.get(job.data.i) ?? 0) + 1);
  return job.data.i * 2;
};
const workers = [1, 2].map(() => new Worker('work', work, { connection, prefix, concurrency: 10 }));
for (const w of workers) w.on('error', (e) => { throw e; });
const options = { attempts: 3, backoff: { type: 'fixed', delay: 100 } };
await queue.addBulk([...Array(jobs - 20).keys()].map((i) => ({ name: 'job', data: { i }, opts: options })));
for (let i = jobs - 20; i < jobs; i++) await queue.add('job', { i }, { ...options, delay: i % 2 ? 200 : 0, priority: 1 + (i % 3) });

const end = Date.now() + 60000;
while ((done.size < jobs || heard < jobs) && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
assert.equal(done.size, jobs);
assert.ok([...done.values()].every((n) => n === 1), 'a job was done twice');
assert.equal(failed, jobs / 50);
assert.equal(heard, jobs);
const counts = await queue.getJobCounts('completed', 'failed', 'active', 'waiting', 'delayed', 'prioritized');
assert.deepEqual({ ...counts }, { completed: jobs, failed: 0, active: 0, waiting: 0, delayed: 0, prioritized: 0 });
console.log(`ok jobs: ${jobs} done once, ${failed} after a failure`);
for (const c of [...workers, events, queue]) await c.close();
