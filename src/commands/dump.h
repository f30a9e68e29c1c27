// What a client sees of a key, in the form of DUMP and of RDB files: no versions, no removed
// elements, counters as their totals. The key exists; the value's views hold until it changes.
#pragma once

#include "rdb/value.h"
#include "shard/command.h"

namespace gyre {

rdb::Value value_of(const KeyRef& key);

}  // namespace gyre
