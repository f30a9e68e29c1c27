// The slot of a key: which of the 16384 virtual nodes of the hash ring it belongs to.
//
// CRC16 of the key, or of its {tag}: what stands between the first '{' and the next '}' after it,
// when that is not empty. Keys with one tag share a slot.
//
// Source: Redis Cluster specification, "Hash tags"; cluster-aware clients compute the same.
#pragma once

#include <string_view>

#include "base/ids.h"

namespace gyre {

Slot key_slot(std::string_view key);

// A word whose slot this is: "{word}anything" lies there.
std::string_view slot_tag(Slot slot);

}  // namespace gyre
