// The command table: every family's rows, joined. The only place that knows arity, keys and flags.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "shard/command.h"

namespace gyre {

// The row of a command, in any case of letters; nullptr when there is none. Containers' subcommands
// ("CONFIG|GET") are found by find_command(args).
const CommandSpec* find_command(std::string_view name);
const CommandSpec* find_command(Args args);

// All rows, subcommands beside their containers, in the order of their families.
std::span<const CommandSpec* const> all_commands();

// The index of a row in all_commands(), for statistics per command.
inline std::size_t command_index(const CommandSpec& spec) {
  return spec.index;
}

// Redis' text for a wrong number of arguments.
std::string wrong_arity(const CommandSpec& spec);

// One function per family file, at its foot.
std::span<const CommandSpec> string_commands();
std::span<const CommandSpec> key_commands();
std::span<const CommandSpec> hash_commands();
std::span<const CommandSpec> set_commands();
std::span<const CommandSpec> zset_commands();
std::span<const CommandSpec> list_commands();
std::span<const CommandSpec> bitmap_commands();
std::span<const CommandSpec> bitfield_commands();
std::span<const CommandSpec> hyperloglog_commands();
std::span<const CommandSpec> geo_commands();
std::span<const CommandSpec> stream_commands();
std::span<const CommandSpec> pubsub_commands();
std::span<const CommandSpec> scripting_commands();
std::span<const CommandSpec> session_commands();
std::span<const CommandSpec> internal_commands();
std::span<const CommandSpec> hold_commands();

}  // namespace gyre
