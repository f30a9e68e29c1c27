// Whatever a cluster-node line holds, the parser answers a node or an error; a node it answers is
// one that it reads back from its own text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "ring/node_info.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const auto node = gyre::parse_node_info(line);
  if (!node) {
    GYRE_ASSERT(node.error().code == gyre::Errc::config);
    GYRE_ASSERT(node.error().detail.find('\n') == std::string::npos);
    return 0;
  }
  GYRE_ASSERT(gyre::valid_node_name(node->name));
  GYRE_ASSERT(gyre::valid_host(node->host));
  GYRE_ASSERT(node->bus_port != 0);
  const auto again = gyre::parse_node_info(std::string_view(gyre::format_node_info(*node)));
  GYRE_ASSERT(again);
  GYRE_ASSERT(*again == *node);
  return 0;
}
