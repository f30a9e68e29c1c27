/* hiredis against one port: PROGRAM HOST PORT PREFIX. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

static const char* prefix;

static void fail(const char* what, const redisContext* c) {
  fprintf(stderr, "failed: %s (%s)\n", what, c ? c->errstr : "");
  exit(1);
}

static redisContext* open_connection(char** argv) {
  redisContext* c = redisConnect(argv[1], atoi(argv[2]));
  if (!c || c->err) fail("connect", c);
  struct timeval patience = {20, 0};
  redisSetTimeout(c, patience);
  return c;
}

/* The command's reply, which must be of this type; and text or integer, when not NULL or below 0. */
static void check(redisContext* c, redisReply* r, int type, const char* text, long long integer,
                  const char* what) {
  if (!r || r->type != type || (text && strcmp(r->str, text)) ||
      (integer >= 0 && r->integer != integer)) {
    if (r && r->str) fprintf(stderr, "got: %s\n", r->str);
    fail(what, c);
  }
  freeReplyObject(r);
}

/* As users do: fifty times in five seconds, the tries that failed counted. */
static redisReply* again(redisContext* c, int* unsure, const char* command, const char* key, int of, int value) {
  for (int tries = 0; tries < 50; tries++) {
    redisReply* r = redisCommand(c, command, prefix, key, of, value);
    if (!r) fail(command, c);
    if (r->type != REDIS_REPLY_ERROR) return r;
    if (strncmp(r->str, "NOQUORUM", 8) && strncmp(r->str, "TRYAGAIN", 8)) {
      fprintf(stderr, "got: %s\n", r->str);
      fail(command, c);
    }
    ++*unsure;
    freeReplyObject(r);
    usleep(100000);
  }
  fail(command, c);
  return NULL;
}

