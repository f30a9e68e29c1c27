// Config: the values of all options of a running node.
//
// Every row of config/options.def is a field here, read like a value:
//
//   config.maxclients                     an integer; config.maxclients.get() where a type is
//   deduced if (config.daemonize) ...             a boolean config.appendfsync ==
//   choice::AppendFsync::always config.dir.get()                      text: a copy
//   config.cluster_node.lines()           lines
//
// Values come from defaults < file < environment < command line, in this order of strength, and at
// run time from CONFIG SET. Numbers are relaxed atomics: a reader sees the old or the new value and
// nothing else follows from it. Whoever must act on a change registers a hook.
//
// Invariants: each value has passed its row's bounds and checks, and the values fit each other.
// Threading:  load*() and the hooks' registration before other threads start. Afterwards fields,
//             get(), text() from anywhere; set() and rewrite() from anywhere, one at a time (a
//             lock).
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "config/checks.h"
#include "config/options.h"

namespace gyre {

// A number that many threads read and CONFIG SET seldom writes.
class ConfigNumber {
 public:
  explicit ConfigNumber(std::int64_t value) : value_(value) {}
  std::int64_t get() const { return value_.load(std::memory_order_relaxed); }
  operator std::int64_t() const {
    return get();
  }  // NOLINT(google-explicit-constructor): reads like a number
  void store(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_;
};

class ConfigBool {
 public:
  explicit ConfigBool(bool value) : number_(value ? 1 : 0) {}
  bool get() const { return number_.get() != 0; }
  operator bool() const { return get(); }  // NOLINT(google-explicit-constructor)
  ConfigNumber& number() { return number_; }

 private:
  ConfigNumber number_;
};

template <class Enum>
class ConfigChoice {
 public:
  explicit ConfigChoice(Enum value) : number_(static_cast<std::int64_t>(value)) {}
  Enum get() const { return static_cast<Enum>(number_.get()); }
  operator Enum() const { return get(); }  // NOLINT(google-explicit-constructor)
  ConfigNumber& number() { return number_; }

 private:
  ConfigNumber number_;
};

class ConfigText {
 public:
  explicit ConfigText(std::string_view value) : value_(value) {}
  std::string get() const {
    const std::shared_lock lock(mutex_);
    return value_;
  }
  void store(std::string value) {
    const std::unique_lock lock(mutex_);
    value_ = std::move(value);
  }
  // between: stands before it, unless it is the first.
  void append(std::string_view more, std::string_view between) {
    const std::unique_lock lock(mutex_);
    if (!value_.empty()) value_ += between;
    value_ += more;
  }

 private:
  mutable std::shared_mutex mutex_;
  std::string value_;
};

class ConfigLines {
 public:
  ConfigLines() : text_("") {}
  // Each line's words behind the option's name; split_words() takes them apart.
  std::vector<std::string> lines() const;
  ConfigText& text() { return text_; }
  const ConfigText& text() const { return text_; }

 private:
  ConfigText text_;  // lines end with LF
};

enum class ConfigSource : std::uint8_t { preset, file, environment, arguments, command };

class Config {
 public:
  using Pair = std::pair<std::string, std::string>;
  // Sees the value that CONFIG SET is about to give, in canonical form; an Error refuses the whole
  // SET.
  using Validate = std::function<Result<void>(std::string_view value)>;
  // Called after all values of the SET are in place, on the thread that called set(). Must not
  // itself call set(), rewrite() or register hooks.
  using Changed = std::function<void()>;

#define GYRE_BOOL(id, name, preset, flags, help) ConfigBool id{preset};
#define GYRE_INT(id, name, preset, min, max, unit, flags, help) ConfigNumber id{preset};
#define GYRE_MEMORY(id, name, preset, min, max, flags, help) \
  ConfigNumber id{option_spec(Option::id).number};
#define GYRE_ENUM(Type, id, name, preset, flags, help, ...) \
  ConfigChoice<choice::Type> id{choice::Type::preset};
#define GYRE_TEXT(id, name, preset, flags, help) ConfigText id{preset};
#define GYRE_LINES(id, name, flags, help) ConfigLines id;
#include "config/options.def"

