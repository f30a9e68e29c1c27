"""Celery: every job is done once and its result comes back; PROGRAM HOST PORT PREFIX.

Starts its own worker, as the same file with a fourth argument, and ends it.
"""
import subprocess
import sys

from celery import Celery, chord, group

HOST, PORT, NAME = sys.argv[1:4]
URL = "redis://%s:%s/0" % (HOST, PORT)
JOBS = 100

app = Celery(NAME, broker=URL, backend=URL)
app.conf.update(task_default_queue=NAME, broker_connection_retry_on_startup=True, worker_hijack_root_logger=False,
                result_expires=600, broker_transport_options={"visibility_timeout": 600})


@app.task(name="double")
def double(i):
    return 2 * i


@app.task(name="total")
def total(numbers):
    return sum(numbers)


@app.task(name="fragile", bind=True, max_retries=2)
def fragile(self, i):
    if self.request.retries == 0:
        raise self.retry(countdown=0.1)
    return i


def run():
    worker = subprocess.Popen([sys.executable, __file__, HOST, PORT, NAME, "worker"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        results = [double.delay(i) for i in range(JOBS)]
        assert [r.get(timeout=60) for r in results] == [2 * i for i in range(JOBS)]
        assert group(fragile.s(i) for i in range(10))().get(timeout=60) == list(range(10))
        assert chord((double.s(i) for i in range(10)), total.s())().get(timeout=60) == 90
        print("ok jobs: %d done, 10 after a retry, a chord of 10" % JOBS)
    finally:
        worker.terminate()
        try:
            out = worker.communicate(timeout=20)[0]
        except subprocess.TimeoutExpired:
            worker.kill()
            out = worker.communicate()[0]
        if sys.exc_info()[0]:
            sys.stderr.write(out.decode(errors="replace")[-2000:])


if __name__ == "__main__":
    if len(sys.argv) > 4:
        app.worker_main(["worker", "--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle", "--loglevel=warning", "-Q", NAME])
    else:
        run()
