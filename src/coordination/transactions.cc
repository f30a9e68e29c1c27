#include "coordination/transactions.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/numbers.h"
#include "base/probe.h"
#include "ring/slot.h"
#include "shard/lookup.h"

namespace gyre {

namespace {

// Of a command whose node stopped answering: nobody can say.
bool may_have_run(std::string_view reply) {
  return reply.starts_with("-NOQUORUM") &&
         reply.find("nothing was written") == std::string_view::npos;
}

}  // namespace

bool bulks_of(std::string_view resp, std::vector<std::string_view>& to) {
  const auto number = [&](char kind) -> std::optional<std::size_t> {
    const std::size_t end = resp.find("\r\n");
    if (resp.empty() || resp[0] != kind || end == std::string_view::npos) return {};
    const auto n = parse_int(resp.substr(1, end - 1));
    if (!n || *n < 0) return {};
    resp.remove_prefix(end + 2);
    return static_cast<std::size_t>(*n);
  };
  const auto count = number('*');
  for (std::size_t i = 0; count && i < *count; ++i) {
    const auto size = number('$');
    if (!size || resp.size() < *size + 2) return false;
    to.push_back(resp.substr(0, *size));
    resp.remove_prefix(*size + 2);
  }
  return count.has_value();
}

// Every slot that it holds, as it was copied. A key that was not (SORT BY) is noted: the
// transaction runs again with it, and what follows from its absence now is dropped.
class Transactions::Copies final : public KeySpaces {
 public:
  Copies(Transactions& all, Transaction& t) : all_(all), t_(t) {}
  KeySpace& of(Slot slot) override {
    const auto at = t_.places.find(slot.value);
    GYRE_ASSERT(at != t_.places.end() && at->second.space);
    return *at->second.space;
  }
  KeySpace& of_key(Slot slot, DbIndex db, std::string_view key) override {
    const auto at = t_.places.find(slot.value);
    if (at != t_.places.end() && at->second.copied.contains({db.value, std::string(key)}))
      return *at->second.space;
    all_.want(t_, db, key);
    t_.wants_more = true;
    std::unique_ptr<KeySpace>& none = absent_[slot.value];
    if (!none)
      none = std::make_unique<KeySpace>(
          KeySpaceOptions{.first = slot, .slots = 1, .databases = all_.space_.databases()});
    return *none;
  }
  bool whole() const override { return true; }

 private:
  Transactions& all_;
  Transaction& t_;
  std::map<std::uint16_t, std::unique_ptr<KeySpace>> absent_;
};

class Transactions::Collector final : public EffectSink {
 public:
  explicit Collector(Transaction& t) : t_(t) {}
  void made(Slot slot, std::uint64_t, const Effect& effect, const ApplyResult&) override {
    const auto at = t_.places.find(slot.value);
    if (at == t_.places.end()) return;  // in vain: it runs again
    Place& place = at->second;
    place.written.emplace(effect.db.value, effect.key);
    Effect& kept = const_cast<Effect&>(effect);
    // What it was computed from is what the slot's hold has kept.
    const bool based = std::exchange(kept.has_base, false);
    const Version base = kept.base;
    if (based) kept.base = {};
    encode_effect(place.effects, kept);
    kept.has_base = based;
    kept.base = base;
  }

 private:
  Transaction& t_;
};

// What is published leaves when the transaction is committed.
class Transactions::Events final : public Publisher {
 public:
  Events(Transaction& t, Publisher& to) : t_(t), to_(to) {}
  std::uint64_t publish(ChannelKind kind, std::string_view channel,
                        std::string_view message) override {
    t_.events.emplace_back(
        [&to = to_, kind, channel = std::string(channel), message = std::string(message)] {
          to.publish(kind, channel, message);
        });
    return to_.listeners(kind, channel);
  }

