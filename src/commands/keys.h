// The parts of the key family: keys.cc joins them in key_commands().
#pragma once

#include <span>

#include "shard/command.h"

namespace gyre {

std::span<const CommandSpec> expire_commands();
std::span<const CommandSpec> object_commands();
std::span<const CommandSpec> sort_commands();
std::span<const CommandSpec> dump_commands();

}  // namespace gyre
