// Shadow: every effect that commands made, and those that were acknowledged, merged aside; what the
// replicas hold in the end is judged by them.
//
//   acked  what clients were promised: nothing of it may be missing, unless something higher that
//          was made covers it; and what it removed may not be there
//   made   everything that may be there: nothing else is
//
// Both are key spaces of their own, which see no time and purge nothing. Values of registers are
// kept with their versions, so that reads can be checked never to go back.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "coordination/engine.h"
#include "shard/keyspace.h"
#include "tools/sim/node.h"

namespace gyre::sim {

class Shadow final : public EffectWatch {
 public:
  Shadow(World& world, const SlotWindow& window, std::size_t databases);

  // Operations of fewer replicas than this promise nothing (their disks may be lost).
  int need_at_least = 1;

  void made(NodeIndex at, Slot slot, const Effect& effect) override;
  void acked(NodeIndex at, Slot slot, const Effect& effect, int need) override;
  void stamped_again(Slot slot, const Restamp& again) override;

  // Judges one replica's slot; violations go to the world.
  void judge(const KeySpace& replica, const std::string& name, Slot slot, UnixMs now);

  // A read at a quorum that began and ended then, of a register with this value.
  void quorum_read(DbIndex db, const std::string& key, const std::string& value, Us start, Us end,
                   const std::string& what);

 private:
  struct Written {
    std::string value;  // "(nil)": a removal
    Version version{};
  };
  struct Seen {
    Us end;
    Version lowest;
    std::string what;
  };
  // Stamped by a clock that was ahead: it may be stamped again, so it is not merged before it is,
  // or before the end.
  struct Ahead {
    Slot slot{};
    bool acked = false;
    std::string effect;
  };
  bool far_ahead(Slot slot, const Effect& effect, bool acked);
  void merge(KeySpace& space, Slot slot, const Effect& effect);
  void judge_record(const Node* there, const Node* made, const Node* acked, Version slot_floor,
                    Version deleted, const std::string& key, const std::string& name, UnixMs now);

  World& world_;
  KeySpace made_, acked_;
  std::vector<Ahead> ahead_;
  struct Under {
    Expiry expiry;
    int need;
  };
  std::map<std::pair<std::string, Version>, Under> under_;  // acknowledged under an expiry
  std::set<std::pair<std::string, Version>> at_one_;        // acknowledged at level one
  std::map<std::string, std::vector<Expiry>> expiries_;     // all that were set, by key
  std::map<std::pair<std::uint8_t, std::string>, Version>
      deleted_;                                          // floors of acknowledged effects
  std::map<std::string, std::vector<Written>> written_;  // registers, by key
  std::map<std::string, std::vector<Seen>> seen_;
};

}  // namespace gyre::sim
