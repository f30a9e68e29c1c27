// Joins: commands that are taken apart (MGET, DEL, WATCH) and put together again.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gyre {

// The length of the first whole reply in RESP text; 0 when it is not whole. Used on replies that
// this process wrote itself.
std::size_t reply_length(std::string_view resp);

// The elements of an array reply ("*2...") as views; empty when it is something else (an error).
std::vector<std::string_view> reply_elements(std::string_view resp);

}  // namespace gyre
