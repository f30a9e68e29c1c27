// The forms in which Redis packs small collections into one string: ziplist, listpack, zipmap,
// intset. Read only: Gyre's own form is another.
#pragma once

#include <string_view>

#include "rdb/value.h"

namespace gyre::rdb {

// Append the elements to value.parts, numbers as text. False when the bytes are not such a list;
// then some may have been appended.
bool read_ziplist(std::string_view bytes, Value& value);
bool read_listpack(std::string_view bytes, Value& value);
bool read_zipmap(std::string_view bytes, Value& value);
bool read_intset(std::string_view bytes, Value& value);

// Little-endian numbers, which all of RDB has but its lengths.
std::uint64_t le_unsigned(Reader& in, unsigned bytes);
std::int64_t le_signed(Reader& in, unsigned bytes);
void put_le(std::string& to, std::uint64_t n, unsigned bytes);

}  // namespace gyre::rdb
