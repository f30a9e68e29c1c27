#include "server/ring_settings.h"

#include "base/bytes.h"
#include "base/log.h"
#include "server/server.h"
#include "server/session_parts.h"

namespace gyre {
namespace {

constexpr std::uint32_t settings_format = 1;

bool is_kept(SettingKind kind) {
  return kind == SettingKind::library || kind == SettingKind::databases;
}

// Each thread compiles it when it runs it; the node that was told has done so.
void remember(NodeScripts& scripts, std::string_view text) {
  auto program = read_program(text);
  if (!program) return;
  program->sha = sha1_hex(text);
  scripts.remember(std::make_shared<const Program>(std::move(*program)), true);
}

}  // namespace

void RingSettings::changed(SettingKind kind, std::string_view name,
                           std::optional<std::string> value) {
  if (server_.alone()) return;
  {
    const std::lock_guard lock(mutex_);
    settings_.set_clock_node(server_.identity().clock_node());
    untold_.push_back(settings_.set(kind, name, std::move(value), server_.clock().wall_ms()));
  }
  if (is_kept(kind)) save();
}

std::optional<std::string> RingSettings::value(SettingKind kind, std::string_view name) const {
  const std::lock_guard lock(mutex_);
  return settings_.value(kind, name);
}

bool RingSettings::untold() const {
  const std::lock_guard lock(mutex_);
  return !untold_.empty();
}

std::size_t RingSettings::count() const {
  const std::lock_guard lock(mutex_);
  return settings_.count();
}

std::size_t RingSettings::bytes() const {
  const std::lock_guard lock(mutex_);
  return settings_.bytes();
}

// ---- peers

Settings::Send RingSettings::sender(Worker& w) const {
  return [&w](NodeIndex to, const SettingsTold& m) {
    if (w.engine().peer(to).up) w.engine().send(to, 0, m);
  };
}

void RingSettings::tell(Worker& w, std::function<void(Worker&)> done) {
  std::vector<Setting> changes;
  {
    const std::lock_guard lock(mutex_);
    changes.swap(untold_);
  }
  SettingsTold m;
  Settings::tell(changes, next_id_++, m);
  Waiting waiting{.peers = {}, .until = w.now_ms() + told_within_ms, .done = std::move(done)};
  for (std::size_t i = 0; i < server_.ring().nodes().size(); ++i) {
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    if (peer == server_.self() || !w.engine().peer(peer).up) continue;
    // Without changes (another thread's command took them along) the question alone goes: who
    // answers it has what was sent before.
    w.engine().send(peer, 0, m);
    waiting.peers.insert(peer.value);
  }
  if (waiting.peers.empty()) return waiting.done(w);
  waiting_.emplace(m.id, std::move(waiting));
}

void RingSettings::peer_up(Worker& w, NodeIndex peer) {
  const std::lock_guard lock(mutex_);
  settings_.peer_up(peer, sender(w));
}

void RingSettings::on_message(Worker& w, NodeIndex peer, const Envelope& envelope) {
  if (envelope.kind == Kind::settings_taken) {
    SettingsTaken m;
    if (!decode_message(envelope, m)) return;
    const auto at = waiting_.find(m.id);
    if (at == waiting_.end()) return;
    at->second.peers.erase(peer.value);
    if (!at->second.peers.empty()) return;
    const auto done = std::move(at->second.done);
    waiting_.erase(at);
    return done(w);
  }
  SettingsTold m;
  if (!decode_message(envelope, m)) {
    LOG_SELDOM(warning, "settings from %s could not be read; they are dropped",
               server_.ring().node(peer).name.c_str());
    return;
  }
  std::vector<Setting> fresh;
  {
    const std::lock_guard lock(mutex_);
    fresh = settings_.on_told(peer, m, sender(w));
  }
  bool libraries = false, flushed = false, kept = false;
  for (const Setting& s : fresh) {
    libraries |= s.kind == SettingKind::library;
    flushed |= s.kind == SettingKind::flushed;
    kept |= is_kept(s.kind);
  }
  if (kept) save();
  if (flushed) apply_flush();
  if (libraries) {
    apply_libraries();
    if (auto written = server_.save_functions(); !written)
      LOG_WARNING("libraries cannot be kept: %s", std::string(written.error().text()).c_str());
  }
  for (const Setting& s : fresh) apply(w, s);
  if (m.id != 0) w.engine().send(peer, 0, SettingsTaken{.id = m.id});
}

void RingSettings::tick(Worker& w) {
  if (untold()) tell(w, [](Worker&) {});  // of an import
  const SteadyMs now = w.now_ms();
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    std::erase_if(at->second.peers,
                  [&](std::uint16_t peer) { return !w.engine().peer({peer}).up; });
    if (!at->second.peers.empty() && now < at->second.until) {
      ++at;
      continue;
    }
    const auto done = std::move(at->second.done);
    at = waiting_.erase(at);
    done(w);
  }
}

