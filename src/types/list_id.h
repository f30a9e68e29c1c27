// The ids of list elements: byte strings whose order is the order of the list.
//
// An id is a position and the version of the push that made it:
//
//   pushed:    | be64 number | be64 version |                      16 bytes, "plain"
//   inserted:  | position, any bytes        | be64 version |       LINSERT, "odd" unless it is 16
//   bytes
//
// The number starts at 2^63 and steps by one at either end, so a push never looks further than the
// first or last id. Two sides that push at the same end take the same number and still differ by
// the version; all values of one command share a version and differ by the number.
//
// Ids are compared as whole byte strings. position_between() therefore works on ids, not on
// positions: there is room also between two elements that share a position, because the version's
// bytes are part of what is subdivided. Between any two ids that end in a version (which is never
// zero) there is a third.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "record/version.h"

namespace gyre {

inline constexpr std::size_t list_plain_id_bytes = 16;
inline constexpr std::uint64_t list_origin = std::uint64_t{1} << 63;

// The first eight bytes as a number; an id that is shorter counts as filled up with zeros.
inline std::uint64_t list_id_number(std::string_view id) {
  if (id.size() >= 8) return load_be64(id.data());
  char padded[8] = {};
  std::memcpy(padded, id.data(), id.size());
  return load_be64(padded);
}

// The version of the push; zero for an id that is too short to have one.
inline Version list_id_version(std::string_view id) {
  return id.size() < 8 ? Version{} : Version{load_be64(id.data() + id.size() - 8)};
}

// Writes the 16 bytes of a plain id.
inline void put_list_id(char* to, std::uint64_t number, Version version) {
  store_be64(to, number);
  store_be64(to + 8, version.bits);
}

// Returns a position p such that left < p + version < right for every version.
// left < right, both whole ids. p grows by a byte per about hundred insertions in a row at one
// place.
std::string position_between(std::string_view left, std::string_view right);

}  // namespace gyre
