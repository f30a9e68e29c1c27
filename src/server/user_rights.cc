#include "server/user_rights.h"

#include "base/numbers.h"

namespace gyre {
namespace {

// The option by which SORT reads keys that its arguments do not name.
std::optional<std::string_view> wandering_option(Args args) {
  for (std::size_t i = 2; i + 1 < args.size(); ++i) {
    if (equals_ignore_case(args[i], "limit")) {
      i += 2;
    } else if (equals_ignore_case(args[i], "store")) {
      ++i;
    } else if (equals_ignore_case(args[i], "get")) {
      return "GET";
    } else if (equals_ignore_case(args[i], "by")) {
      if (args[++i].find('*') != std::string_view::npos) return "BY";
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Error> denied_option(const User& user, const CommandSpec& spec, Args args) {
  if (!spec.wanders) return std::nullopt;
  const auto option = wandering_option(args);
  if (!option || user.may_touch_all(spec, args, access::read)) return std::nullopt;
  return Error(Errc::err, std::string(*option) +
                              " option of SORT denied due to insufficient ACL permissions.");
}

std::optional<Error> UserRights::refuses(const CommandSpec& spec, Args args) const {
  const auto no = [](const char* why) {
    return Error(Errc::err, std::string("The user executing the script ") + why);
  };
  switch (user_->check(spec, args).why) {
    case Denied::command:
      return no("can't run this command or subcommand");
    case Denied::key:
      return no("can't access at least one of the keys mentioned in the command arguments");
    case Denied::channel:
      return no("can't publish to the channel mentioned in the command");
    case Denied::nothing:
      break;
  }
  return denied_option(*user_, spec, args);
}

// A line of an ACL file, without passwords, and the client's.
std::string UserRights::text() const {
  return "user " + user_->name() + " " + user_->describe_permissions() + "\n" + client_;
}

ScriptRightsPtr UserRights::from_text(std::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return nullptr;
  std::uint64_t id = 0;
  const auto users = parse_user_file(text.substr(0, end), "rights", false, id);
  if (!users || users->by_name.size() != 1) return nullptr;
  return std::make_shared<const UserRights>(users->by_name.begin()->second,
                                            std::string(text.substr(end + 1)));
}

}  // namespace gyre
