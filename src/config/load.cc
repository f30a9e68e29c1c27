// Config's values at start: file, environment, command line.
#include <glob.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/numbers.h"
#include "config/config.h"
#include "config/line.h"

namespace gyre {
namespace {

constexpr int include_depth_max = 8;
constexpr int include_refused = -1;                      // depth of text that has no folder
constexpr std::size_t file_bytes_max = 4 * 1024 * 1024;  // an include of a device ends here
constexpr std::string_view environment_prefix = "GYRE_";

Error failed(std::string text) {
  return {Errc::config, std::move(text)};
}

struct FileCloser {
  void operator()(std::FILE* file) const {
    if (file != stdin) std::fclose(file);
  }
};

Result<std::string> read_file(const std::string& path) {
  const std::unique_ptr<std::FILE, FileCloser> file(path == "-" ? stdin
                                                                : std::fopen(path.c_str(), "re"));
  if (!file) return failed("cannot open config file '" + path + "': " + std::strerror(errno));
  std::string text;
  char block[16384];
  while (const std::size_t n = std::fread(block, 1, sizeof block, file.get())) {
    text.append(block, n);
    if (text.size() > file_bytes_max)
      return failed("config file '" + path + "' is larger than 4 MB");
  }
  if (std::ferror(file.get()) != 0) return failed("cannot read config file '" + path + "'");
  return text;
}

// The line as an error may show it: a secret's value never, and not without end.
std::string shown(std::string_view line, std::string_view name) {
  constexpr std::size_t longest = 200;
  const auto option = find_option(name);
  if (option && option_spec(*option).has(option_flag::secret)) return std::string(name) + " ***";
  return std::string(line.substr(0, longest)) + (line.size() > longest ? "..." : "");
}

std::string_view trimmed(std::string_view line) {
  const std::size_t start = line.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return {};
  return line.substr(start, line.find_last_not_of(" \t\r\n") - start + 1);
}

// Kubernetes puts GYRE_PORT=tcp://..., GYRE_SERVICE_HOST, GYRE_PORT_6379_TCP and more into every
// pod beside a service called "gyre". They are not meant for us.
bool is_service_link(std::string_view name, std::string_view value) {
  return name.starts_with("SERVICE_") || name.starts_with("PORT_") ||
         (name == "PORT" && value.starts_with("tcp://"));
}

// MAX_CLOCK_SKEW to max-clock-skew; a few names of Redis have underscores of their own.
std::optional<Option> find_by_variable(std::string_view variable) {
  std::string name = to_lower(variable);
  if (const auto option = find_option(name)) return option;
  std::replace(name.begin(), name.end(), '_', '-');
  return find_option(name);
}

bool is_name(std::string_view argument) {
  return argument.starts_with("--") && argument.size() > 2;
}

}  // namespace

Result<void> Config::load(int argc, const char* const* argv, const char* const* environment) {
  std::vector<std::string_view> arguments;
  for (int i = 1; i < argc; ++i) arguments.emplace_back(argv[i]);
  std::vector<std::string_view> variables;
  for (; environment != nullptr && *environment != nullptr; ++environment)
    variables.emplace_back(*environment);

  std::span<const std::string_view> rest = arguments;
  if (!rest.empty() && !is_name(rest.front())) {
    if (auto loaded = load_file(std::string(rest.front())); !loaded) return loaded;
    rest = rest.subspan(1);
  }
  if (auto loaded = load_environment(variables); !loaded) return loaded;
  if (auto loaded = load_arguments(rest); !loaded) return loaded;
  return check_whole();
}

Result<void> Config::load_file(const std::string& path) {
  if (path == "-") {
    auto text = read_file(path);
    if (!text) return text.error();
    return load_lines(*text, "standard input", include_refused);
  }
  std::error_code error;
  const auto whole = std::filesystem::absolute(path, error);
  file_ = error ? path : whole.lexically_normal().string();
  return load_folder_file(file_, 0);
}

Result<void> Config::load_text(std::string_view text, std::string_view origin) {
  return load_lines(text, std::string(origin), include_refused);
}

Result<void> Config::load_folder_file(const std::string& path, int depth) {
  auto text = read_file(path);
  if (!text) return text.error();
  return load_lines(*text, path, depth);
}

// origin: the file's path, which includes start from and errors name.
Result<void> Config::load_lines(std::string_view text, const std::string& origin, int depth) {
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.empty() || line.front() == '#') continue;

