// How the room owns libuv's handles: a unique_ptr whose deleter asks for the close, and libuv's
// answer frees the memory. Only .cc files of net/ include this.
//
// A block is a struct whose first member is the handle; whatever a late callback may still look at
// lives in the block, never in the object that owned it.
#pragma once

#include <uv.h>

#include <memory>
#include <string>
#include <type_traits>

#include "base/assert.h"

namespace gyre {

template <class Block>
uv_handle_t* as_handle(Block* block) {
  static_assert(std::is_standard_layout_v<uv_handle_t>);
  return reinterpret_cast<uv_handle_t*>(block);
}

// Block: a uv_*_t, or a struct that begins with one.
template <class Block>
void close_late(Block* block) noexcept {
  uv_close(as_handle(block), [](uv_handle_t* h) { delete reinterpret_cast<Block*>(h); });
}

template <class Block>
struct LateCloser {
  void operator()(Block* block) const noexcept { close_late(block); }
};

template <class Block>
using UvOwned = std::unique_ptr<Block, LateCloser<Block>>;

// For calls that fail only on a programming error or when the process has no memory left.
inline void must(int status) {
  GYRE_ASSERT(status == 0);
}

}  // namespace gyre