 private:
  Transaction& t_;
  Publisher& to_;
};

// A script may call everything that has keys; what it has not declared is copied, and it runs
// again.
class Transactions::Guard final : public ScriptGuard {
 public:
  Guard(Transactions& all, Transaction& t) : all_(all), t_(t) {}
  std::optional<Error> refuses(const CommandSpec& spec, Args args, DbIndex db) override {
    missing_ = false;
    for_each_key(spec, args, [&](std::size_t i) {
      const auto place = t_.places.find(key_slot(args[i]).value);
      if (place != t_.places.end() &&
          place->second.copied.contains({db.value, std::string(args[i])}))
        return;
      all_.want(t_, db, args[i]);
      missing_ = true;
    });
    if ((spec.flags & flag::write) && !t_.writes) {
      t_.writes = missing_ = true;
    }
    if (missing_) return Error(Errc::err, "a key that the script does not declare");
    return {};
  }
  void called(const CommandSpec&, Args, DbIndex) override {}
  bool begin_anew(bool) override {
    t_.wants_more |= missing_;
    return missing_;
  }

 private:
  Transactions& all_;
  Transaction& t_;
  bool missing_ = false;
};

Transactions::Transactions(TransactionHost& host, Holds& holds, KeySpace& space, ShardIndex shard,
                           int replicas, const Clock& clock, Random& random,
                           const CommandOptions& command_options, Metrics& metrics)
    : host_(host),
      holds_(holds),
      space_(space),
      shard_(shard),
      n_(replicas),
      clock_(clock),
      random_(random),
      command_options_(command_options),
      metrics_(metrics) {}

Transactions::~Transactions() = default;

Transactions::Transaction* Transactions::find(std::uint64_t id) {
  const auto at = running_.find(id);
  return at == running_.end() ? nullptr : at->second.get();
}

void Transactions::begin(Request&& request) {
  if (running_.size() >= transactions_max) {
    std::string out;
    Reply(out, 2).error(Error(Errc::limit, "too many transactions over several slots at once"));
    return host_.finish(request.ticket, std::move(out));
  }
  metrics_.spanning_transactions.add();
  auto owned = std::make_unique<Transaction>();
  Transaction& t = *owned;
  t.id = next_id_++;
  t.request = std::move(request);
  t.stamps = 16;
  for (const OwnedCommand& c : t.request.commands) {
    t.writes |= (flags_of(c.spec(), c.args()) & flag::write) != 0;
    t.stamps += c.spec().flags & flag::script_call ? 16 : 4;
    for_each_key(c.spec(), c.args(), [&](std::size_t i) { want(t, c.db(), c.args()[i]); });
  }
  for (const Watch& w : t.request.watches) want(t, w.db, w.key);
  running_.emplace(t.id, std::move(owned));
  begin_again(t);
}

void Transactions::want(Transaction& t, DbIndex db, std::string_view key) {
  t.places[key_slot(key).value].names.emplace(db.value, key);
}

bool Transactions::run() {
  if (answers_.empty()) return false;
  while (!answers_.empty() && !host_.pauses()) {
    const std::function<void()> answer = std::move(answers_.front());
    answers_.pop_front();
    answer();
  }
  return true;
}

void Transactions::tick(SteadyMs now) {
  std::vector<std::uint64_t> due;
  for (const auto& [id, t] : running_) {
    if (t->settle_at != 0 && now >= t->settle_at) due.push_back(id);
  }
  for (const std::uint64_t id : due) settle(*find(id));
}

// ---- holding

// Under a new name: what was sent under the old one says nothing any more.
void Transactions::begin_again(Transaction& t) {
  if (++t.tries > tries_max) return give_up(t, {});
  release_all(t);
  t.name.clear();
  put_be64(t.name, space_.clock().stamp(clock_.wall_ms()).bits);
  put_be16(t.name, shard_.value);
  for (auto& [slot, place] : t.places) {
    place.head.clear();
    place.copied.clear();
    place.space.reset();
  }
  ask_holds(t);
}

void Transactions::ask_holds(Transaction& t) {
  t.next = &Transactions::holds_answered;
  t.busy = t.lost = false;
  t.error.clear();
  for (auto& [slot, place] : t.places) {
    place.effects.clear();
    place.written.clear();
    place.sent = Place::Sent::nothing;
    if (place.held && place.copied.size() == place.names.size()) continue;
    ask_hold(t, {slot}, place);
    if (t.in_order || t.out >= holds_at_once) return;
  }
  if (t.out == 0) {  // everything is here
    answers_.emplace_back([this, id = t.id] {
      if (Transaction* again = find(id)) holds_answered(*again);
    });
  }
}

void Transactions::ask_hold(Transaction& t, Slot slot, Place& place) {
  Request r;
  r.slot = slot;
  r.exec = true;
  r.levels = t.request.levels;
  r.tracking = t.request.tracking;
  const bool above = std::none_of(t.places.begin(), t.places.end(), [&](const auto& p) {
    return p.second.held && p.first > slot.value;
  });
  const std::string key = part_key(slot, t.name);
  // It has those that it took the slot with.
  const std::string stamps = std::to_string(place.held ? 1 : t.stamps);
  const std::string_view words[] = {t.writes ? "GYRE.HOLDWRITE" : "GYRE.HOLD", key,
                                    t.in_order && above ? "wait" : "now", stamps};
  r.commands.emplace_back(*lookup_command(Args(words)), prepared_db, Args(words));
  for (const Name& name : place.names) {
    if (place.held && place.copied.contains(name)) continue;
    const std::string_view record[] = {"GYRE.RECORD", name.second};
    r.commands.emplace_back(*lookup_command(Args(record)), DbIndex{name.first}, Args(record));
  }
  ++t.out;
  place.asked = true;
  host_.run_at(std::move(r), [this, alive = std::weak_ptr<bool>(alive_), id = t.id, slot,
                              name = t.name](std::string&& reply) {
    if (alive.expired()) return;
    answers_.emplace_back([this, id, slot, name, reply = std::move(reply)] {
      Transaction* of = find(id);
      if (of && of->name == name) take_hold(*of, slot, reply);
    });
  });
}

void Transactions::take_hold(Transaction& t, Slot slot, const std::string& reply) {
  Place& place = t.places.at(slot.value);
  if (reply.starts_with('*') && copy(slot, place, reply)) {
    place.held = true;
  } else if (reply.find("-HELD") != std::string::npos ||
             reply.find(came_too_late) != std::string::npos) {
    t.busy = true;
  } else if (may_have_run(reply)) {
    t.lost = true;
  } else if (t.error.empty()) {
    const std::size_t at = reply.starts_with('*') ? reply.find('-') : 0;
    t.error = at == std::string::npos ? "" : reply.substr(at, reply.find("\r\n", at) + 2 - at);
    if (!t.error.starts_with('-')) t.error = "-ERR a hold that cannot be read\r\n";
  }
  if (--t.out == 0) (this->*t.next)(t);
}

// Makes the copies. False: the reply is none.
bool Transactions::copy(Slot slot, Place& place, std::string_view reply) {
  std::vector<std::string_view> bulks;
  if (!bulks_of(reply, bulks) || bulks.empty() || bulks[0].size() != 3 * sizeof(std::uint64_t))
    return false;
  if (!place.space) {
    place.head = bulks[0];
    make_space(slot, place);
  }
  std::size_t i = 1;
  for (const Name& name : place.names) {
    if (place.copied.contains(name)) continue;
    if (i == bulks.size()) return false;
    const std::string_view record = bulks[i++];
    const auto newest = put_copy(slot, place, name, record);
    if (!newest) return false;
    place.copied.emplace(name, Place::Copied{std::string(record), *newest});
  }
  return true;
}

// It runs on the stamps of who acts there.
void Transactions::make_space(Slot slot, Place& place) const {
  Reader head(place.head);
  const Version from{head.be64()}, started{head.be64()}, repaired{head.be64()};
  place.space =
      std::make_unique<KeySpace>(KeySpaceOptions{.first = slot,
                                                 .slots = 1,
                                                 .databases = space_.databases(),
                                                 .persist = false,
                                                 .keep_tombstones = n_ > 1,
                                                 .clock_node = from.node(),
                                                 .stub_grace_ms = space_.options().stub_grace_ms,
                                                 .sum_life_ms = space_.options().sum_life_ms});
  if (n_ > 1) place.space->load_agreement(slot, repaired, repaired, false);
  place.first_stamp = from;
  HybridClock& clock = place.space->clock();
  clock.see(from);
  clock.set_started(started);
  clock.stand_still();
}

std::optional<Version> Transactions::put_copy(Slot slot, Place& place, const Name& name,
                                              std::string_view record) {
  Reader in(record);
  const Version floor{in.be64()}, newest{in.be64()};
  if (!in.ok()) return std::nullopt;
  if (floor) place.space->raise_floor(slot, {name.first}, floor);
  if (in.left() > 0) {
    Effect effect;
    if (!decode_effect(in, effect) || !valid_effect(effect)) return std::nullopt;
    place.space->merge(slot, key_hash(effect.key), effect);
  }
  return newest;
}

void Transactions::holds_answered(Transaction& t) {
  // A hold that nobody knows of is none.
  if (t.lost && ++t.rounds_lost > rounds_lost_max && t.error.empty())
    Reply(t.error, 2)
        .error(
            Error(Errc::no_quorum, "who acts for these keys did not answer; nothing was written"));
  if (!t.error.empty()) return give_up(t, std::move(t.error));
  if (t.busy || t.lost) {
    metrics_.spanning_waits.add();
    t.in_order = true;
    return begin_again(t);
  }
  for (const auto& [slot, place] : t.places) {
    if (!place.held || place.copied.size() != place.names.size()) return ask_holds(t);  // the rest
  }
  for (const OwnedCommand& c : t.request.commands) {
    if (!(c.spec().flags & flag::script_call)) continue;
    return host_.run_apart([this, id = t.id] { execute(id); });
  }
  execute(t.id);
}

// ---- running

void Transactions::execute(std::uint64_t id) {
  Transaction& t = *find(id);
  bool again = false;
  t.events.clear();
  t.wants_more = false;
  t.reply.clear();
  run_commands(t, t.reply, again);
  if (!again) return executed(t);
  // Anew, on fresh copies.
  if (++t.runs > runs_max) return give_up(t, {});
  for (auto& [slot, place] : t.places) {
    if (place.effects.empty()) continue;
    make_space({slot}, place);
    for (const auto& [name, copied] : place.copied) put_copy({slot}, place, name, copied.record);
  }
  ask_holds(t);
}

void Transactions::run_commands(Transaction& t, std::string& out, bool& again) {
  const Request& r = t.request;
  const UnixMs now = clock_.wall_ms();
  Reply reply(out, r.protocol);
  for (const Watch& w : r.watches) {
    const KeySpace& space = *t.places.at(key_slot(w.key).value).space;
    const Node* n = space.find(key_slot(w.key), w.db, w.key, key_hash(w.key));
    const bool there = n && record_live(*n) && !record_expired(*n, now);
    if ((there ? record_newest(*n) : Version{}) != w.version) return reply.null_array();
  }
  if (r.exec) reply.array(r.commands.size());
  Copies copies(*this, t);
  Collector sink(t);
  Events events(t, host_.publisher());
  Guard guard(*this, t);
  for (const OwnedCommand& c : r.commands) {
    CommandContext ctx(c.args(), reply, c.db(), now, copies, &sink, random_, command_options_);
    ctx.publish_to(events, c.spec());
    if (c.spec().flags & flag::script_call) {
      ctx.scripts = scripts_;
      ctx.guard = &guard;
      ctx.rights = c.rights.get();
    }
    c.spec().run(ctx);
    again = t.wants_more;
    if (again) return;
    metrics_.keyspace_hits.add(ctx.hits);
    metrics_.keyspace_misses.add(ctx.misses);
  }
}

// Whether it touched a key that it does not declare: the next run may want any.
bool Transactions::wanders(const Transaction& t) {
  for (const auto& [slot, place] : t.places) {
    for (const Name& name : place.names) {
      const bool declared = std::any_of(
          t.request.commands.begin(), t.request.commands.end(), [&](const OwnedCommand& c) {
            bool found = false;
            for_each_key(c.spec(), c.args(), [&](std::size_t i) {
              found |= c.db().value == name.first && c.args()[i] == name.second;
            });
            return found;
          });
      if (!declared) return true;
    }
  }
  return false;
}

void Transactions::executed(Transaction& t) {
  std::size_t parts = 0;
  for (const OwnedCommand& c : t.request.commands) {
    if (c.spec().flags & flag::script_call) host_.reached(c, t.places.size() != 1 || wanders(t));
  }
  for (const auto& [slot, place] : t.places) {
    parts += !place.effects.empty();
    // More stamps than were reserved: again with more of them.
    if (const auto used =
            (place.space->clock().peek(0).bits - place.first_stamp.bits) >> Version::tick_shift;
        static_cast<std::int64_t>(used) > t.stamps) {
      t.stamps *= 8;
      return begin_again(t);
    }
  }
  if (parts == 0) return answer(t), release_all(t), forget(t.id);
  send_parts(t);
}

// ---- ending

void Transactions::send_parts(Transaction& t) {
  std::string slots;
  std::size_t parts = 0;
  for (const auto& [slot, place] : t.places) {
    if (place.effects.empty()) continue;
    put_be16(slots, slot);
    ++parts;
  }
  t.next = &Transactions::parts_answered;
  t.sent_at = clock_.steady_ms();
  for (auto& [slot, place] : t.places) {
    if (place.effects.empty()) continue;
    std::string seen;
    for (const auto& [name, copied] : place.copied)
      encode_seen(seen, {.db = {name.first}, .key = name.second, .newest = copied.newest});
    place.sent = Place::Sent::asked;
    ++t.out;
    std::vector<std::string> words;
    if (parts == 1)
      words = {"GYRE.APPLY", "", place.effects, seen};
    else
      words = {"GYRE.PREPARE", "", slots, place.effects, seen};
    step(t, {slot}, std::move(words),
         [this, slot = slot](Transaction& of, const std::string& reply) {
           Place& p = of.places.at(slot);
           p.sent = reply.starts_with('+') ? Place::Sent::done
                    : may_have_run(reply)  ? Place::Sent::unknown
                                           : Place::Sent::refused;
           if (p.sent != Place::Sent::done && (of.error.empty() || reply.starts_with("-TRYAGAIN")))
             of.error = reply;
           if (--of.out == 0) (this->*of.next)(of);
         });
  }
}

void Transactions::parts_answered(Transaction& t) {
  const auto any = [&](Place::Sent sent) {
    return std::any_of(t.places.begin(), t.places.end(),
                       [sent](const auto& p) { return p.second.sent == sent; });
  };
  if (!any(Place::Sent::refused) && !any(Place::Sent::unknown)) return committed(t);
  if (any(Place::Sent::refused)) {
    // One part is not prepared and never will be.
    GYRE_PROBE(spanning_refused);
    drop_parts(t);
    if (t.error.starts_with("-TRYAGAIN")) {
      metrics_.spanning_again.add();
      t.in_order = true;
      return begin_again(t);
    }
    return give_up(t, std::move(t.error));
  }
  GYRE_PROBE(spanning_unknown);
  settle(t);
}

void Transactions::drop_parts(Transaction& t) {
  for (auto& [slot, place] : t.places) {
    if (place.sent == Place::Sent::nothing || place.sent == Place::Sent::refused) continue;
    step_alone(t, {slot}, {"GYRE.DROP", ""});
    place.asked = false;
  }
}

void Transactions::settle(Transaction& t) {
  t.settle_at = 0;
  std::vector<Slot> parts;
  for (const auto& [slot, place] : t.places) {
    if (!place.effects.empty()) parts.push_back({slot});
  }
  // One alone is not prepared but applied, which leaves nothing to ask about.
  if (parts.size() == 1) return settled(t, Holds::Parts::unknown);
  holds_.ask_parts(parts, t.name,
                   [this, alive = std::weak_ptr<bool>(alive_), id = t.id, name = t.name](
                       Holds::Parts told, const std::string&) {
                     if (alive.expired()) return;
                     answers_.emplace_back([this, id, name, told] {
                       Transaction* of = find(id);
                       if (of && of->name == name) settled(*of, told);
                     });
                   });
}

void Transactions::settled(Transaction& t, Holds::Parts told) {
  const SteadyMs now = clock_.steady_ms();
  std::size_t parts = 0;
  for (const auto& [slot, place] : t.places) parts += !place.effects.empty();
  // What is told later may be of parts that are forgotten.
  const bool in_time = parts > 1 && now - t.sent_at < settle_max_ms;
  if (in_time && told == Holds::Parts::unknown) return void(t.settle_at = now + settle_again_ms);
  if (in_time && told == Holds::Parts::never) {
    drop_parts(t);
    metrics_.spanning_again.add();
    t.in_order = true;
    return begin_again(t);
  }
  if (in_time) {
    for (auto& [slot, place] : t.places) {
      if (!place.effects.empty()) place.sent = Place::Sent::done;
    }
    return committed(t);
  }
  // Those that may be prepared are settled by who acts for them.
  for (auto& [slot, place] : t.places) place.asked &= place.sent == Place::Sent::nothing;
  std::string out;
  Reply(out, 2).error(Errc::no_quorum);
  give_up(t, std::move(out));
}

void Transactions::committed(Transaction& t) {
  answer(t);
  std::vector<std::uint16_t> parts;
  for (auto& [slot, place] : t.places) {
    if (place.sent == Place::Sent::done) parts.push_back(slot);
  }
  if (parts.size() == 1) {  // applied, which gave its hold back
    t.places.at(parts[0]).asked = false;
    return release_all(t), forget(t.id);
  }
  t.next = nullptr;
  t.out = parts.size();
  t.error.clear();
  for (const std::uint16_t slot : parts) {
    t.places.at(slot).asked = false;
    step(t, {slot}, {"GYRE.COMMIT", ""}, [this, parts](Transaction& of, const std::string& reply) {
      if (!reply.starts_with('+')) of.error = reply;
      if (--of.out > 0) return;
      // A part that is still prepared somewhere asks the others, which must know then.
      if (of.error.empty()) {
        for (const std::uint16_t s : parts) step_alone(of, {s}, {"GYRE.FORGET", ""});
      }
      forget(of.id);
    });
  }
  release_all(t);
}

void Transactions::answer(Transaction& t) {
  for (auto& event : t.events) event();
  t.events.clear();
  host_.finish(t.request.ticket, std::move(t.reply));
}

// Nothing of it is stored, or nobody can say.
void Transactions::give_up(Transaction& t, std::string error) {
  if (error.empty()) Reply(error, 2).error(Errc::try_again);
  if (error.starts_with("-NOQUORUM")) metrics_.no_quorum_replies.add();
  host_.finish(t.request.ticket, std::move(error));
  release_all(t);
  forget(t.id);
}

void Transactions::release_all(Transaction& t) {
  for (auto& [slot, place] : t.places) {
    place.held = false;
    if (std::exchange(place.asked, false)) step_alone(t, {slot}, {"GYRE.RELEASE", ""});
  }
}

void Transactions::forget(std::uint64_t id) {
  running_.erase(id);
}

// ---- steps

void Transactions::step(const Transaction& t, Slot slot, std::vector<std::string> words,
                        std::function<void(Transaction&, const std::string&)> done) {
  words[1] = part_key(slot, t.name);
  const std::vector<std::string_view> args(words.begin(), words.end());
  Request r;
  r.slot = slot;
  r.levels = {.write = t.request.levels.write};
  r.tracking.reader = t.request.tracking.reader;
  r.commands.emplace_back(*lookup_command(Args(args)), prepared_db, Args(args));
  if (!done) return host_.run_at(std::move(r), [](std::string&&) {});
  host_.run_at(std::move(r), [this, alive = std::weak_ptr<bool>(alive_), id = t.id, name = t.name,
                              done = std::move(done)](std::string&& reply) {
    if (alive.expired()) return;
    answers_.emplace_back([this, id, name, done, reply = std::move(reply)] {
      Transaction* of = find(id);
      if (of && of->name == name) done(*of, reply);
    });
  });
}

void Transactions::step_alone(const Transaction& t, Slot slot, std::vector<std::string> words) {
  step(t, slot, std::move(words), nullptr);
}

}  // namespace gyre
