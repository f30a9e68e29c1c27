// CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO: caches that clients keep (server/tracking.h).

#include <algorithm>
#include <array>

#include "server/session_parts.h"

namespace gyre {
namespace {

struct Wanted {
  ClientTracking tracking;
  std::vector<std::string> prefixes;
};

bool overlap(std::string_view a, std::string_view b) {
  return a.starts_with(b) || b.starts_with(a);
}

// An error, as Redis says it.
std::optional<std::string> clash_of(const Wanted& wanted, const ClientTracking* now) {
  for (std::size_t i = 0; i < wanted.prefixes.size(); ++i) {
    const std::string& prefix = wanted.prefixes[i];
    const auto says = [&](const char* other_is, const std::string& other) {
      return "Prefix '" + prefix + "' overlaps with " + other_is + " prefix '" + other +
             "'. Prefixes for a single client must not overlap.";
    };
    if (now) {
      for (const std::string& other : now->prefixes) {
        if (overlap(prefix, other)) return says("an existing", other);
      }
    }
    for (std::size_t k = i + 1; k < wanted.prefixes.size(); ++k) {
      if (overlap(prefix, wanted.prefixes[k])) return says("another provided", wanted.prefixes[k]);
    }
  }
  return std::nullopt;
}

// The options; false: the error is answered.
bool parse(SessionCall& call, Wanted& wanted) {
  ClientTracking& t = wanted.tracking;
  for (std::size_t i = 3; i < call.args.size(); ++i) {
    const bool more = i + 1 < call.args.size();
    if (is_word(call.args[i], "redirect") && more) {
      if (t.redirect != 0) {
        call.reply.error("A client can only redirect to a single other client");
        return false;
      }
      const auto id = int_of(call, ++i, "Invalid client ID");
      if (!id) return false;
      t.redirect = static_cast<std::uint64_t>(*id);
      if (*id <= 0) t.redirect = ~std::uint64_t{0};  // nobody's
    } else if (is_word(call.args[i], "bcast")) {
      t.bcast = true;
    } else if (is_word(call.args[i], "optin")) {
      t.optin = true;
    } else if (is_word(call.args[i], "optout")) {
      t.optout = true;
    } else if (is_word(call.args[i], "noloop")) {
      t.noloop = true;
    } else if (is_word(call.args[i], "prefix") && more) {
      wanted.prefixes.emplace_back(call.args[++i]);
    } else {
      call.reply.error(Errc::syntax);
      return false;
    }
  }
  return true;
}

// Whether that may be begun now, and on top of what the client tracks already.
bool fits(SessionCall& call, Wanted& wanted) {
  const ClientTracking& t = wanted.tracking;
  const ClientTracking* now = call.connection.tracking.get();
  const auto refuse = [&](const std::string& why) { return call.reply.error(why), false; };
  if (!t.bcast && !wanted.prefixes.empty())
    return refuse("PREFIX option requires BCAST mode to be enabled");
  if (now && now->bcast != t.bcast)
    return refuse(
        "You can't switch BCAST mode on/off before disabling tracking for this client, and then "
        "re-enabling it with a different mode.");
  if (t.bcast && (t.optin || t.optout))
    return refuse("OPTIN and OPTOUT are not compatible with BCAST");
  if (t.optin && t.optout) return refuse("You can't specify both OPTIN mode and OPTOUT mode");
  if (now && ((t.optin && now->optout) || (t.optout && now->optin)))
    return refuse(
        "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then "
        "re-enabling it with a different mode.");
  if (t.bcast) {
    if (const auto clash = clash_of(wanted, now)) return refuse(*clash);
    if (wanted.prefixes.empty() && !now) wanted.prefixes.emplace_back();
  }
  return true;
}

// Each thread says whether the client that invalidations go to is one of its own, and has the
// prefixes from then on: when the answer leaves, no change goes untold.
void begin(SessionCall& call, Wanted&& given) {
  auto wanted = std::make_shared<Wanted>(std::move(given));
  const TrackingClient reader{.client = call.connection.id,
                              .thread = call.worker.shard().value,
                              .noloop = wanted->tracking.noloop};
  const std::function<bool(Worker&)> ask = [wanted, reader](Worker& w) {
    for (const std::string& prefix : wanted->prefixes)
      w.space().tracked().add_prefix(prefix, reader);
    return wanted->tracking.redirect != 0 && w.find(wanted->tracking.redirect) != nullptr;
  };
  Worker& home = call.worker;
  ask_workers<bool>(
      call, ask,
      [wanted, reader, &home](std::vector<bool>&& has, Reply& reply) {
        Connection* c = home.find(reader.client);
        if (!c) return home.forget_prefixes(reader.client);
        ClientTracking& t = wanted->tracking;
        if (t.redirect != 0) {
          const auto at = std::find(has.begin(), has.end(), true);
          if (at == has.end()) {
            if (!c->tracking) home.forget_prefixes(reader.client);
            return reply.error("The client ID you want redirect to does not exist");
          }
          t.redirect_thread = static_cast<std::uint16_t>(at - has.begin());
        }
        if (c->tracking) {
          t.prefixes = std::move(c->tracking->prefixes);
        } else {
          home.server().tracking_clients.fetch_add(1);
        }
        TrackedPrefixes::Prefixes fresh;
        for (const std::string& prefix : wanted->prefixes) {
          if (t.prefixes.insert(prefix).second) fresh.insert(prefix);
        }
        home.server().tracked_prefixes.add(fresh);
        c->tracking = std::make_unique<ClientTracking>(std::move(t));
        reply.ok();
      },
      true, wanted->tracking.bcast);
}

void tracking(SessionCall& call) {
  const bool on = is_word(call.args[2], "on");
  if (!on && !is_word(call.args[2], "off")) return call.reply.error(Errc::syntax);
  Wanted wanted{};
  if (!parse(call, wanted)) return;
  if (on) return fits(call, wanted) ? begin(call, std::move(wanted)) : void();
  call.worker.stop_tracking(call.connection);
  call.reply.ok();
}

void caching(SessionCall& call) {
  ClientTracking* t = call.connection.tracking.get();
  if (!t || (!t->optin && !t->optout)) {
    return call.reply.error(
        "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
        "OPTOUT mode enabled");
  }
  if (is_word(call.args[2], "yes")) {
    if (!t->optin)
      return call.reply.error(
          "CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
    t->caching = ClientTracking::Caching::yes;
  } else if (is_word(call.args[2], "no")) {
    if (!t->optout)
      return call.reply.error(
          "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
    t->caching = ClientTracking::Caching::no;
  } else {
    return call.reply.error(Errc::syntax);
  }
  call.reply.ok();
}

std::int64_t redirect_of(const Connection& c) {
  return c.tracking ? static_cast<std::int64_t>(c.tracking->redirect) : -1;
}

void getredir(SessionCall& call) {
  call.reply.integer(redirect_of(call.connection));
}

void trackinginfo(SessionCall& call) {
  const ClientTracking* t = call.connection.tracking.get();
  std::vector<std::string_view> flags{t ? "on" : "off"};
  const auto add = [&](bool is, std::string_view name) {
    if (is) flags.push_back(name);
  };
  if (t) {
    add(t->bcast, "bcast");
    add(t->optin, "optin");
    add(t->caching == ClientTracking::Caching::yes, "caching-yes");
    add(t->optout, "optout");
    add(t->caching == ClientTracking::Caching::no, "caching-no");
    add(t->noloop, "noloop");
    add(t->broken, "broken_redirect");
  }
  Reply& reply = call.reply;
  reply.map(3);
  reply.bulk("flags");
  reply.set(flags.size());
  for (const std::string_view flag : flags) reply.bulk(flag);
  reply.bulk("redirect");
  reply.integer(redirect_of(call.connection));
  reply.bulk("prefixes");
  reply.array(t ? t->prefixes.size() : 0);
  if (!t) return;
  for (const std::string& prefix : t->prefixes) reply.bulk(prefix);
}

constexpr auto rows = std::to_array<SessionRow>({
    {"CLIENT|TRACKING", tracking},
    {"CLIENT|CACHING", caching},
    {"CLIENT|GETREDIR", getredir},
    {"CLIENT|TRACKINGINFO", trackinginfo},
});

}  // namespace

std::span<const SessionRow> tracking_handlers() {
  return rows;
}

}  // namespace gyre
