// Effect: the outcome of a command as versioned elements with their record's header. What is
// merged, stored, replicated, hinted and synced (design, sections 2 and 3).
//
// An effect is a view: it borrows the key, ids and payloads from whoever made it. encode() writes
// its wire form, decode() reads one back as views into the input and checks every length.
//
// On the wire, what follows from the newest version is not sent: one flags byte says whether the
// floor is that of an overwrite, whether an expiry and a base are there, and what the effect is of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "record/cell.h"
#include "record/node.h"
#include "record/version.h"

namespace gyre {

// What a record is. The numbers are part of the disk and wire formats.
enum class TypeId : std::uint8_t {
  none = 0,
  string = 1,
  hash = 2,
  list = 3,
  set = 4,
  zset = 5,
  stream = 6
};
inline constexpr std::size_t types_total = 7;

// Bytes that stay where they are as more are added.
class KeptBytes {
 public:
  std::string_view add(std::string_view bytes) {
    if (bytes.size() > left_) {
      left_ = std::max(bytes.size(), block_bytes);
      blocks_.push_back(std::make_unique<char[]>(left_));
      at_ = blocks_.back().get();
    }
    char* const to = at_;
    bytes.copy(to, bytes.size());
    at_ += bytes.size();
    left_ -= bytes.size();
    return {to, bytes.size()};
  }

 private:
  static constexpr std::size_t block_bytes = 1024;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* at_ = nullptr;
  std::size_t left_ = 0;
};

struct Effect {
  DbIndex db{};
  std::string_view key;
  TypeId type = TypeId::none;
  Version version{};  // the newest in the effect
  Version floor{};
  Expiry expiry{};
  bool has_base = false;
  // The record's newest version when the command read it; zero: absent. Without has_base what the
  // same node wrote there a moment before, or zero: nothing depends on it, but who gets the two in
  // the wrong order can tell.
  Version base{};
  // A floor of the slot's whole database (FLUSHALL, FLUSHDB): key is the slot as be16, no changes.
  bool slot_floor = false;
  // The header of an expired record whose elements were dropped (record_stub): version is the
  // newest that it held; no changes.
  bool expired = false;
  // Of an expired one: what its type is claimed with; zero without a type (record/apply.h).
  Version claim{};
  // All elements of its record are in it: what a replica that has dropped them needs.
  bool whole = false;
  std::vector<Change> changes;
  // More room than for so many is not kept from one effect to the next.
  static constexpr std::size_t spare_changes = 1024;
  // What changes point at and nobody else keeps; copies of the effect share it.
  std::shared_ptr<KeptBytes> kept;

  std::string_view keep(std::string_view bytes) {
    if (!kept) kept = std::make_shared<KeptBytes>();
    return kept->add(bytes);
  }
  void clear() {
    auto keep = std::move(changes);
    keep.clear();
    *this = Effect{};
    changes = std::move(keep);
  }
  // The highest version that it carries: of its changes, floor and expiry register.
  Version newest() const;
};

void encode_effect(std::string& to, const Effect& effect);
// False when the bytes are not an effect; in.ok() says whether they were too short.
bool decode_effect(Reader& in, Effect& effect);

}  // namespace gyre
