// Who we say we are. redis_version is the Redis whose behaviour we follow: clients and Redis' own
// test suite skip what they believe an older server lacks.
#pragma once

#include <string_view>

namespace gyre {

inline constexpr std::string_view gyre_version = "0.1.0";
inline constexpr std::string_view redis_version = "7.0.15";

}  // namespace gyre
