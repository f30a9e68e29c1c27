// How a command uses its keys: Redis' key-spec flags, for COMMAND and for who may touch what
// (acl/).
#pragma once

#include <string_view>

#include "shard/command.h"

namespace gyre {

// Of the first key and, where they differ, of the others: "RW access delete".
struct KeyUse {
  std::string_view first, rest;

  std::string_view of(std::size_t nth) const { return nth > 0 && !rest.empty() ? rest : first; }
};

KeyUse key_use(const CommandSpec& spec);
// With what the arguments decide ("variable_flags"); the arity was checked.
KeyUse key_use(const CommandSpec& spec, Args args);

// Whether `word` is one of the words in `text`.
bool has_word(std::string_view text, std::string_view word);

}  // namespace gyre
