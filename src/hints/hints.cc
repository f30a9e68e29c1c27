#include "hints/hints.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/probe.h"

namespace gyre {

std::string Hints::row(char kind, NodeIndex peer, Slot slot) {
  std::string out{row_prefix, kind};
  put_be16(out, peer.value);
  put_be16(out, slot.value);
  return out;
}

std::string Hints::hint_row(NodeIndex peer, const Name& name) {
  std::string out = row('h', peer, name.slot);
  put_u8(out, name.db.value);
  out.append(name.key);
  return out;
}

Kept Hints::note(NodeIndex peer, Slot slot, DbIndex db, std::string_view key, Version missed,
                 UnixMs now, StoreBatch& rows) {
  Peer& p = peers_[peer.value];
  if (p.marks.test(slot.value)) return Kept::marked;
  Name name{slot, db, std::string(key)};
  const auto at = p.hints.find(name);
  if (at != p.hints.end()) {
    at->second.latest = std::max(at->second.latest, missed);
    if (at->second.since <= missed) return Kept::hinted;
    at->second.since = missed;
  } else {
    if (p.hints.size() >= options_.hints_max) {
      ++dropped;
      ++p.dropped;
      GYRE_PROBE(hint_overflow);
      mark(peer, slot, rows);
      return Kept::marked;
    }
    p.add(name, Hint{missed, now, missed});
    ++written;
  }
  if (options_.persist) {
    std::string value;
    put_be64(value, missed.bits);
    put_be64(value, static_cast<std::uint64_t>(now));
    rows.put(hint_row(peer, name), value);
  }
  return Kept::hinted;
}

std::vector<std::pair<Hints::Name, Hints::Hint>> Hints::take(NodeIndex peer,
                                                             std::size_t limit) const {
  std::vector<std::pair<Name, Hint>> out;
  for (const auto& [name, hint] : peers_[peer.value].hints) {
    if (out.size() >= limit) break;
    out.emplace_back(name, hint);
  }
  return out;
}

void Hints::delivered(NodeIndex peer, const Name& name, const Hint& taken, StoreBatch& rows) {
  Peer& p = peers_[peer.value];
  const auto at = p.hints.find(name);
  if (at == p.hints.end() || at->second.since < taken.since || at->second.latest != taken.latest)
    return;
  if (options_.persist) rows.erase(hint_row(peer, name));
  p.erase(at);
  ++replayed;
}

void Hints::drop_to_mark(NodeIndex peer, const Name& name, StoreBatch& rows) {
  Peer& p = peers_[peer.value];
  const auto at = p.hints.find(name);
  if (at == p.hints.end()) return;
  if (options_.persist) rows.erase(hint_row(peer, name));
  p.erase(at);
  ++dropped;
  ++p.dropped;
  mark(peer, name.slot, rows);
}

void Hints::expire(UnixMs now, StoreBatch& rows) {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    std::vector<Name> old;
    UnixMs oldest = 0;
    for (const auto& [name, hint] : peers_[i].hints) {
      if (now - hint.made_ms > options_.age_max_ms) {
        old.push_back(name);
      } else if (oldest == 0 || hint.made_ms < oldest) {
        oldest = hint.made_ms;
      }
    }
    if (!old.empty()) GYRE_PROBE(hint_overflow);
    for (const Name& name : old) drop_to_mark(peer, name, rows);
    peers_[i].oldest_ms = oldest;
  }
}

void Hints::mark(NodeIndex peer, Slot slot, StoreBatch& rows) {
  Peer& p = peers_[peer.value];
  if (p.marks.test(slot.value)) return;
  p.marks.set(slot.value);
  if (options_.persist) rows.put(row('m', peer, slot), "");
}

void Hints::clear_mark(NodeIndex peer, Slot slot, StoreBatch& rows) {
  Peer& p = peers_[peer.value];
  if (!p.marks.test(slot.value)) return;
  p.marks.reset(slot.value);
  if (options_.persist) rows.erase(row('m', peer, slot));
}

std::vector<std::uint16_t> Hints::marks(NodeIndex peer) const {
  std::vector<std::uint16_t> out;
  const auto& marks = peers_[peer.value].marks;
  if (marks.none()) return out;
  for (std::size_t s = 0; s < slots_total; ++s) {
    if (marks.test(s)) out.push_back(static_cast<std::uint16_t>(s));
  }
  return out;
}

std::size_t Hints::pending() const {
  std::size_t n = 0;
  for (const Peer& p : peers_) n += p.hints.size();
  return n;
}

std::size_t Hints::marks_total() const {
  std::size_t n = 0;
  for (const Peer& p : peers_) n += p.marks.count();
  return n;
}

Result<void> Hints::load_row(std::string_view key, std::string_view value) {
  Reader in(key);
  in.u8();
  const char kind = static_cast<char>(in.u8());
  const NodeIndex peer{in.be16()};
  const Slot slot{in.be16()};
  const auto bad = [] { return Error(Errc::corrupt, "the store holds a bad hint"); };
  if (!in.ok() || slot.value >= slots_total) return bad();
  // A node that left the ring's list takes its hints along.
  if (peer.value >= peers_.size()) return {};
  if (kind == 'm') {
    peers_[peer.value].marks.set(slot.value);
    return {};
  }
  Name name{slot, {in.u8()}, {}};
  if (kind != 'h' || !in.ok()) return bad();
  name.key.assign(in.rest());
  Reader v(value);
  Hint hint;
  hint.since = {v.be64()};
  hint.made_ms = static_cast<UnixMs>(v.be64());
  if (!v.finished()) return bad();
  peers_[peer.value].add(name, hint);
  return {};
}

}  // namespace gyre
