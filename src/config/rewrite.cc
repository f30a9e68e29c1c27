// CONFIG REWRITE: the main file comes to say what the node's values are.
//
// 1. A fresh Config reads the file as it stands (with its includes): what would a restart give?
// 2. Lines of options whose value differs are replaced where they stand first, and dropped where
//    they repeat; all other lines stay byte by byte. Options the file lacks are appended behind a
//    marker.
// 3. The new text is read again. What an include further down still overrides is appended, too;
//    then nothing may differ any more.
// 4. The text is written beside the file, forced to disk, and renamed over it: a crash leaves the
//    old file or the new one.
//
// A secret that came from the environment stays there: it was kept out of files on purpose.
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "base/file.h"
#include "base/numbers.h"
#include "config/config.h"
#include "config/line.h"

namespace gyre {
namespace {

constexpr std::string_view marker = "# Written by CONFIG REWRITE:";

Error failed(const std::string& why) {
  return {Errc::config, "Rewriting config file: " + why};
}

using Chosen = std::array<bool, options_total>;
bool& at(Chosen& chosen, Option option) {
  return chosen[static_cast<std::size_t>(option)];
}

// The option that a line of the file sets, if it sets one.
std::optional<Option> option_of_line(std::string_view line) {
  const auto words = split_words(line);
  if (!words || words->empty() || words->front().front() == '#') return std::nullopt;
  return find_option(words->front());
}

}  // namespace

class ConfigRewriter {
 public:
  explicit ConfigRewriter(const Config& config) : config_(config) {}

  Result<void> run() {
    std::string old_text;
    if (std::filesystem::exists(config_.file_)) {
      std::ifstream in(config_.file_, std::ios::binary);
      std::ostringstream whole;
      whole << in.rdbuf();
      if (!in) return failed("cannot read '" + config_.file_ + "'");
      old_text = std::move(whole).str();
    }
    auto differs = compare(old_text);
    if (!differs) return differs.error();
    std::string text = replaced(old_text, *differs);
    auto still = compare(text);
    if (!still) return still.error();
    for (const OptionSpec& spec : option_table()) {
      if (!at(*still, spec.option)) continue;
      if (spec.kind == OptionKind::lines || spec.option == Option::save)
        append(text, std::string(spec.name) + " \"\"\n");
      for (const std::string& line : config_lines(config_, spec)) append(text, line + "\n");
    }
    auto last = compare(text);
    if (!last) return last.error();
    for (const OptionSpec& spec : option_table()) {
      if (at(*last, spec.option))
        return failed("the file does not keep the value of " + std::string(spec.name));
    }
    if (text == old_text) return {};
    if (auto written = replace_file(config_.file_, text); !written)
      return failed(std::string(written.error().text()));
    return {};
  }

 private:
  // The options for which a restart with this text would give another value than the present one.
  Result<Chosen> compare(std::string_view text) const {
    const auto fresh = std::make_unique<Config>();
    if (auto loaded = fresh->load_lines(text, config_.file_, 0); !loaded)
      return failed(loaded.error().detail);
    Chosen differs{};
    for (const OptionSpec& spec : option_table()) {
      // What is to be done once is not to be done again by a restart.
      const bool kept_out = spec.has(option_flag::unwritten) ||
                            (spec.has(option_flag::secret) &&
                             config_.source(spec.option) == ConfigSource::environment);
      at(differs, spec.option) = !kept_out && fresh->text(spec.option) != config_.text(spec.option);
    }
    return differs;
  }

  std::string replaced(std::string_view old_text, Chosen differs) const {
    std::string text;
    Chosen written{};
    while (!old_text.empty()) {
      const std::size_t end = old_text.find('\n');
      const std::size_t size = end == std::string_view::npos ? old_text.size() : end + 1;
      const std::string_view line = old_text.substr(0, size);
      old_text.remove_prefix(size);
      const auto option = option_of_line(line);
      if (!option || !at(differs, *option)) {
        text += line;
      } else if (!at(written, *option)) {
        at(written, *option) = true;
        for (const std::string& fresh : config_lines(config_, option_spec(*option)))
          text += fresh + "\n";
      }
    }
    for (const OptionSpec& spec : option_table()) {
      if (!at(differs, spec.option) || at(written, spec.option)) continue;
      for (const std::string& line : config_lines(config_, spec)) append(text, line + "\n");
    }
    return text;
  }

  // Adds at the end, behind the marker.
  static void append(std::string& text, const std::string& line) {
    if (!text.empty() && text.back() != '\n') text.push_back('\n');
    if (text.find(marker) == std::string::npos) text += "\n" + std::string(marker) + "\n";
    text += line;
  }

  const Config& config_;
};

std::vector<std::string> config_lines(const Config& config, const OptionSpec& spec) {
  const std::string name = std::string(spec.name) + " ";
  const std::string text = config.text(spec.option);
  std::vector<std::string> lines;
  if (spec.kind == OptionKind::lines) {
    for (std::size_t from = 0; from < text.size();) {
      const std::size_t end = text.find('\n', from);
      lines.push_back(name + text.substr(from, end - from));
      from = end + 1;
    }
  } else if (spec.option == Option::client_output_buffer_limit) {
    constexpr auto classes = std::to_array<std::string_view>({"normal", "replica", "pubsub"});
    const BufferLimits limits = parse_buffer_limits(text);
    for (std::size_t i = 0; i < classes.size(); ++i) {
      lines.push_back(name + std::string(classes[i]) + " " + memory_text(limits[i].hard_bytes) +
                      " " + memory_text(limits[i].soft_bytes) + " " +
                      format_int(limits[i].soft_seconds));
    }
  } else if (spec.kind == OptionKind::memory) {
    lines.push_back(name + memory_text(parse_memory(text).value_or(0)));
  } else if (spec.has(option_flag::many) && !text.empty()) {
    lines.push_back(name + joined_words(split_blanks(text)));
  } else {
    lines.push_back(name + quote_word(text));
  }
  return lines;
}

Result<void> Config::rewrite() {
  const std::lock_guard lock(mutex_);
  if (file_.empty()) return Error(Errc::config, "The server is running without a config file");
  return ConfigRewriter(*this).run();
}

}  // namespace gyre
