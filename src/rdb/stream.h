// Streams in RDB: Redis packs up to a hundred entries into a listpack, their ids as differences to
// the first, their fields once where they are the same.
//
//   count | n x (string master id 16, string listpack) | length | last id | first id | highest
//   deleted id | entries added | groups: name, last id, entries read, pending, consumers
//
//   listpack: | count | deleted | fields | field ... | 0 |  then for each entry
//             | flags | ms - master's | seq - master's | [fields] | [field] value ... | elements |
#pragma once

#include <functional>
#include <string>

#include "rdb/value.h"

namespace gyre::rdb {

void write_stream(std::string& to, const Value& value);

// Reads one string of the value.
using ReadString = std::function<std::optional<std::string_view>()>;
// What follows the type byte of forms 15 (Redis 5) and 19 (Redis 7.0). False: not a whole stream.
bool read_stream(Reader& in, bool of_redis_7, Value& value, const ReadString& string);

}  // namespace gyre::rdb