void finish_when_told(Worker& home, std::uint64_t client, std::uint64_t place, std::string&& out) {
  const auto kept = std::make_shared<std::string>(std::move(out));
  home.send_mail({0}, [=, to = home.shard()](Worker& first) {
    first.server().ring_settings.tell(first, [=](Worker& told) {
      told.send_mail(to,
                     [=](Worker& back) { finish_later(back, client, place, std::move(*kept)); });
    });
  });
}

void answer_when_told(SessionCall& call, Answer answer) {
  Worker& home = call.worker;
  if (!call.server().ring_settings.untold()) return answer(call.reply);
  if (call.inside_exec && !call.instead) {
    answer(call.reply);
    home.send_mail({0}, [](Worker& w) { w.server().ring_settings.tell(w, [](Worker&) {}); });
    return;
  }
  std::string out;
  Reply reply(out, call.reply.protocol());
  answer(reply);
  finish_when_told(home, call.connection.id, call.later(true), std::move(out));
}

// ---- what others changed

void RingSettings::apply(Worker& w, const Setting& setting) {
  switch (setting.kind) {
    case SettingKind::user:
      return server_.accounts().take(setting.name,
                                     [&] { return value(SettingKind::user, setting.name); });
    case SettingKind::script: {
      const auto lock = changing();
      const auto text = value(SettingKind::script, setting.name);
      if (!text) return;  // flushed meanwhile
      return remember(server_.scripts, *text);
    }
    case SettingKind::option:
      return apply_option(setting.name);
    case SettingKind::prefixes:
      return apply_prefixes(w, setting.name);
    case SettingKind::databases:
      return apply_databases();
    default:  // libraries and flushes are applied as a whole; others are a later version's
      return;
  }
}

void RingSettings::apply_option(const std::string& name) {
  const auto lock = changing();
  const auto option = find_option(name);
  const auto text = value(SettingKind::option, name);
  if (!text || !option || !option_spec(*option).has(option_flag::ring)) return;
  const std::pair<std::string_view, std::string_view> pair{name, *text};
  const auto set = server_.config().set({&pair, 1}, true);
  if (!set)
    LOG_WARNING("the ring's %s cannot be set here: %s", name.c_str(),
                std::string(set.error().text()).c_str());
}

// Clients are at the same number as before, so each may be at another database.
void RingSettings::apply_databases() {
  const auto lock = changing();
  const auto bytes = value(SettingKind::databases, "");
  const auto names = DatabaseNames::decoded(bytes ? std::string_view(*bytes) : std::string_view());
  if (!names ||
      (bytes && bytes->size() > static_cast<std::size_t>(server_.config().databases.get())))
    return LOG_WARNING("the ring's order of databases cannot be taken: %zu are numbered",
                       bytes ? bytes->size() : 0);
  server_.name_databases(*names);
}

void RingSettings::swap_databases(std::size_t a, std::size_t b) {
  const auto lock = changing();
  const auto bytes = value(SettingKind::databases, "");
  DatabaseNames names;
  if (const auto known = bytes ? DatabaseNames::decoded(*bytes) : std::nullopt) names = *known;
  names.swap(a, b);
  changed(SettingKind::databases, "", names.encoded());
  server_.name_databases(names);
}

