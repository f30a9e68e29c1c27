// StreamCollection: the elements of a stream: entries, the head, groups, consumers and what is
// pending (types/stream_id.h, types/stream_parts.h).
//
// Entries and pending ones are packed in order like a list's elements: an entry takes about fifteen
// bytes beside its fields. Adding, finding, counting what lies before an id: O(log n). The rest are
// registers in a map, which a stream without groups and removals does not have.
//
// How it merges: an entry is written once and removed by a tombstone of exactly its id; head,
// group, consumer and each pending entry are registers that the later version wins. The highest id
// of a stream is the head's or the last entry's, whichever is higher, so that adding an entry
// writes nothing but the entry. A head is written wherever an entry is removed; it also keeps a
// stream without entries alive.
//
// What hangs on a group (consumers, pending entries) is removed with it. What arrives later from a
// node that did not know of it stays hidden, and goes when a group of this name is made again. A
// consumer exists while its register lives or something is pending at it.
//
// Invariant: live() counts all of this, as apply asks; length() counts entries. Threading: the
// shard's thread alone.
#pragma once

#include <memory>
#include <optional>

#include "record/collection.h"
#include "types/stream_parts.h"

namespace gyre {

class StreamCollection final : public Collection {
 public:
  static Collection* make(Slabs& slabs) { return new StreamCollection(slabs); }
  explicit StreamCollection(Slabs& slabs);
  ~StreamCollection() override;

  CellMerge merge(const Change& change, bool keep_tombstones) override;
  bool find(std::string_view id, Cell& cell) const override;
  bool for_each(const std::function<bool(const ElementView&)>& f) const override;
  bool makes_ids() const override { return true; }
  void drop_below(Version floor,
                  const std::function<void(std::string_view, bool)>& dropped) override;
  void drop_tombstone(std::string_view id) override;
  std::size_t live() const override;
  std::size_t tombstones() const override;
  std::size_t bytes() const override;

  // ---- entries
  std::size_t length() const { return entries_.live(); }
  // How many lie before an id.
  std::size_t rank(StreamId id) const { return entries_.rank(id); }
  StreamWalk at(std::size_t rank) const { return entries_.at(rank); }
  // The payload of an entry that is there.
  std::optional<std::string_view> entry(StreamId id) const;
  // The highest id there ever was.
  StreamId last_id() const;
  // With that as its last id.
  StreamHead head() const;
  StreamId first_entry() const { return length() ? at(0).id() : StreamId{}; }
  std::int64_t entries_added(const StreamHead& head) const;

  // ---- groups
  std::optional<StreamGroup> group(std::string_view name) const;
  std::size_t groups() const;
  void for_each_group(
      const std::function<void(std::string_view name, const StreamGroup& group)>& f) const;
  // nullptr: nothing is pending.
  const StreamPending* pending(std::string_view group) const;
  // When a consumer was last seen; nothing when there is no such consumer.
  std::optional<UnixMs> consumer(std::string_view group, std::string_view name) const;
  void for_each_consumer(std::string_view group,
                         const std::function<void(std::string_view name, UnixMs seen)>& f) const;
  // Remembered here alone, until the next write of the consumer's element.
  void note_seen(std::string_view group, std::string_view consumer, UnixMs now);
  // What note_seen() has told `other`, whose consumers are here too.
  void take_seen(const StreamCollection& other);

 private:
  struct Register {
    Version version{};
    bool tombstone = false;
    std::string payload;
    UnixMs seen_here = 0;

    Cell cell() const { return {version, tombstone, false, payload}; }
  };
  using Registers = std::map<std::string, Register, std::less<>>;
  // Whatever is no entry.
  struct Side {
    Registers registers;                                        // by element id
    std::map<std::string, StreamPending, std::less<>> pending;  // by group
    std::size_t live = 0, tombstones = 0;
  };

  static std::optional<std::string_view> pending_group(std::string_view id);
  static CellMerge merge_register(Registers& registers, const Change& change, bool keep_tombstones);
  static void recount(Side& side);
  const Register* live_register(std::string_view id) const;
  CellMerge merge_side(const Change& change, bool keep_tombstones);
  void tidy();

  Slabs& slabs_;
  StreamSeries entries_;
  std::unique_ptr<Side> side_;
};

// The fields and values of an entry's payload, in their order.
template <class F>
void for_each_stream_field(std::string_view payload, F&& f) {
  Reader in(payload);
  for (std::uint64_t pairs = in.varint(); pairs > 0 && in.ok(); --pairs) {
    const std::string_view field = in.bytes();
    const std::string_view value = in.bytes();
    if (in.ok()) f(field, value);
  }
}

}  // namespace gyre
