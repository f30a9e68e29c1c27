#include "server/migrate.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/numbers.h"
#include "commands/table.h"
#include "net/client_link.h"
#include "ring/slot.h"
#include "server/join.h"
#include "server/server.h"
#include "server/session.h"
#include "server/worker.h"

namespace gyre {
namespace {

constexpr std::size_t out_most = 64;
constexpr std::size_t out_bytes = std::size_t{4} << 20;

// The contents of a bulk reply; nothing of a null one or an error.
std::optional<std::string_view> bulk_of(std::string_view reply) {
  const std::size_t line = reply.find("\r\n");
  if (!reply.starts_with('$') || reply.starts_with("$-") || line == reply.npos || reply.size() < 4)
    return std::nullopt;
  return reply.substr(line + 2, reply.size() - line - 4);
}

std::optional<std::int64_t> integer_of(std::string_view reply) {
  if (!reply.starts_with(':') || reply.size() < 4) return std::nullopt;
  return parse_int(reply.substr(1, reply.size() - 3));
}

const CommandSpec& spec_of(std::string_view name) {
  const CommandSpec* spec = find_command(name);
  GYRE_ASSERT(spec);
  return *spec;
}

}  // namespace

class Migrations::Job {
 public:
  Job(Migrations& all, std::uint64_t number, MigrateOrder order, std::uint64_t client,
      std::uint64_t place)
      : all_(all),
        worker_(all.worker_),
        number_(number),
        order_(std::move(order)),
        client_(client),
        place_(place),
        link_(worker_.loop()),
        watch_(worker_.loop()) {}

  void go_on();

 private:
  struct Value {
    std::string key, payload;
    UnixMs expires_at = 0;
    Version version{};
  };

  void read(std::string key);
  void was_read(const std::string& key, std::string_view reply);
  void connect();
  void greet();
  void greeted(const ReplyValue& reply, bool last);
  void send(Value value);
  void remove(const std::string& key, Version version);
  void removed(const std::string& key, std::string_view reply);
  void fail(std::string error);
  void lost();
  void look();
  Request request_of(std::string_view key) const;
  template <class F>
  void submit(Request&& r, F&& answered);

  Migrations& all_;
  Worker& worker_;
  const std::uint64_t number_;
  const MigrateOrder order_;
  const std::uint64_t client_, place_;
  std::size_t next_ = 0;  // of the keys
  std::size_t busy_ = 0;  // questions to this side that are out
  std::size_t found_ = 0, moved_ = 0, changed_ = 0;
  std::vector<Value> ready_;  // read, and not sent yet
  std::size_t bytes_ = 0;     // of what was read and is not acknowledged
  std::string error_;         // the first
  bool going_ = false, ended_ = false;

