#include "config/checks.h"

#include <algorithm>
#include <cctype>

#include "base/numbers.h"

namespace gyre {
namespace {

Error refuse(std::string text) {
  return {Errc::config, std::move(text)};
}

Result<void> clamp_hz(const CheckCall& call) {
  call.value.number = std::clamp<std::int64_t>(call.value.number, 1, 500);
  return {};
}

// Options whose silent neglect would leave a door open.
Result<void> refused_for_now(const CheckCall& call) {
  if (call.value.number == 0 && call.value.text.empty()) return {};
  return refuse("not supported yet, and refused because a server without it is less safe");
}

Result<void> consistency(const CheckCall& call) {
  std::string& text = call.value.text;
  text = to_lower(text);
  if (text == "one" || text == "quorum" || text == "all") return {};
  const auto count = parse_int(text);
  const std::int64_t most = option_spec(Option::replication_factor).max;
  if (count && *count >= 1 && *count <= most) return {};
  return refuse("argument must be one, quorum, all or a number from 1 to " + format_int(most));
}

bool is_word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

Result<void> plain_name(const CheckCall& call) {
  constexpr std::size_t longest = 64;
  const std::string& text = call.value.text;
  const bool plain = std::all_of(text.begin(), text.end(),
                                 [](char c) { return is_word_byte(c) || c == '.' || c == '_'; });
  if (plain && text.size() <= longest) return {};
  return refuse("argument must be at most 64 letters, digits, hyphens, dots or underscores");
}

Result<void> host_name(const CheckCall& call) {
  const std::string& text = call.value.text;
  if (text.size() >= 256) return refuse("Hostnames must be less than 256 characters");
  if (std::all_of(text.begin(), text.end(), [](char c) { return is_word_byte(c) || c == '.'; }))
    return {};
  return refuse("Hostnames may only contain alphanumeric characters, hyphens or dots");
}

Result<void> file_name(const CheckCall& call) {
  const std::string& text = call.value.text;
  const std::string name(call.spec.name);
  if (text.empty()) return refuse(name + " can't be empty");
  if (text.find('/') == std::string::npos) return {};
  return refuse(name + " can't be a path, just a filename");
}

Result<void> octal_mode(const CheckCall& call) {
  const std::string& text = call.value.text;
  const bool octal =
      !text.empty() && text.size() <= 4 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '7'; });
  if (octal && (text.size() < 4 || text[0] <= '1')) return {};
  return refuse("argument must be between 0 and 1777 inclusive");
}

Result<void> memory_or_percent(const CheckCall& call) {
  std::string& text = call.value.text;
  if (!text.empty() && text.back() == '%') {
    const auto percent = parse_int(std::string_view(text).substr(0, text.size() - 1));
    if (!percent || *percent < 0) return refuse("argument must be a memory or percent value");
    if (*percent > 100) return refuse("percentage argument must be less or equal to 100");
    return {};
  }
  const auto bytes = parse_memory(text);
  if (!bytes) return refuse("argument must be a memory or percent value");
  text = format_int(*bytes);
  return {};
}

Result<void> save_points(const CheckCall& call) {
  std::vector<std::string> words = split_blanks(call.value.text);
  if (words.size() == 1 && words[0] == "\"\"") {
    call.value.text.clear();
    return {};
  }
  if (words.size() % 2 != 0) return refuse("Invalid save parameters");
  for (std::size_t i = 0; i < words.size(); i += 2) {
    const auto seconds = parse_int(words[i]);
    const auto changes = parse_int(words[i + 1]);
    if (!seconds || *seconds < 1 || !changes || *changes < 0)
      return refuse("Invalid save parameters");
  }
  return {};
}

