// MIGRATE: keys of this node, or of its ring, go to another server, and from here.
//
// Happy path: the client waits (its later commands too) -> each key is read where its slot is acted
// for: version, expiry and DUMP at one moment -> with the first that exists the connection is made,
// AUTH and SELECT are answered -> RESTORE for each, several on their way -> what the other side has
// acknowledged is deleted here, in a transaction that watches the version read -> OK, or NOKEY when
// there was none. Nothing blocks: keys, connection and client are all waited for by the loop.
//
// What holds: a key is deleted here only after the other side has answered OK for just the value
// that is still here. One that was changed meanwhile stays, in its new state, and the client is
// told; the other side then has the old one. So a key may be in both places after an error, never
// in none. Unlike Redis' the whole is not atomic: other clients see the keys go one by one.
//
// Failures: NOQUORUM and the like of this side and errors of the other are told, and the other keys
// go on; a connection that breaks, or makes no progress for `timeout`, is IOERR, and the keys that
// were not acknowledged stay. The client may go meanwhile: what was begun is finished.
// Bounds: out_most keys and out_bytes of values on their way for each client.
// Threading: its worker.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "coordination/request.h"
#include "net/loop.h"

namespace gyre {

class ClientLink;
class Worker;

// As asked for.
struct MigrateOrder {
  std::string host;
  std::uint16_t port = 0;
  std::vector<std::string> keys;
  std::string db;  // of the other side, checked by it
  std::int64_t timeout_ms = 1000;
  bool copy = false, replace = false;
  std::vector<std::string> auth;  // words of AUTH; none: it is not needed
  // Of the client.
  DbIndex from{};
  Levels levels;
};

class Migrations {
 public:
  explicit Migrations(Worker& worker);
  ~Migrations();
  // The reply fills the place that the client has in its line.
  void begin(MigrateOrder order, std::uint64_t client, std::uint64_t place);

 private:
  class Job;
  void ended(std::uint64_t number);

  Worker& worker_;
  std::uint64_t next_ = 1;
  std::unordered_map<std::uint64_t, std::unique_ptr<Job>> jobs_;
};

}  // namespace gyre
