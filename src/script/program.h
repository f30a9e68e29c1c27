// Program: the text of a script, its name, and what its first line says of it.
//
//     #!lua flags=no-writes,allow-oom
//
// A script without such a line may do anything (Redis' compatible mode).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gyre {

// The SHA1 of the text, 40 hexadecimal digits: the name of a script.
std::string sha1_hex(std::string_view text);

struct ScriptFlags {
  bool no_writes = false, allow_oom = false, allow_stale = false, no_cluster = false,
       cross_slot = false;
  bool compatible = false;  // no first line: the checks are made at each call

  // False: there is no such flag.
  bool set(std::string_view name);
};

// On a node with several threads: whether its calls stay with the thread of its declared keys. A
// script that is not known runs once where it reaches all threads.
enum class Reach : std::uint8_t { unknown, one_thread, all_threads };

struct Program {
  std::string sha;
  std::string text;
  ScriptFlags flags;
  std::size_t code_at = 0;  // where the code begins: at the end of the first line
};

// Errors: the first line is wrong, in Redis' words.
Result<Program> read_program(std::string_view text);

// "#!lua name=x": the engine's name, and the words behind it. Nothing when there is no such line.
struct FirstLine {
  std::string_view engine;
  std::string_view words;
  std::size_t end = 0;
};
Result<FirstLine> read_first_line(std::string_view text);

// Takes the next word off the front; empty at the end.
std::string_view take_word(std::string_view& words);

}  // namespace gyre