  Config();
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;

  // ---- start ----

  // All of it for a server: argv is PROGRAM [FILE | -] [--name value ...] ..., environment as
  // environ. Errors: config; the detail names file, line number, the line, and what would be right.
  Result<void> load(int argc, const char* const* argv, const char* const* environment);

  // The parts, in the order in which they override each other. check_whole() ends them.
  Result<void> load_file(const std::string& path);
  Result<void> load_text(std::string_view text, std::string_view origin);  // include is refused
  Result<void> load_environment(std::span<const std::string_view> variables);
  Result<void> load_arguments(std::span<const std::string_view> arguments);  // without the FILE
  Result<void> check_whole() const;

  // One option, as a line of `origin` would set it. For tests, simulators and the loaders.
  Result<void> assign(std::string_view name, std::span<const std::string> words,
                      ConfigSource origin);
  Result<void> assign(std::string_view name, std::string_view word);

  // Options set to something else than their default though they have no effect: (name, why).
  struct CompatNote {
    std::string_view name;
    std::string_view because;
  };
  std::vector<CompatNote> compat_in_use() const;

  // True when anything but the default gave the value.
  bool given(Option option) const {
    return source(option) != ConfigSource::preset;
  }

  // The main file's absolute path; empty when there is none.
  const std::string& file() const {
    return file_;
  }

  // ---- run time ----

  void on_validate(Option option, Validate hook);
  void on_change(Option option, Changed hook);

  // CONFIG GET: names (aliases too) that match any of the patterns, each once, with their values.
  std::vector<Pair> get(std::span<const std::string_view> patterns) const;

  // CONFIG SET: all or nothing. local: the client is on this machine (for guarded options).
  // Errors: config, in Redis' words.
  Result<void> set(std::span<const std::pair<std::string_view, std::string_view>> pairs,
                   bool local);

  // CONFIG REWRITE: the file says what this node's values are; its comments and order stay.
  Result<void> rewrite();

  // One value in canonical form.
  std::string text(Option option) const;

  BufferLimits buffer_limits() const {
    return parse_buffer_limits(client_output_buffer_limit.get());
  }

 private:
  friend class ConfigRewriter;

  struct Slot {
    ConfigNumber* number = nullptr;  // one of the two
    ConfigText* text = nullptr;
  };
  struct Change {
    Option option;
    std::string_view name;
    OptionValue value;
  };

  Result<void> load_lines(std::string_view text, const std::string& origin, int depth);
  Result<void> load_include(std::string_view pattern, const std::string& origin, int depth);
  Result<void> load_folder_file(const std::string& path, int depth);
  Result<void> prepare(std::string_view name, std::string_view value, bool local,
                       Change& change) const;
  void store(Option option, OptionValue new_value, ConfigSource origin);
  OptionValue value(Option option) const;
  ConfigSource source(Option option) const {
    return sources_[static_cast<std::size_t>(option)].load(std::memory_order_relaxed);
  }
  const Slot& slot(Option option) const {
    return slots_[static_cast<std::size_t>(option)];
  }

  std::array<Slot, options_total> slots_;
  std::array<std::atomic<ConfigSource>, options_total> sources_{};
  std::vector<std::pair<Option, Validate>> validates_;
  std::vector<std::pair<Option, Changed>> changes_;
  std::string file_;
  mutable std::mutex mutex_;  // set() and rewrite(), one at a time
};

// The lines of a file that give the option its present value. Not the default's absence: an option
// without any line (no cluster-node) yields none.
std::vector<std::string> config_lines(const Config& config, const OptionSpec& spec);

}  // namespace gyre
