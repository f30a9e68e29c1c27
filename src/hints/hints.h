// Hints: what each absent peer has missed, sent to it when it is back.
//
// A hint is (peer, slot, db, key, lowest version missed). Effects are states, so no value is kept:
// the record as it stands at delivery travels, and apply makes a second delivery harmless. Past its
// bound (number or age) a peer's hints are dropped and their (peer, slot) is marked as differing
// until a comparison finds it equal.
//
// Rows in the store, so that hints survive a restart (values: be64 version, be64 time):
//   | fe 'h' | peer be16 | slot be16 | db u8 | key |      and a mark:  | fe 'm' | peer be16 | slot
//   be16 |
//
// Invariants: hints per peer <= hints_max; whatever a peer missed is either hinted or marked.
// Threading:  one instance per shard, its thread alone; never blocks.
// Source:     Dynamo (SOSP 2007), section 4.6; hints without values are our own.
#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "persist/store_batch.h"
#include "record/version.h"

namespace gyre {

enum class Kept : std::uint8_t { hinted, marked };

class Hints {
 public:
  struct Options {
    std::size_t nodes = 1;
    std::size_t hints_max = 1'000'000;
    std::int64_t age_max_ms = 3 * 3600 * 1000;
    bool persist = false;
  };
  struct Name {
    Slot slot{};
    DbIndex db{};
    std::string key;
    auto operator<=>(const Name&) const = default;
  };
  struct Hint {
    Version since{};
    UnixMs made_ms = 0;
    Version latest{};  // the newest version missed; not stored
  };

  explicit Hints(const Options& options) : options_(options), peers_(options.nodes) {}

  Kept note(NodeIndex peer, Slot slot, DbIndex db, std::string_view key, Version missed, UnixMs now,
            StoreBatch& rows);
  // Up to `limit` hints in the order of their slots. They stay until delivered() names them.
  std::vector<std::pair<Name, Hint>> take(NodeIndex peer, std::size_t limit) const;
  // The peer has it; the hint stays when something was missed since it was `taken`.
  void delivered(NodeIndex peer, const Name& name, const Hint& taken, StoreBatch& rows);
  // Too large, or not to be sent: the slot is marked instead.
  void drop_to_mark(NodeIndex peer, const Name& name, StoreBatch& rows);
  // Drops what is older than the bound, marking its slots.
  void expire(UnixMs now, StoreBatch& rows);

  void mark(NodeIndex peer, Slot slot, StoreBatch& rows);
  void clear_mark(NodeIndex peer, Slot slot, StoreBatch& rows);
  bool marked(NodeIndex peer, Slot slot) const { return peers_[peer.value].marks.test(slot.value); }
  std::vector<std::uint16_t> marks(NodeIndex peer) const;

  std::size_t pending(NodeIndex peer) const { return peers_[peer.value].hints.size(); }
  std::size_t pending() const;
  std::size_t marks_total() const;
  // When the oldest hint was made, or somewhat before that until the next expire(); 0: no hints.
  UnixMs oldest_ms(NodeIndex peer) const { return peers_[peer.value].oldest_ms; }
  std::uint64_t dropped_for(NodeIndex peer) const { return peers_[peer.value].dropped; }
  std::size_t marks_count(NodeIndex peer) const { return peers_[peer.value].marks.count(); }

  // Recovery: one row of the store, its key from 'h' or 'm' on.
  static constexpr char row_prefix = '\xfe';
  Result<void> load_row(std::string_view key, std::string_view value);

  std::uint64_t written = 0, replayed = 0, dropped = 0;

 private:
  struct Peer {
    std::map<Name, Hint> hints;
    std::bitset<slots_total> marks;
    UnixMs oldest_ms = 0;
    std::uint64_t dropped = 0;
    void add(const Name& name, const Hint& hint) {
      if (hints.empty() || hint.made_ms < oldest_ms) oldest_ms = hint.made_ms;
      hints.emplace(name, hint);
    }
    void erase(std::map<Name, Hint>::iterator at) {
      hints.erase(at);
      if (hints.empty()) oldest_ms = 0;
    }
  };
  static std::string row(char kind, NodeIndex peer, Slot slot);
  static std::string hint_row(NodeIndex peer, const Name& name);

  Options options_;
  std::vector<Peer> peers_;
};

}  // namespace gyre
