// A replica that runs commands, and merges what others send: two of them show what effects do.
#pragma once

#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "../commands/fixture.h"
#include "record/record.h"
#include "ring/slot.h"

namespace gyre::test {

class Side final : public Node1, private EffectSink {
 public:
  explicit Side(std::uint16_t index) : Node1(true, static_cast<std::uint16_t>(index * 8)) {
    sink = this;
  }

  // Runs a command and gives back its effect.
  std::string effect_of(const std::string& line) {
    const std::string effect = effect_if_any(line);
    REQUIRE(!effect.empty());
    return effect;
  }
  std::string effect_if_any(const std::string& line) {
    made_.clear();
    (*this)(line);
    return made_;
  }
  ApplyResult take(const std::string& bytes) {
    Effect e;
    Reader in(bytes);
    REQUIRE(decode_effect(in, e));
    REQUIRE(valid_effect(e));
    const Slot slot = key_slot(e.key);
    const ApplyResult r = space.merge(slot, key_hash(e.key), e);
    const Node* n = record(e.key);
    REQUIRE(space.slot_digest(slot) == (n ? record_digest(*n, {0}) : 0));
    return r;
  }
  // The record as it travels: whole, or the header of a stub.
  std::string state(std::string_view key, Version since = {}) const {
    std::string bytes;
    if (const Node* n = record(key)) {
      Effect e;
      record_effect(*n, {0}, since, e);
      encode_effect(bytes, e);
    }
    return bytes;
  }
  const Node* record(std::string_view key) const {
    return space.find(key_slot(key), {0}, key, key_hash(key));
  }
  bool stub(std::string_view key) const { return record(key) && record_stub(*record(key)); }
  std::uint64_t digest(std::string_view key) const {
    return record(key) ? record_digest(*record(key), {0}) : 0;
  }
  std::size_t expire() {
    return space.expire_due(now, 1'000'000, [this](Slot, DbIndex, std::string_view) { ++expired; });
  }

  int expired = 0;

 private:
  void made(Slot, std::uint64_t, const Effect& effect, const ApplyResult&) override {
    encode_effect(made_, effect);
  }
  std::string made_;
};

}  // namespace gyre::test
