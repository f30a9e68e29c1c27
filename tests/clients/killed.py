"""What the programs share while a node of the ring is killed under them: see killed.mjs."""
import os
import time

import redis

KILLED = os.environ.get("CLIENT_KILLED")


def is_killed():
    return os.path.exists(KILLED)


def passes(e):
    return isinstance(e, (redis.ConnectionError, OSError)) or str(e).startswith(("NOQUORUM", "TRYAGAIN"))


def again(run, unsure=None):
    """As users do: fifty times in five seconds. `unsure` gets one element for each try that may have done something."""
    for tries in range(50):
        try:
            return run()
        except (redis.RedisError, OSError) as e:
            if tries == 49 or not passes(e):
                raise
            if unsure is not None:
                unsure.append(e)
            time.sleep(0.1)


def until(before, more, add):
    """Adds things one by one until the node is dead, and `more` afterwards; returns how many. `before` counts as half."""
    count = after = 0
    while after < more:
        after += is_killed()
        add(count)
        count += 1
        if count == before:
            print("half", flush=True)
    return count
