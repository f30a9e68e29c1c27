// Inquiries: what other replicas hold, asked to be shown and not to heal it (GYRE EXPLAIN, VERIFY).
//
// ask_record(): one question for each other replica of the key's slot; the records come back whole
// where they differ. ask_slots(): the digests of slots compared with one peer; what differs is
// asked once more a little later, because writes are on their way in between.
//
// Invariants: `done` is called exactly once, with what is known when all have answered, when their
//             links broke, or at the time-out.
// Threading:  the shard's thread alone. Pure: the host sends.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "record/effect.h"
#include "sync/merkle.h"

namespace gyre {

// How two copies of a record stand to each other, in elements; floor and expiry count as one each.
struct CopyDifference {
  std::size_t lacks = 0;  // the second has not, or has older
  std::size_t ahead = 0;  // the first has not, or has older
};
CopyDifference compare_copies(const Effect& first, const Effect& second);

class Inquiries {
 public:
  enum class Heard : std::uint8_t { answered, silent, unreachable };
  struct Copy {
    NodeIndex peer{};
    Heard heard = Heard::silent;
    FetchAnswer::What what = FetchAnswer::What::unknown;
    std::string record;  // an encoded effect; empty when it is the same, or absent
  };
  struct Slots {
    NodeIndex peer{};
    Heard heard = Heard::silent;
    std::size_t compared = 0;
    std::vector<std::uint16_t> differ;
  };

  Inquiries(NodeIndex self, ShardIndex shard, KeySpace& space, const Clock& clock, SyncHost& host,
            std::uint64_t first_id)
      : self_(self), shard_(shard), space_(space), clock_(clock), host_(host), next_id_(first_id) {}

  // digest: of the record here, 0 when there is none.
  void ask_record(Slot slot, DbIndex db, std::string_view key, std::uint64_t digest,
                  std::function<void(std::vector<Copy>&&)> done);
  // Slots of which both hold a replica.
  void ask_slots(NodeIndex peer, const std::vector<Slot>& slots, std::function<void(Slots&&)> done);

  // False: the answer is to somebody else's question.
  bool on_fetch_answer(NodeIndex from, const FetchAnswer& m);
  bool on_compare_answer(NodeIndex from, const CompareAnswer& m);
  void peer_down(NodeIndex peer);
  void tick();
  std::size_t waiting() const { return records_.size() + slots_.size(); }

 private:
  struct OfRecord {
    std::vector<Copy> copies;
    std::size_t left = 0;
    SteadyMs at = 0;
    std::function<void(std::vector<Copy>&&)> done;
  };
  struct OfSlots {
    Slots result;
    std::size_t left = 0;  // questions that are out
    bool second_look = false;
    SteadyMs at = 0, again_at = 0;
    std::function<void(Slots&&)> done;
  };
  std::uint64_t new_id() { return next_id_++ << 8 | shard_.value; }
  void send_digests(std::uint64_t inquiry, OfSlots& q, const std::vector<std::uint16_t>& slots);
  void end_record(std::uint64_t id);
  void end_slots(std::uint64_t id);

  const NodeIndex self_;
  const ShardIndex shard_;
  KeySpace& space_;
  const Clock& clock_;
  SyncHost& host_;
  std::uint64_t next_id_;
  std::map<std::uint64_t, OfRecord> records_;
  std::map<std::uint64_t, OfSlots> slots_;
  std::map<std::uint64_t, std::uint64_t> questions_;  // of ask_slots(): message -> inquiry
};

}  // namespace gyre