Result<void> oom_values(const CheckCall& call) {
  const std::vector<std::string> words = split_blanks(call.value.text);
  if (words.size() != 3) return refuse("wrong number of arguments");
  for (const std::string& word : words) {
    const auto number = parse_int(word);
    if (!number || *number < -2000 || *number > 2000) {
      return refuse("Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
    }
  }
  return {};
}

Result<void> percentiles(const CheckCall& call) {
  std::vector<std::string> words = split_blanks(call.value.text);
  for (const std::string& word : words) {
    const auto number = parse_double(word);
    if (!number) return refuse("Invalid latency-tracking-info-percentiles parameters");
    if (*number < 0 || *number > 100) {
      return refuse("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
    }
  }
  return {};
}

// The signals' answers: flags that may be joined; save and nosave exclude each other.
Result<void> shutdown_flags(const CheckCall& call) {
  constexpr auto known =
      std::to_array<std::string_view>({"default", "save", "nosave", "now", "force"});
  std::array<bool, known.size()> seen{};
  std::vector<std::string> words = split_blanks(call.value.text);
  if (words.empty()) words.emplace_back();  // no flag at all is no answer: refused below
  for (const std::string& word : words) {
    const auto* const found = std::find_if(
        known.begin(), known.end(), [&](auto name) { return equals_ignore_case(name, word); });
    if (found == known.end()) {
      return refuse("argument(s) must be one of the following: default, save, nosave, now, force");
    }
    seen[static_cast<std::size_t>(found - known.begin())] = true;
  }
  if (seen[1] && seen[2]) return refuse("Bad options for shutdown-on-signal");
  std::string text;
  for (std::size_t i = 1; i < known.size(); ++i) {
    if (seen[i]) text += (text.empty() ? "" : " ") + std::string(known[i]);
  }
  call.value.text = text.empty() ? "default" : text;
  return {};
}

// The classes of keyspace events. 'A' stands for all of g$lshzxetd; the canonical order is Redis'.
Result<void> event_classes(const CheckCall& call) {
  constexpr std::string_view known = "Ag$lshzxeKEtmdn";
  constexpr std::string_view all = "g$lshzxetd";
  constexpr std::string_view order = "g$lshzxetdnKEm";
  std::string wanted;
  for (const char c : call.value.text) {
    if (known.find(c) == std::string_view::npos) {
      return refuse("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    }
    wanted += c == 'A' ? std::string(all) : std::string(1, c);
  }
  const auto has = [&](char c) { return wanted.find(c) != std::string::npos; };
  const bool has_all = std::all_of(all.begin(), all.end(), has);
  std::string text = has_all ? "A" : "";
  for (const char c : order) {
    if (has(c) && !(has_all && all.find(c) != std::string_view::npos)) text.push_back(c);
  }
  call.value.text = text;
  return {};
}

constexpr auto class_names = std::to_array<std::string_view>({"normal", "slave", "pubsub"});

std::optional<std::size_t> find_class(std::string_view name) {
  if (equals_ignore_case(name, "replica")) return 1;
  for (std::size_t i = 0; i < class_names.size(); ++i) {
    if (equals_ignore_case(class_names[i], name)) return i;
  }
  return std::nullopt;
}

Result<void> buffer_limits(const CheckCall& call) {
  const std::vector<std::string> words = split_blanks(call.value.text);
  if (words.size() % 4 != 0) {
    return refuse("Wrong number of arguments in buffer limit configuration.");
  }
  BufferLimits limits = parse_buffer_limits(call.current);
  for (std::size_t i = 0; i < words.size(); i += 4) {
    const auto which = find_class(words[i]);
    if (!which) return refuse("Invalid client class specified in buffer limit configuration.");
    const auto hard = parse_memory(words[i + 1]);
    const auto soft = parse_memory(words[i + 2]);
    const auto seconds = parse_int(words[i + 3]);
    if (!hard || !soft || !seconds || *seconds < 0) {
      return refuse("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    }
    limits[*which] = {*hard, *soft, *seconds};
  }
  std::string text;
  for (std::size_t i = 0; i < class_names.size(); ++i) {
    text += (i == 0 ? "" : " ") + std::string(class_names[i]) + " " +
            format_int(limits[i].hard_bytes) + " " + format_int(limits[i].soft_bytes) + " " +
            format_int(limits[i].soft_seconds);
  }
  call.value.text = text;
  return {};
}

using Check = Result<void> (*)(const CheckCall&);
struct CheckRow {
  Option option;
  Check check;
};
constexpr auto checks = std::to_array<CheckRow>({
#define GYRE_CHECK(id, function) {Option::id, function},
#include "config/options.def"
});

}  // namespace

Result<void> run_check(const CheckCall& call) {
  for (const CheckRow& row : checks) {
    if (row.option != call.spec.option) continue;
    if (auto checked = row.check(call); !checked) return checked.error();
  }
  return {};
}

BufferLimits parse_buffer_limits(std::string_view canonical) {
  BufferLimits limits{};
  const std::vector<std::string> words = split_blanks(canonical);
  for (std::size_t i = 0; i + 3 < words.size(); i += 4) {
    const auto which = find_class(words[i]);
    if (!which) continue;
    limits[*which] = {parse_memory(words[i + 1]).value_or(0),
                      parse_memory(words[i + 2]).value_or(0), parse_int(words[i + 3]).value_or(0)};
  }
  return limits;
}

}  // namespace gyre
