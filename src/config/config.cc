#include "config/config.h"

#include <algorithm>

#include "base/glob.h"
#include "base/numbers.h"
#include "config/line.h"

namespace gyre {
namespace {

Error failed(std::string text) {
  return {Errc::config, std::move(text)};
}

Error set_failed(std::string_view name, std::string_view why) {
  return failed("CONFIG SET failed (possibly related to argument '" + std::string(name) + "') - " +
                std::string(why));
}

// Rules between options. value(Option) answers what each is, or is about to become.
template <class Lookup>
Result<void> check_fit(const Lookup& value) {
  if (value(Option::peer_timeout_min).number > value(Option::peer_timeout_max).number) {
    return failed("peer-timeout-min must not be above peer-timeout-max");
  }
  for (const Option level : {Option::write_consistency, Option::read_consistency}) {
    const auto count = parse_int(value(level).text);
    if (count && *count > value(Option::replication_factor).number) {
      return failed(std::string(option_spec(level).name) + " must not be above replication-factor");
    }
  }
  return {};
}

Error unknown_option(std::string_view name) {
  std::string text = "unknown option '" + std::string(name) + "'";
  if (const std::string_view near = nearest_option(name); !near.empty()) {
    text += "; did you mean '" + std::string(near) + "'?";
  }
  return failed(std::move(text));
}

bool has_pattern(std::string_view text) {
  return text.find_first_of("*?[") != std::string_view::npos;
}

}  // namespace

std::vector<std::string> ConfigLines::lines() const {
  std::vector<std::string> all;
  const std::string text = text_.get();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    all.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return all;
}

Config::Config() {
#define GYRE_BOOL(id, ...) slots_[static_cast<std::size_t>(Option::id)].number = &id.number();
#define GYRE_INT(id, ...) slots_[static_cast<std::size_t>(Option::id)].number = &id;
#define GYRE_MEMORY(id, ...) slots_[static_cast<std::size_t>(Option::id)].number = &id;
#define GYRE_ENUM(Type, id, ...) slots_[static_cast<std::size_t>(Option::id)].number = &id.number();
#define GYRE_TEXT(id, ...) slots_[static_cast<std::size_t>(Option::id)].text = &id;
#define GYRE_LINES(id, ...) slots_[static_cast<std::size_t>(Option::id)].text = &id.text();
#include "config/options.def"
}

// ---- one value ----

OptionValue Config::value(Option option) const {
  const Slot& at = slot(option);
  OptionValue now;
  if (at.number != nullptr) now.number = at.number->get();
  if (at.text != nullptr) now.text = at.text->get();
  return now;
}

std::string Config::text(Option option) const {
  return value_text(option_spec(option), value(option));
}

void Config::store(Option option, OptionValue new_value, ConfigSource origin) {
  const Slot& at = slot(option);
  if (at.number != nullptr) at.number->store(new_value.number);
  if (at.text != nullptr) at.text->store(std::move(new_value.text));
  sources_[static_cast<std::size_t>(option)].store(origin, std::memory_order_relaxed);
}

Result<void> Config::assign(std::string_view name, std::string_view word) {
  const std::string one(word);
  return assign(name, std::span(&one, 1), ConfigSource::command);
}

Result<void> Config::assign(std::string_view name, std::span<const std::string> words,
                            ConfigSource origin) {
  const auto option = find_option(name);
  if (!option) return unknown_option(name);
  const OptionSpec& spec = option_spec(*option);
  if (words.empty()) return failed("the value is missing");
  const bool several = spec.kind == OptionKind::lines || spec.has(option_flag::many);
  if (words.size() > 1 && !several) return failed("one value is needed; quote it if it has blanks");

  const bool is_lines = spec.kind == OptionKind::lines;
  std::string given_text = is_lines ? joined_words(words) : words[0];
  const bool empty = words.size() == 1 && words[0].empty();
  if (is_lines) {
    given_text = empty ? "" : given_text + "\n";
  } else {
    for (std::size_t i = 1; i < words.size(); ++i) given_text += " " + words[i];
  }
  // These add up over the lines of one source; a stronger source begins anew, "" empties. Each line
  // is judged alone, so that many take no longer than their sum.
  const bool adds_up = is_lines || *option == Option::save;
  auto parsed = parse_value(spec, adds_up ? "" : text(*option), given_text);
  if (!parsed) {
    std::string why = parsed.error().detail;
    if (spec.kind == OptionKind::integer || spec.kind == OptionKind::memory) {
      why += "; allowed: " + allowed_values(spec);
    }
    return failed(std::move(why));
  }
  if (adds_up && source(*option) == origin && !parsed->text.empty()) {
    slot(*option).text->append(parsed->text, is_lines ? "" : " ");
  } else {
    store(*option, std::move(*parsed), origin);
  }
  return {};
}

Result<void> Config::check_whole() const {
  return check_fit([this](Option option) { return value(option); });
}

std::vector<Config::CompatNote> Config::compat_in_use() const {
  std::vector<CompatNote> notes;
  for (const OptionSpec& spec : option_table()) {
    if (!spec.has(option_flag::compat) || !given(spec.option)) continue;
    if (text(spec.option) != value_text(spec, default_value(spec)))
      notes.push_back({spec.name, spec.help});
  }
  return notes;
}

// ---- CONFIG GET and SET ----

void Config::on_validate(Option option, Validate hook) {
  validates_.emplace_back(option, std::move(hook));
}
void Config::on_change(Option option, Changed hook) {
  changes_.emplace_back(option, std::move(hook));
}

std::vector<Config::Pair> Config::get(std::span<const std::string_view> patterns) const {
  std::vector<Pair> found;
  const auto add = [&](std::string_view name, Option option) {
    const bool there = std::any_of(found.begin(), found.end(), [&](const Pair& pair) {
      return equals_ignore_case(pair.first, name);
    });
    if (!there) found.emplace_back(name, text(option));
  };
  for (const std::string_view pattern : patterns) {
    if (!has_pattern(pattern)) {
      // A plain name comes back as it was asked for, as Redis does.
      if (const auto option = find_option(pattern)) add(pattern, *option);
      continue;
    }
    for (const OptionSpec& spec : option_table()) {
      if (glob_match(pattern, spec.name, true)) add(spec.name, spec.option);
    }
    for (const OptionAlias& alias : option_aliases()) {
      if (glob_match(pattern, alias.name, true)) add(alias.name, alias.option);
    }
  }
  return found;
}

namespace {

// Options that Redis does not have: tools that set every option to what it is, and know Redis'
// fixed ones, must not fail at these.
bool own_at_start(Option option) {
  constexpr Option own[] = {Option::cluster_client_port,
                            Option::bus_port,
                            Option::bus_bind,
                            Option::threads,
                            Option::persistence,
                            Option::node_name,
                            Option::cluster_name,
                            Option::cluster_secret_file,
                            Option::cluster_node,
                            Option::replication_factor,
                            Option::import_file,
                            Option::user};
  return std::find(std::begin(own), std::end(own), option) != std::end(own);
}

}  // namespace

// Checks one pair of a CONFIG SET as far as it can be checked alone.
Result<void> Config::prepare(std::string_view name, std::string_view new_text, bool local,
                             Change& change) const {
  const auto option = find_option(name);
  if (!option) {
    return failed("Unknown option or number of arguments for CONFIG SET - '" + std::string(name) +
                  "'");
  }
  const OptionSpec& spec = option_spec(*option);
  if (!spec.has(option_flag::runtime | option_flag::restart)) {
    if (!own_at_start(*option) || new_text != text(*option))
      return set_failed(name, "can't set immutable config");
    change = {*option, name, value(*option)};
    return {};
  }
  if (spec.has(option_flag::guarded)) {
    const auto who = enable_protected_configs.get();
    const bool may = who == choice::EnableProtectedConfigs::yes ||
                     (who == choice::EnableProtectedConfigs::local && local);
    if (!may) return set_failed(name, "can't set protected config");
  }
  auto parsed = parse_value(spec, text(*option), new_text);
  if (!parsed) return set_failed(name, parsed.error().text());
  if (spec.has(option_flag::restart) && value_text(spec, *parsed) != text(*option)) {
    return set_failed(name,
                      "it can't change while the node runs; change the config file and restart");
  }
  change = {*option, name, std::move(*parsed)};
  return {};
}

Result<void> Config::set(std::span<const std::pair<std::string_view, std::string_view>> pairs,
                         bool local) {
  const std::lock_guard lock(mutex_);
  std::vector<Change> changes;
  for (const auto& [name, new_text] : pairs) {
    Change change{};
    if (auto ready = prepare(name, new_text, local, change); !ready) return ready.error();
    for (const Change& other : changes) {
      if (other.option == change.option) return set_failed(name, "duplicate parameter");
    }
    changes.push_back(std::move(change));
  }
  const auto changed = [&](Option option) -> const Change* {
    const auto at = std::find_if(changes.begin(), changes.end(),
                                 [&](const Change& change) { return change.option == option; });
    return at == changes.end() ? nullptr : &*at;
  };
  const auto fits = check_fit([&](Option option) {
    const Change* const change = changed(option);
    return change != nullptr ? change->value : value(option);
  });
  if (!fits && !changes.empty()) return set_failed(changes.front().name, fits.error().text());
  for (const auto& [option, hook] : validates_) {
    const Change* const change = changed(option);
    if (change == nullptr) continue;
    const auto verdict = hook(value_text(option_spec(option), change->value));
    if (!verdict) return set_failed(change->name, verdict.error().text());
  }
  // Nothing can fail from here on.
  for (Change& change : changes)
    store(change.option, std::move(change.value), ConfigSource::command);
  for (const auto& [option, hook] : changes_) {
    if (changed(option) != nullptr) hook();
  }
  return {};
}

}  // namespace gyre