    const auto words = split_words(line);
    Result<void> done;
    std::string_view name = line.substr(0, line.find_first_of(" \t"));
    if (!words) {
      done = failed("a quote is not closed, or text follows it without a blank");
    } else if (words->empty()) {
      continue;
    } else if (equals_ignore_case(words->front(), "include")) {
      done = words->size() == 2 ? load_include((*words)[1], origin, depth)
                                : failed("include takes one path");
    } else {
      name = words->front();
      done = assign(name, std::span(*words).subspan(1), ConfigSource::file);
    }
    if (!done) {
      return failed(origin + ", line " + format_int(static_cast<std::int64_t>(number)) + ": '" +
                    shown(line, name) + "': " + done.error().detail);
    }
  }
  return {};
}

// A pattern may match no file; a plain path must be there. Relative paths start from the folder of
// the file that includes, so that they mean the same wherever the server is started.
Result<void> Config::load_include(std::string_view pattern, const std::string& origin, int depth) {
  if (depth == include_refused) return failed("include works in files only");
  if (depth + 1 >= include_depth_max)
    return failed("includes are nested too deeply (at most 8 files)");
  const std::string path = (std::filesystem::path(origin).parent_path() / pattern).string();
  if (pattern.find_first_of("*?[") == std::string_view::npos)
    return load_folder_file(path, depth + 1);
  glob_t found{};
  std::vector<std::string> paths;
  if (glob(path.c_str(), 0, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
  }
  globfree(&found);
  for (const std::string& each : paths) {
    if (auto loaded = load_folder_file(each, depth + 1); !loaded) return loaded;
  }
  return {};
}

// Lists of lines are given in one variable, with ';' or line ends between.
Result<void> Config::load_environment(std::span<const std::string_view> variables) {
  for (const std::string_view variable : variables) {
    const std::size_t equals = variable.find('=');
    if (!variable.starts_with(environment_prefix) || equals == std::string_view::npos) continue;
    const std::string_view key = variable.substr(0, equals);
    const std::string_view name = key.substr(environment_prefix.size());
    std::string_view rest = variable.substr(equals + 1);
    if (is_service_link(name, rest)) continue;
    const auto option = find_by_variable(name);
    if (!option) {
      std::string wanted = to_lower(name);
      std::replace(wanted.begin(), wanted.end(), '_', '-');
      const std::string_view near = nearest_option(wanted);
      return failed("environment: " + std::string(key) + ": there is no option '" + wanted + "'" +
                    (near.empty() ? "" : "; did you mean '" + std::string(near) + "'?"));
    }
    const OptionSpec& spec = option_spec(*option);
    Result<void> done;
    if (spec.kind != OptionKind::lines) {
      const std::string word(rest);
      done = assign(spec.name, std::span(&word, 1), ConfigSource::environment);
    }
    while (spec.kind == OptionKind::lines && !rest.empty() && done) {
      const std::size_t end = std::min(rest.find_first_of(";\n"), rest.size());
      const auto words = split_words(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (!words) done = failed("a quote is not closed");
      if (words && !words->empty()) done = assign(spec.name, *words, ConfigSource::environment);
    }
    if (!done) {
      return failed("environment: " + std::string(key) + ": '" +
                    shown(variable.substr(equals + 1), spec.name) + "': " + done.error().detail);
    }
  }
  return {};
}

Result<void> Config::load_arguments(std::span<const std::string_view> arguments) {
  for (std::size_t i = 0; i < arguments.size();) {
    const std::string_view argument = arguments[i++];
    if (!is_name(argument)) {
      return failed("command line: '" + std::string(argument) + "': an option begins with --");
    }
    const std::string_view name = argument.substr(2);
    std::vector<std::string> words;
    while (i < arguments.size() && !is_name(arguments[i])) words.emplace_back(arguments[i++]);
    const auto option = find_option(name);
    if (words.empty() && option == Option::save)
      words.emplace_back();  // as Redis reads a bare --save
    // One argument may hold all the words of an option that takes several ("--bind
    // '::1 10.0.0.1'").
    if (words.size() == 1 && option && option_spec(*option).kind == OptionKind::lines) {
      if (auto split = split_words(words[0]); split && !split->empty()) words = std::move(*split);
    }
    if (auto done = assign(name, words, ConfigSource::arguments); !done) {
      const std::string line =
          words.empty() ? std::string(argument) : std::string(argument) + " " + joined_words(words);
      return failed("command line: '" + shown(line, name) + "': " + done.error().detail);
    }
  }
  return {};
}

}  // namespace gyre
