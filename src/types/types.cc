// The types that a record can have, joined: what TYPE answers and who makes the elements.

#include <array>

#include "record/collection.h"
#include "types/list_collection.h"
#include "types/map_collection.h"
#include "types/stream_collection.h"
#include "types/zset_collection.h"

namespace gyre {
namespace {

constexpr std::array<TypeSpec, types_total> specs = {{
    {"none", nullptr},
    {"string", nullptr},
    {"hash", MapCollection::make},
    {"list", ListCollection::make},
    {"set", MapCollection::make},
    {"zset", ZsetCollection::make},
    {"stream", StreamCollection::make},
}};

}  // namespace

const TypeSpec& type_spec(TypeId type) {
  return specs[static_cast<std::size_t>(type)];
}

}  // namespace gyre