/* Writes over all slots while a node of the ring dies, each acknowledged one read back; see killed.mjs. */
static void survive(redisContext* c, const char* killed) {
  int n = 0, after = 0, set = 0, incr = 0, push = 0;
  for (; after < 600; n++) {
    after += access(killed, F_OK) == 0;
    freeReplyObject(again(c, &set, "SET %s:%s:%d %d", "k", n, n));
    freeReplyObject(again(c, &incr, "INCRBY %s:%s:%d 1", "n", 0, 0));
    freeReplyObject(again(c, &push, "RPUSH %s:%s:%d %d", "list", n % 16, n));
    if (n + 1 == 300) puts("half");
  }
  int* pushed = calloc((size_t)n, sizeof *pushed);
  int total = 0;
  for (int i = 0; i < n; i++) {
    redisReply* r = again(c, &set, "GET %s:%s:%d", "k", i, 0);
    if (r->type != REDIS_REPLY_STRING || atoi(r->str) != i) fail("a key was lost", c);
    freeReplyObject(r);
  }
  for (int i = 0; i < 16; i++) {
    redisReply* r = again(c, &set, "LRANGE %s:%s:%d 0 -1", "list", i, 0);
    for (size_t j = 0; j < r->elements; j++, total++) pushed[atoi(r->element[j]->str)]++;
    freeReplyObject(r);
  }
  for (int i = 0; i < n; i++)
    if (!pushed[i]) fail("a push was lost", c);
  free(pushed);
  redisReply* r = again(c, &set, "GET %s:%s:%d", "n", 0, 0);
  int counted = atoi(r->str);
  freeReplyObject(r);
  if (counted < n || counted > n + incr || total > n + push) {
    fprintf(stderr, "of %d: %d counted, %d unsure; %d pushed, %d unsure\n", n, counted, incr, total, push);
    fail("counts", c);
  }
  printf("ok survived: %d writes, %d after the kill, %d tried again\n", 3 * n, 3 * after, set + incr + push);
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  prefix = argv[3];
  redisContext* c = open_connection(argv);
  check(c, redisCommand(c, "PING"), REDIS_REPLY_STATUS, "PONG", -1, "ping");
  check(c, redisCommand(c, "SET {%s}:a %b", prefix, "x\0y", (size_t)3), REDIS_REPLY_STATUS, "OK", -1, "set");
  redisReply* r = redisCommand(c, "GET {%s}:a", prefix);
  if (!r || r->len != 3 || memcmp(r->str, "x\0y", 3)) fail("get", c);
  freeReplyObject(r);
  puts("ok connection");

  for (int i = 0; i < 1000; i++) redisAppendCommand(c, "INCR {%s}:n", prefix);
  for (int i = 1; i <= 1000; i++) {
    void* reply = NULL;
    if (redisGetReply(c, &reply) != REDIS_OK) fail("pipeline", c);
    check(c, reply, REDIS_REPLY_INTEGER, NULL, i, "pipeline");
  }
  puts("ok pipelining");

  check(c, redisCommand(c, "WATCH {%s}:w", prefix), REDIS_REPLY_STATUS, "OK", -1, "watch");
  redisContext* other = open_connection(argv);
  check(other, redisCommand(other, "SET {%s}:w other", prefix), REDIS_REPLY_STATUS, "OK", -1, "set");
  check(c, redisCommand(c, "MULTI"), REDIS_REPLY_STATUS, "OK", -1, "multi");
  check(c, redisCommand(c, "SET {%s}:w lost", prefix), REDIS_REPLY_STATUS, "QUEUED", -1, "queued");
  check(c, redisCommand(c, "EXEC"), REDIS_REPLY_NIL, NULL, -1, "exec of a changed key");
  check(c, redisCommand(c, "MULTI"), REDIS_REPLY_STATUS, "OK", -1, "multi");
  check(c, redisCommand(c, "GET {%s}:w", prefix), REDIS_REPLY_STATUS, "QUEUED", -1, "queued");
  r = redisCommand(c, "EXEC");
  if (!r || r->elements != 1 || strcmp(r->element[0]->str, "other")) fail("exec", c);
  freeReplyObject(r);
  puts("ok transactions");

  check(c, redisCommand(c, "EVAL %s 1 {%s}:s 5", "return redis.call('INCRBY', KEYS[1], ARGV[1])", prefix),
        REDIS_REPLY_INTEGER, NULL, 5, "eval");
  puts("ok scripts");

  redisContext* listener = open_connection(argv);
  r = redisCommand(listener, "SUBSCRIBE {%s}:channel", prefix);
  if (!r || r->elements != 3 || strcmp(r->element[0]->str, "subscribe")) fail("subscribe", listener);
  freeReplyObject(r);
  redisReply* sent = redisCommand(c, "PUBLISH {%s}:channel hello", prefix);
  if (!sent || sent->type != REDIS_REPLY_INTEGER) fail("publish", c);
  freeReplyObject(sent);
  void* message = NULL;
  if (redisGetReply(listener, &message) != REDIS_OK) fail("message", listener);
  r = message;
  if (r->elements != 3 || strcmp(r->element[2]->str, "hello")) fail("message", listener);
  freeReplyObject(r);
  puts("ok pubsub");

  redisAppendCommand(other, "BLPOP {%s}:queue 10", prefix);
  int done = 0;
  while (!done) redisBufferWrite(other, &done);
  check(c, redisCommand(c, "RPUSH {%s}:queue x", prefix), REDIS_REPLY_INTEGER, NULL, 1, "rpush");
  if (redisGetReply(other, &message) != REDIS_OK) fail("blpop", other);
  r = message;
  if (r->elements != 2 || strcmp(r->element[1]->str, "x")) fail("blpop", other);
  freeReplyObject(r);
  check(c, redisCommand(c, "BLPOP {%s}:queue 0.1", prefix), REDIS_REPLY_NIL, NULL, -1, "blpop times out");
  puts("ok blocking");

  check(c, redisCommand(c, "XADD {%s}:stream 1-1 f v", prefix), REDIS_REPLY_STRING, "1-1", -1, "xadd");
  check(c, redisCommand(c, "XGROUP CREATE {%s}:stream g 0", prefix), REDIS_REPLY_STATUS, "OK", -1, "xgroup");
  r = redisCommand(c, "XREADGROUP GROUP g me STREAMS {%s}:stream >", prefix);
  if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != 1) fail("xreadgroup", c);
  freeReplyObject(r);
  check(c, redisCommand(c, "XACK {%s}:stream g 1-1", prefix), REDIS_REPLY_INTEGER, NULL, 1, "xack");
  puts("ok streams");
  if (getenv("CLIENT_KILLED")) survive(c, getenv("CLIENT_KILLED"));
  redisFree(listener);
  redisFree(other);
  redisFree(c);
  return 0;
}