// What a node of this name has left behind in an earlier run it takes back.
void RingSettings::apply_prefixes(Worker& w, const std::string& node) {
  const auto peer = server_.ring().find(node);
  if (!peer) return;
  if (*peer == server_.self()) return server_.tracked_prefixes.say_again();
  const auto names = std::make_shared<std::vector<std::string>>();
  const auto text = value(SettingKind::prefixes, node);
  Reader in(text ? std::string_view(*text) : std::string_view());
  while (in.left() > 0 && in.ok()) names->emplace_back(in.bytes());
  const TrackingClient reader = TrackingClient::of_peer(peer->value);
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    w.send_mail({static_cast<std::uint16_t>(i)}, [names, reader](Worker& there) {
      TrackedKeys& tracked = there.space().tracked();
      tracked.remove_prefixes(reader.client);
      for (const std::string& name : *names) tracked.add_prefix(name, reader);
    });
  }
}

void RingSettings::apply_flush() {
  const auto lock = changing();
  server_.scripts.flush();
  std::vector<Setting> scripts;
  {
    const std::lock_guard known(mutex_);
    scripts = settings_.all(SettingKind::script);
  }
  for (const Setting& s : scripts) {
    if (s.value) remember(server_.scripts, *s.value);
  }
}

// All nodes make the same of the same registers: older ones first, and one with a function that is
// another library's already is left out.
void RingSettings::apply_libraries() {
  const auto lock = changing();
  std::vector<Setting> libraries;
  {
    const std::lock_guard known(mutex_);
    libraries = settings_.all(SettingKind::library);
  }
  Libraries all;
  for (const Setting& s : libraries) {
    if (!s.value) continue;
    Reader in(*s.value);
    auto library = decode_library(in);
    const bool whole = library && in.finished() && library->name == s.name;
    const auto added = whole ? all.add(std::make_shared<const Library>(std::move(*library)), false)
                             : Error(Errc::corrupt, "it cannot be read");
    if (!added)
      LOG_WARNING("the ring's library '%s' is left out: %s", s.name.c_str(),
                  std::string(added.error().text()).c_str());
  }
  server_.replace_libraries(std::move(all));
}

// ---- the file

Result<void> RingSettings::load() {
  if (server_.alone()) return {};
  SmallFiles* files = server_.identity_files();
  if (files) {
    auto file = files->read("settings", "settings", settings_format);
    if (!file) return file.error();
    if (*file) {
      Reader in((*file)->content);
      for (std::uint64_t left = in.varint(); left > 0 && in.ok(); --left) {
        Setting s;
        s.kind = static_cast<SettingKind>(in.u8());
        s.version = {in.be64()};
        s.name = in.bytes();
        if (in.u8() != 0) s.value = in.bytes();
        settings_.take(std::move(s));
      }
      if (!in.finished()) return Error(Errc::corrupt, files->path("settings") + " cannot be read");
    }
  }
  // Of a time when this node was alone, or before the ring shared them: older than any change.
  for (const auto& [name, library] : server_.scripts.libraries()->by_name) {
    Setting s{.kind = SettingKind::library, .name = name, .value = {}, .version = {1}};
    s.value = encode_library(*library);
    settings_.take(std::move(s));
  }
  apply_libraries();
  apply_databases();
  return {};
}

void RingSettings::save() {
  SmallFiles* files = server_.identity_files();
  if (!files) return;
  const std::lock_guard lock(mutex_);
  std::vector<Setting> kept = settings_.all(SettingKind::library);
  for (Setting& s : settings_.all(SettingKind::databases)) kept.push_back(std::move(s));
  std::string content;
  put_varint(content, kept.size());
  for (const Setting& s : kept) {
    put_u8(content, static_cast<std::uint8_t>(s.kind));
    put_be64(content, s.version.bits);
    put_bytes(content, s.name);
    put_u8(content, s.value.has_value());
    if (s.value) put_bytes(content, *s.value);
  }
  if (auto written = files->write("settings", "settings", settings_format, content); !written)
    LOG_WARNING("the ring's libraries and databases cannot be kept: %s",
                std::string(written.error().text()).c_str());
}

}  // namespace gyre
