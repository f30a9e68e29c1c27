// Makes a list of values that came from elsewhere: SORT STORE, RESTORE.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "shard/command.h"
#include "types/list_id.h"

namespace gyre {

// The ids of a fresh list's elements, in order; the Write that puts them borrows them.
class FreshListIds {
 public:
  explicit FreshListIds(std::size_t elements) : ids_(elements) {}
  // Of the next element.
  std::string_view next(Version version) {
    std::array<char, list_plain_id_bytes>& id = ids_[used_];
    put_list_id(id.data(), list_origin + used_++, version);
    return {id.data(), id.size()};
  }

 private:
  std::vector<std::array<char, list_plain_id_bytes>> ids_;
  std::size_t used_ = 0;
};

}  // namespace gyre
