// Random effects of one key, as a ring could make them: few ids, versions and nodes, so that they
// collide; every version is one write. A type with elements of its own shape adds a row to
// `shapes`.
#pragma once

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "record/apply.h"
#include "types/list_id.h"
#include "types/stream_parts.h"
#include "types/zset_collection.h"

namespace gyre::test {

// The ids and payloads that a type's elements may have.
struct Shape {
  TypeId type;
  bool sums;
  std::string (*payload)(Random& random);
  std::string (*id)(Random& random);
};

inline std::string any_id(Random& random) {
  constexpr std::string_view ids[] = {"a", "b", "c", "d", "", "longer"};
  return std::string(ids[random.below(std::size(ids))]);
}

// A position and the version of a push, as in types/list_id.h; some positions of odd length.
inline std::string list_id(Random& random) {
  const std::uint64_t which = random.below(7);
  std::string id;
  put_be64(id, list_origin + which / 2);
  if (which == 3) id += "m";
  put_be64(id, (which + 1) << Version::tick_shift | 8 * (which % 3));
  return id;
}

// Entries, the head, and what belongs to two groups; some ids that no node makes.
inline std::string stream_id(Random& random) {
  const StreamId entry{1 + random.below(3), random.below(2)};
  const std::string group = random.below(2) ? "g" : "";
  switch (random.below(8)) {
    case 0:
      return std::string(stream_element::head);
    case 1:
      return stream_element::of_group(group);
    case 2:
      return stream_element::of_consumer(group, random.below(2) ? "c" : "d");
    case 3:
    case 4:
      return stream_element::of_pending(group, entry);
    case 5:
      return any_id(random);
    default: {
      char id[stream_element::entry_bytes];
      return std::string(stream_element::put_entry(id, entry));
    }
  }
}

// A delivery to one of three consumers, or anything else.
inline std::string stream_payload(Random& random) {
  if (random.below(4) == 0) return std::to_string(random.below(100));
  constexpr std::string_view consumers[] = {"c", "d", "a longer name of one"};
  return StreamDelivery{static_cast<UnixMs>(random.below(9)), random.below(3),
                        consumers[random.below(3)]}
      .encode();
}

inline std::string any_payload(Random& random) {
  // Past 64 bytes a small collection becomes large.
  if (random.below(12) == 0) return std::string(70 + random.below(9), 'v');
  return std::to_string(random.below(100));
}

inline constexpr Shape shapes[] = {
    {TypeId::string, true, any_payload, [](Random&) { return std::string(); }},
    {TypeId::hash, true, any_payload, any_id},
    {TypeId::list, false, any_payload, list_id},
    {TypeId::set, false,
     [](Random& random) { return random.below(40) ? std::string() : std::string(65, 's'); },
     any_id},
    {TypeId::zset, true,
     [](Random& random) {
       const ScoreBytes score = encode_score(static_cast<double>(random.below(6)) - 2.5);
       return std::string(score.data(), score.size());
     },
     any_id},
    {TypeId::stream, false, stream_payload, stream_id},
};

inline const Shape* shape_of(TypeId type) {
  for (const Shape& s : shapes) {
    if (s.type == type) return &s;
  }
  return nullptr;
}

struct RandomEffects {
  static constexpr std::string_view key = "key";
  // Half a millisecond: expiries fall between the writes.
  static constexpr std::uint64_t tick = std::uint64_t{1} << (Version::counter_bits - 1);

  // one_type: of none, mixed. in_order: as one node alone writes: ascending, own registers, no sums
  // but those of this effect.
  RandomEffects(Random& source, std::size_t count, TypeId one_type, bool in_order)
      : random(source), type(one_type), ordered(in_order) {
    std::vector<std::uint64_t> ticks;
    for (std::uint64_t t = 1; t <= count + 3; ++t) ticks.push_back(t * tick);
    // Some ticks are used by several nodes.
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t at = ordered ? (i + 1) * tick : ticks[random.below(ticks.size())];
      const Version v{at << Version::tick_shift | (ordered ? 8 : 8 * (1 + random.below(3)))};
      if (std::find(versions.begin(), versions.end(), v) == versions.end()) versions.push_back(v);
    }
    for (const Version v : versions) effects.push_back(make(v));
  }

  std::string_view keep(std::string text) { return texts.emplace_back(std::move(text)); }
  Version earlier(Version v) {
    const Version any = versions[random.below(versions.size())];
    return any < v ? any : Version{};
  }

  Effect make(Version v) {
    Effect e;
    e.key = key;
    e.version = v;
    const std::uint64_t kind = random.below(20);
    if (kind == 0) {
      e.floor = v;  // DEL
      return e;
    }
    e.type = type == TypeId::none ? shapes[random.below(std::size(shapes))].type : type;
    if (random.below(5) == 0) e.expiry = {random.below(3) ? instant(v) : 0, v};
    if (kind == 1) {
      e.expiry = {instant(v), v};  // EXPIRE
      return e;
    }
    if (kind < 5) {
      e.floor = v.before();  // an overwrite
    } else if (kind < 9 && !ordered) {
      e.floor = earlier(v);  // the record's floor where it was written
    }
    const std::size_t changes = e.type == TypeId::string ? 1 : 1 + random.below(4);
    for (std::size_t i = 0; i < changes; ++i) add_change(e);
    return e;
  }

  // Mostly soon after the write, also before it, and never the same for two.
  UnixMs instant(Version v) {
    return v.ms() + static_cast<UnixMs>(random.below(2) ? random.below(6) : v.bits % 1000) - 1;
  }

  void add_change(Effect& e) {
    Change c;
    const Shape& shape = *shape_of(e.type);
    c.id = keep(shape.id(random));
    for (const Change& other : e.changes) {
      if (other.id == c.id) return;
    }
    c.version = e.version;
    const std::uint64_t kind = random.below(10);
    if (kind < 3 && !ordered && shape.sums) {
      // Opened by this write, or by an earlier one of the same node.
      c.sum = e.version;
      const Version other = earlier(e.version);
      if (other && other.node() == e.version.node()) c.sum = other;
      c.payload = keep(std::to_string(random.below(20)));
    } else if (kind < 5 && (e.type != TypeId::string || !ordered)) {
      c.tombstone = true;
    } else {
      c.payload = keep(shape.payload(random));
    }
    e.changes.push_back(c);
  }

  Random& random;
  TypeId type;
  bool ordered;
  std::vector<Version> versions;
  std::deque<std::string> texts;
  std::vector<Effect> effects;
};

// What a record holds, in one order for all replicas.
inline std::string content_of(const Effect& e) {
  std::string out = std::to_string(static_cast<int>(e.type)) + " floor " +
                    std::to_string(e.floor.bits) + " expiry " + std::to_string(e.expiry.at_ms) +
                    "@" + std::to_string(e.expiry.version.bits);
  std::vector<std::string> lines;
  for (const Change& c : e.changes) {
    lines.push_back("\n  " + std::string(c.id) + " " + std::to_string(c.version.bits) + " sum " +
                    std::to_string(c.sum.bits) + (c.tombstone ? " gone " : " = ") +
                    std::string(c.payload));
  }
  std::sort(lines.begin(), lines.end());
  for (const std::string& line : lines) out += line;
  return out;
}

inline std::string content_of(const Node* n) {
  if (!n) return "none";
  Effect e;
  record_effect(*n, {0}, {}, e);
  return content_of(e);
}

}  // namespace gyre::test
