#include "membership/settings.h"

#include <algorithm>

#include "base/hash.h"

namespace gyre {
namespace {

std::uint64_t digest_of(std::uint8_t kind, std::string_view name, Version version) {
  return hash64(name, version.bits * 8 + kind);
}

WireSetting wire(std::uint8_t kind, std::string_view name, const std::optional<std::string>& value,
                 Version version) {
  return {.kind = kind,
          .gone = !value,
          .version = version,
          .name = name,
          .value = value ? std::string_view(*value) : std::string_view()};
}

}  // namespace

Settings::Known::iterator Settings::drop(Known::iterator at) {
  digest_ -= digest_of(at->first.first, at->first.second, at->second.version);
  bytes_ -= at->first.second.size() + (at->second.value ? at->second.value->size() : 0);
  return known_.erase(at);
}

Setting Settings::set(SettingKind kind, std::string_view name, std::optional<std::string> value,
                      UnixMs wall) {
  Setting setting{.kind = kind,
                  .name = std::string(name),
                  .value = std::move(value),
                  .version = clock_.stamp(wall)};
  take(setting);
  return setting;
}

bool Settings::take(Setting setting) {
  clock_.see(setting.version);
  if (setting.kind == SettingKind::script && setting.version <= flushed_) return false;
  const Key key{static_cast<std::uint8_t>(setting.kind), setting.name};
  if (const auto at = known_.find(key); at != known_.end()) {
    if (at->second.version >= setting.version) return false;
    drop(at);
  }
  digest_ += digest_of(key.first, key.second, setting.version);
  bytes_ += key.second.size() + (setting.value ? setting.value->size() : 0);
  known_.emplace(key, Value{std::move(setting.value), setting.version});
  if (setting.kind != SettingKind::flushed) return true;
  flushed_ = setting.version;
  auto at = known_.lower_bound({static_cast<std::uint8_t>(SettingKind::script), {}});
  while (at != known_.end() && at->first.first == static_cast<std::uint8_t>(SettingKind::script))
    at = at->second.version <= flushed_ ? drop(at) : std::next(at);
  return true;
}

void Settings::peer_up(NodeIndex peer, const Send& send) {
  told_.erase(peer.value);
  send(peer, {.id = 0, .compares = true, .digest = digest_, .settings = {}});
}

std::vector<Setting> Settings::on_told(NodeIndex from, const SettingsTold& m, const Send& send) {
  std::vector<Setting> fresh;
  for (const WireSetting& w : m.settings) {
    Setting setting{.kind = static_cast<SettingKind>(w.kind),
                    .name = std::string(w.name),
                    .value = w.gone ? std::nullopt : std::optional<std::string>(w.value),
                    .version = w.version};
    if (take(setting)) fresh.push_back(std::move(setting));
  }
  std::sort(fresh.begin(), fresh.end(),
            [](const auto& a, const auto& b) { return a.version < b.version; });
  // Once for a state of this node and a link: it does not matter what the peer makes of it.
  const auto told = told_.find(from.value);
  if (m.compares && m.digest != digest_ && (told == told_.end() || told->second != digest_))
    tell_all(from, send);
  return fresh;
}

void Settings::tell_all(NodeIndex to, const Send& send) {
  told_[to.value] = digest_;
  SettingsTold m;
  std::size_t size = 0;
  for (const auto& [key, value] : known_) {
    m.settings.push_back(wire(key.first, key.second, value.value, value.version));
    size += key.second.size() + m.settings.back().value.size();
    if (size < bytes_at_once) continue;
    send(to, m);
    m.settings.clear();
    size = 0;
  }
  m.compares = true;
  m.digest = digest_;
  send(to, m);
}

void Settings::tell(const std::vector<Setting>& changes, std::uint64_t id, SettingsTold& message) {
  message.id = id;
  for (const Setting& s : changes)
    message.settings.push_back(wire(static_cast<std::uint8_t>(s.kind), s.name, s.value, s.version));
}

std::optional<std::string> Settings::value(SettingKind kind, std::string_view name) const {
  const auto at = known_.find({static_cast<std::uint8_t>(kind), std::string(name)});
  return at == known_.end() ? std::nullopt : at->second.value;
}

std::vector<Setting> Settings::all(SettingKind kind) const {
  std::vector<Setting> out;
  for (const auto& [key, value] : known_) {
    if (key.first == static_cast<std::uint8_t>(kind))
      out.push_back({kind, key.second, value.value, value.version});
  }
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a.version < b.version; });
  return out;
}

}  // namespace gyre