  ClientLink link_;
  enum class Way : std::uint8_t { none, connecting, greeting, open, lost } way_ = Way::none;
  Timer watch_;
  SteadyMs moved_at_ = 0;  // the last progress with the other side
  std::size_t pending_ = 0;
};

// ---- this side

Request Migrations::Job::request_of(std::string_view key) const {
  Request r;
  r.slot = key_slot(key);
  r.exec = true;
  r.levels = order_.levels.watching();
  return r;
}

template <class F>
void Migrations::Job::submit(Request&& r, F&& answered) {
  ++busy_;
  r.ticket = worker_.callback_ticket(
      [all = &all_, number = number_, answered](std::string&& reply, std::uint64_t) {
        const auto at = all->jobs_.find(number);
        if (at == all->jobs_.end()) return;
        Job& job = *at->second;
        --job.busy_;
        answered(job, std::string_view(reply));
        job.go_on();
      });
  worker_.submit(std::move(r));
}

void Migrations::Job::read(std::string key) {
  Request r = request_of(key);
  for (const std::string_view name : {"GYRE.VERSION", "PEXPIRETIME", "DUMP"}) {
    const std::string_view words[] = {name, key};
    r.commands.emplace_back(spec_of(name), order_.from, Args(words));
  }
  submit(std::move(r), [key](Job& job, std::string_view reply) { job.was_read(key, reply); });
}

void Migrations::Job::was_read(const std::string& key, std::string_view reply) {
  if (reply.starts_with('-')) return fail(std::string(reply));
  const auto parts = reply_elements(reply);
  if (parts.size() != 3) return fail("-ERR a key could not be read\r\n");
  for (const std::string_view part : parts) {
    if (part.starts_with('-')) return fail(std::string(part));
  }
  const auto version = integer_of(parts[0]), expires_at = integer_of(parts[1]);
  const auto payload = bulk_of(parts[2]);
  if (!version || !expires_at || !payload || way_ == Way::lost) return;
  ++found_;
  bytes_ += payload->size();
  ready_.push_back({.key = key,
                    .payload = std::string(*payload),
                    .expires_at = std::max<UnixMs>(0, *expires_at),
                    .version = Version{static_cast<std::uint64_t>(*version)}});
}

void Migrations::Job::remove(const std::string& key, Version version) {
  Request r = request_of(key);
  const std::string_view words[] = {"DEL", key};
  r.commands.emplace_back(spec_of("DEL"), order_.from, Args(words));
  r.watches.push_back({order_.from, key, version});
  submit(std::move(r), [key](Job& job, std::string_view reply) { job.removed(key, reply); });
}

void Migrations::Job::removed(const std::string& key, std::string_view reply) {
  if (reply.starts_with('-')) return fail(std::string(reply));
  if (const auto parts = reply_elements(reply); parts.size() == 1)
    return parts[0].starts_with('-') ? fail(std::string(parts[0])) : void(++moved_);
  if (changed_++ == 0)
    fail("-ERR the key '" + key.substr(0, 128) +
         "' was changed while it was copied: it stays here as it is now\r\n");
}

// ---- the other side

void Migrations::Job::connect() {
  way_ = Way::connecting;
  moved_at_ = worker_.now_ms();
  link_.on_up = [this] { greet(); };
  link_.on_down = [this](const std::string& why) {
    LOG_SELDOM(notice, "MIGRATE: the connection to %s port %u is gone: %s", order_.host.c_str(),
               unsigned{order_.port}, why.c_str());
    lost();
  };
  const auto every =
      static_cast<std::uint64_t>(std::clamp<std::int64_t>(order_.timeout_ms / 4, 5, 250));
  watch_.start(every, every, [this] {
    worker_.timer_ran();
    look();
  });
  link_.open(order_.host, order_.port);
}

void Migrations::Job::greet() {
  way_ = Way::greeting;
  if (!order_.auth.empty()) {
    const std::vector<std::string_view> words(order_.auth.begin(), order_.auth.end());
    link_.send(words, [this](const ReplyValue& reply) { greeted(reply, false); });
  }
  const std::string_view words[] = {"SELECT", order_.db};
  link_.send(words, [this](const ReplyValue& reply) { greeted(reply, true); });
}

// No key leaves before all is well: a database that could not be chosen would be the wrong one.
void Migrations::Job::greeted(const ReplyValue& reply, bool last) {
  moved_at_ = worker_.now_ms();
  if (way_ != Way::greeting) return;
  if (reply.type == ReplyType::error) {
    fail("-ERR Target instance replied with error: " + reply.text + "\r\n");
    return lost();
  }
  if (!last) return;
  way_ = Way::open;
  go_on();
}

void Migrations::Job::send(Value value) {
  // What is left of its time: the other side's clock may be another.
  std::int64_t ttl = 0;
  if (value.expires_at > 0) ttl = std::max<std::int64_t>(1, value.expires_at - worker_.wall_ms());
  const std::string left = std::to_string(ttl);
  std::vector<std::string_view> words{"RESTORE", value.key, left, value.payload};
  if (order_.replace) words.push_back("REPLACE");
  link_.send(words, [this, key = value.key, version = value.version,
                     bytes = value.payload.size()](const ReplyValue& reply) {
    moved_at_ = worker_.now_ms();
    bytes_ -= bytes;
    if (reply.type == ReplyType::error) {
      fail("-ERR Target instance replied with error: " + reply.text + "\r\n");
    } else if (order_.copy) {
      ++moved_;
    } else {
      remove(key, version);
    }
    go_on();
  });
}

// Only what stands still for the whole time-out: a large value may take longer.
void Migrations::Job::look() {
  const std::size_t pending = link_.pending_write_bytes();
  const bool waits = way_ == Way::connecting || link_.unanswered() > 0;
  if (!waits || pending != pending_) moved_at_ = worker_.now_ms();
  pending_ = pending;
  if (worker_.now_ms() - moved_at_ > order_.timeout_ms) lost();
}

// The connection is of no use any more.
void Migrations::Job::lost() {
  if (way_ == Way::connecting) {
    fail("-IOERR error or timeout connecting to the client\r\n");
  } else {
    fail(std::string("-IOERR error or timeout ") + (pending_ > 0 ? "writing" : "reading") +
         " to target instance\r\n");
  }
  way_ = Way::lost;
  ready_.clear();
  next_ = order_.keys.size();
  link_.end();
  watch_.stop();
  go_on();
}

// ---- the whole

void Migrations::Job::fail(std::string error) {
  if (error_.empty()) error_ = std::move(error);
}

void Migrations::Job::go_on() {
  // What this thread owns is answered at once, from within read().
  if (ended_ || going_) return;
  going_ = true;
  while (next_ < order_.keys.size() && busy_ + ready_.size() + link_.unanswered() < out_most &&
         bytes_ < out_bytes)
    read(order_.keys[next_++]);
  going_ = false;
  if (!ready_.empty() && way_ == Way::none) connect();
  if (way_ == Way::open) {
    for (Value& value : std::exchange(ready_, {})) send(std::move(value));
  }
  const bool all = next_ == order_.keys.size() && busy_ == 0 && ready_.empty() &&
                   (way_ == Way::lost || way_ == Way::none || link_.unanswered() == 0);
  if (!all) return;
  ended_ = true;
  watch_.stop();
  link_.end();
  worker_.metrics().migrated_keys.add(moved_);
  std::string reply = std::move(error_);
  if (reply.empty()) reply = found_ == 0 ? "+NOKEY\r\n" : "+OK\r\n";
  if (reply.starts_with('-')) worker_.count_error(spec_of("MIGRATE"), reply);
  finish_later(worker_, client_, place_, std::move(reply));
  all_.ended(number_);
}

Migrations::Migrations(Worker& worker) : worker_(worker) {}
Migrations::~Migrations() = default;

void Migrations::begin(MigrateOrder order, std::uint64_t client, std::uint64_t place) {
  const std::uint64_t number = next_++;
  auto job = std::make_unique<Job>(*this, number, std::move(order), client, place);
  Job& begun = *job;
  jobs_.emplace(number, std::move(job));
  begun.go_on();
}

// It ends inside its own callbacks, and goes in a later turn.
void Migrations::ended(std::uint64_t number) {
  worker_.post([number](Worker& w) { w.migrations().jobs_.erase(number); });
}

}  // namespace gyre
