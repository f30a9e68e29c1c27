// Loader: recovery: what lies in the store goes into the key space that owns it, by merge as any
// other effect, and is not written again. Threading: that of the KeySpace.
#pragma once

#include "base/hash.h"
#include "shard/keyspace.h"
#include "shard/rows.h"

namespace gyre {

class Loader final : public RowReader::Sink {
 public:
  explicit Loader(KeySpace& space) : space_(space) {}
  void loaded(Slot slot, const Effect& effect) override {
    if (space_.owns(slot) && valid_effect(effect))
      space_.merge(slot, key_hash(effect.key), effect, false);
  }
  void loaded_floor(Slot slot, DbIndex db, Version floor) override {
    if (space_.owns(slot)) space_.raise_floor(slot, db, floor, false);
  }
  void loaded_agreement(Slot slot, Version repaired, Version confirmed, bool partial) override {
    if (space_.owns(slot)) space_.load_agreement(slot, repaired, confirmed, partial);
  }

 private:
  KeySpace& space_;
};

}  // namespace gyre
