#include "server/import.h"

#include <cstring>

#include "base/log.h"
#include "commands/table.h"
#include "config/config.h"
#include "persist/file_io.h"
#include "rdb/file.h"
#include "ring/slot.h"
#include "server/server.h"
#include "server/worker.h"
#include "server/worker_scripts.h"

namespace gyre {

struct Import::File {
  explicit File(const std::string& path, std::size_t room)
      : mapped(path), reader(mapped.bytes(), room) {}
  MappedFile mapped;
  rdb::FileReader reader;
  bool ended = false;
};

Import::Import() = default;
Import::~Import() = default;

Result<void> Import::open(const std::string& path) {
  constexpr std::size_t room = std::size_t{512} << 20;  // as proto-max-bulk-len begins
  path_ = path;
  auto file = std::make_unique<File>(path, room);
  const auto fails = [&](const std::string& why) { return Error(Errc::err, path + ": " + why); };
  if (file->mapped.error() != 0) return fails(std::strerror(file->mapped.error()));
  if (!file->reader.intact()) return fails(file->reader.error());
  file_ = std::move(file);
  return {};
}

void Import::step(Worker& worker) {
  const SteadyMs now = worker.now_ms();
  if (began_ == 0) {
    began_ = told_ = now;
    LOG_NOTICE("the import of %s begins", path_.c_str());
  }
  rdb::FileReader& reader = file_->reader;
  const CommandSpec* const restore = find_command("RESTORE");
  const std::size_t databases = worker.space().databases();
  for (std::size_t i = 0; i < keys_a_step && !file_->ended && out_ < out_most; ++i) {
    const auto key = reader.next();
    take_functions(worker);
    if (!key) {
      file_->ended = true;
      break;
    }
    if (key->expires_at != 0 && key->expires_at <= worker.wall_ms()) {
      ++expired_;
      continue;
    }
    if (key->db >= databases) {
      LOG_SELDOM(warning, "a key of database %zu is passed over: there are %zu", key->db,
                 databases);
      ++failed_;
      continue;
    }
    const std::string ttl = std::to_string(key->expires_at);
    const std::string payload = rdb::sealed_payload(std::string(key->value));
    const std::string_view words[] = {"RESTORE", key->key, ttl, payload, "REPLACE", "ABSTTL"};
    Request r;
    r.slot = key_slot(key->key);
    r.levels = worker.server().default_levels();
    r.commands.emplace_back(*restore, worker.command_options().databases.lies(key->db),
                            Args(words));
    r.ticket = worker.callback_ticket([this, &worker](std::string&& reply, std::uint64_t) {
      sent(reply);
      go_on(worker);
    });
    ++out_;
    worker.submit(std::move(r));
  }
  if (now - told_ > 5000) {
    told_ = now;
    LOG_NOTICE("import: %llu keys, %.0f %% of the file", static_cast<unsigned long long>(keys_),
               100.0 * static_cast<double>(reader.offset()) /
                   static_cast<double>(file_->mapped.bytes().size()));
  }
  if (file_->ended && out_ == 0) return end();
  go_on(worker);
}

// Those of the file met since the last time replace this node's of the same name. As FUNCTION LOAD,
// for this node alone.
void Import::take_functions(Worker& worker) {
  const auto& codes = file_->reader.functions();
  for (; functions_seen_ < codes.size(); ++functions_seen_) {
    auto library = worker.scripts().interpreter().load_library(codes[functions_seen_]);
    Result<void> added;
    if (library) {
      const auto shared = std::make_shared<const Library>(std::move(*library));
      added =
          worker.server().change_functions([&](Libraries& all) { return all.add(shared, true); });
    } else {
      added = library.error();
    }
    if (added) {
      ++functions_;
    } else {
      LOG_WARNING("import: a library of functions was refused: %s",
                  std::string(added.error().text()).c_str());
    }
  }
}

// The next ones when half of those that are out are through, not at the next tick.
void Import::go_on(Worker& worker) {
  if (posted_ || !file_ || file_->ended || out_ > out_most / 2) return;
  posted_ = true;
  worker.post([this](Worker& w) {
    posted_ = false;
    if (file_) step(w);
  });
}

void Import::sent(std::string_view reply) {
  --out_;
  if (!reply.starts_with('-')) return void(++keys_);
  ++failed_;
  LOG_SELDOM(warning, "import: a key was refused: %s",
             std::string(reply.substr(0, reply.find('\r'))).c_str());
}

void Import::end() {
  const rdb::FileReader& reader = file_->reader;
  if (!reader.error().empty())
    LOG_WARNING("import: the file cannot be read on: %s", reader.error().c_str());
  if (functions_ > 0) LOG_NOTICE("import: %zu libraries of functions were loaded", functions_);
  LOG_NOTICE("the import of %s has ended: %llu keys stored, %llu had expired, %llu failed",
             path_.c_str(), static_cast<unsigned long long>(keys_),
             static_cast<unsigned long long>(expired_), static_cast<unsigned long long>(failed_));
  file_.reset();
}

}  // namespace gyre
