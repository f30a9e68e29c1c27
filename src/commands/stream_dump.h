// A stream as DUMP gives it out and RESTORE takes it: entries, head and groups, all of Redis' form.
#pragma once

#include "rdb/value.h"
#include "shard/command.h"
#include "types/stream_collection.h"

namespace gyre {

// The views in the value live until the record changes.
void dump_stream(const StreamCollection& stream, rdb::Value& value);
// Puts all elements; the value outlives the Write.
void put_stream(Write& w, const rdb::Value& value);

}  // namespace gyre
