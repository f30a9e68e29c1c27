#include "commands/key_use.h"

#include <array>

#include "base/numbers.h"

namespace gyre {
namespace {

// What is not here is "RO access" when it reads and "RW update" when it writes.
struct Row {
  std::string_view first, rest;
  std::string_view names;
};
constexpr auto rows = std::to_array<Row>({
    {"RO",
     {},
     "EXISTS TOUCH TYPE WATCH STRLEN HLEN HSTRLEN HEXISTS LLEN SCARD SISMEMBER ZCARD XLEN "
     "OBJECT|ENCODING OBJECT|REFCOUNT OBJECT|IDLETIME OBJECT|FREQ MEMORY|USAGE"},
    {"RM delete", {}, "DEL UNLINK"},
    {"OW update", {}, "MSET SETEX PSETEX RESTORE"},
    {"OW insert", {}, "SETNX MSETNX"},
    {"RW access update variable_flags", {}, "SET BITFIELD"},
    {"RW access update",
     {},
     "GETSET GETEX INCR DECR INCRBY DECRBY INCRBYFLOAT HINCRBY HINCRBYFLOAT ZINCRBY SETBIT MOVE "
     "EVAL EVALSHA FCALL"},
    {"RW access delete",
     {},
     "GETDEL LPOP RPOP LMPOP BLPOP BRPOP BLMPOP SPOP ZPOPMIN ZPOPMAX ZMPOP BZPOPMIN BZPOPMAX "
     "BZMPOP MIGRATE"},
    {"RW insert",
     {},
     "APPEND HSETNX SADD LPUSH RPUSH LPUSHX RPUSHX LINSERT PFADD "
     "XGROUP|CREATE XGROUP|CREATECONSUMER"},
    {"RW delete",
     {},
     "HDEL SREM LREM LTRIM ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE XDEL XTRIM "
     "XAUTOCLAIM XGROUP|DELCONSUMER XGROUP|DESTROY"},
    {"RO access", {}, "XREADGROUP"},
    {"RW access delete", "OW update", "RENAME"},
    {"RW access delete", "OW insert", "RENAMENX"},
    {"RW access delete", "RW insert", "SMOVE LMOVE RPOPLPUSH BLMOVE BRPOPLPUSH"},
    {"RO access", "OW update", "COPY SORT GEORADIUS GEORADIUSBYMEMBER"},
    {"OW update", "RO access",
     "SUNIONSTORE SDIFFSTORE ZUNIONSTORE ZINTERSTORE ZDIFFSTORE ZRANGESTORE BITOP GEOSEARCHSTORE"},
    {"RW update", "RO access", "SINTERSTORE"},
    {"RW access insert", "RO access", "PFMERGE"},
    {"RW access", {}, "PFCOUNT PFDEBUG"},
    {"NOT_KEY", {}, "SPUBLISH SSUBSCRIBE SUNSUBSCRIBE"},
});

// SET reads what was there with GET only, wherever that word stands.
std::string_view use_of_set(Args args) {
  for (const std::string_view word : args.subspan(3)) {
    if (equals_ignore_case(word, "get")) return "RW access update";
  }
  return "OW update";
}

// BITFIELD that only gets, writes nothing. What cannot be read counts as a write.
std::string_view use_of_bitfield(Args args) {
  constexpr std::string_view writes = "RW access update";
  for (std::size_t i = 2; i < args.size(); ++i) {
    const std::size_t more = args.size() - i - 1;
    if (equals_ignore_case(args[i], "get") && more >= 2) {
      i += 2;
    } else if (equals_ignore_case(args[i], "overflow") && more >= 1) {
      ++i;
    } else {
      return writes;
    }
  }
  return "RO access";
}

}  // namespace

bool has_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos;
       at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || text[at - 1] == ' ') && (end == text.size() || text[end] == ' ')) return true;
  }
  return false;
}

KeyUse key_use(const CommandSpec& spec) {
  for (const Row& row : rows) {
    if (has_word(row.names, spec.name)) return {row.first, row.rest};
  }
  return {(spec.flags & flag::write) ? "RW update" : "RO access", {}};
}

KeyUse key_use(const CommandSpec& spec, Args args) {
  if (spec.name == "SET") return {use_of_set(args), {}};
  if (spec.name == "BITFIELD") return {use_of_bitfield(args), {}};
  return key_use(spec);
}

}  // namespace gyre
