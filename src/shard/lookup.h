// The command table as the layers below it see it: a name leads to a row. Defined in
// commands/table.cc.
#pragma once

#include "shard/command.h"

namespace gyre {

const CommandSpec* lookup_command(Args args);

}  // namespace gyre
