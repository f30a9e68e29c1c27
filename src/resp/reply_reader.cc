#include "resp/reply_reader.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "base/numbers.h"

namespace gyre {
namespace {

// Lengths beyond these are nonsense of a peer that does not speak RESP.
constexpr std::int64_t bulk_max = std::int64_t{1} << 40;
constexpr std::int64_t elements_max = std::int64_t{1} << 32;

// Simple strings and errors stand on one line; a longer one is not a reply.
constexpr std::size_t line_max = 1024 * 1024;

bool is_big_number(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_nan(std::string_view text) {
  return equals_ignore_case(text, "nan") || equals_ignore_case(text, "-nan");
}

ReplyType aggregate_type(char type) {
  switch (type) {
    case '%':
      return ReplyType::map;
    case '~':
      return ReplyType::set;
    case '>':
      return ReplyType::push;
    default:
      return ReplyType::array;
  }
}

}  // namespace

ReplyRead ReplyReader::next(std::string_view input, std::size_t& used, ReplyValue& out) {
  used = 0;
  waiting_ = false;
  while (!failed_ && !waiting_ && open_[0].left > 0) {
    if (bulk_left_ > 0) {
      read_bulk(input, used);
    } else {
      read_line(input, used);
    }
  }
  if (failed_) return ReplyRead::error;
  if (waiting_) return ReplyRead::need_more;
  out = std::move(open_[0].value.elements[0]);
  restart();
  return ReplyRead::reply;
}

void ReplyReader::restart() {
  open_.clear();
  open_.emplace_back();
}

void ReplyReader::read_line(std::string_view input, std::size_t& used) {
  const std::string_view rest = input.substr(used);
  const std::string_view window = rest.substr(0, line_max + 2);
  const std::size_t end = window.find("\r\n", searched_);
  if (end == std::string_view::npos) {
    if (window.size() == line_max + 2) return fail("line too long");
    searched_ = window.empty() ? 0 : window.size() - 1;  // its last byte may be the CR
    waiting_ = true;
    return;
  }
  searched_ = 0;
  used += end + 2;
  if (end == 0) return fail("empty line");
  return begin(rest[0], rest.substr(1, end - 1));
}

void ReplyReader::begin(char type, std::string_view line) {
  switch (type) {
    case '$':
    case '!':
    case '=':
      return begin_bulk(type, line);
    case '*':
    case '%':
    case '~':
    case '>':
    case '|':
      return begin_aggregate(type, line);
    default:
      return read_scalar(type, line);
  }
}

void ReplyReader::begin_bulk(char type, std::string_view line) {
  const auto size = parse_int(line);
  if (type == '$' && size == -1) {
    settle(new_value(ReplyType::null));
    return;
  }
  if (!size || *size < 0 || *size > bulk_max) return fail("invalid bulk length");
  const ReplyType bulk_type = type == '$'   ? ReplyType::bulk
                              : type == '!' ? ReplyType::error
                                            : ReplyType::verbatim;
  bulk_ = new_value(bulk_type);
  bulk_left_ = static_cast<std::uint64_t>(*size) + 2;
}

void ReplyReader::begin_aggregate(char type, std::string_view line) {
  const auto count = parse_int(line);
  if (type == '*' && count == -1) {
    settle(new_value(ReplyType::null));
    return;
  }
  if (!count || *count < 0 || *count > elements_max) return fail("invalid aggregate length");
  const bool pairs = type == '%' || type == '|';
  const auto elements = static_cast<std::uint64_t>(*count) * (pairs ? 2 : 1);
  if (type == '|' && elements == 0) return;
  if (elements == 0) {
    settle(new_value(aggregate_type(type)));
    return;
  }
  if (open_.size() > reply_depth_max) return fail("nested too deeply");
  Frame frame;
  // An attribute takes nothing from those before it: they all go to the value behind them.
  if (type != '|') frame.value = new_value(aggregate_type(type));
  frame.is_attribute = type == '|';
  frame.left = elements;
  open_.push_back(std::move(frame));
}

void ReplyReader::read_scalar(char type, std::string_view line) {
  ReplyValue value = new_value(ReplyType::null);
  bool good = true;
  switch (type) {
    case '+':
    case '-':
      value.type = type == '+' ? ReplyType::simple : ReplyType::error;
      value.text = line;
      break;
    case ':': {
      const auto number = parse_int(line);
      good = number.has_value();
      value.type = ReplyType::integer;
      value.integer = number.value_or(0);
      break;
    }
    case ',': {
      const auto number = parse_double(line);
      good = number || is_nan(line);
      value.type = ReplyType::real;
      value.real = number.value_or(std::numeric_limits<double>::quiet_NaN());
      value.text = line;
      break;
    }
    case '#':
      good = line == "t" || line == "f";
      value.type = ReplyType::boolean;
      value.integer = line == "t" ? 1 : 0;
      break;
    case '(':
      good = is_big_number(line);
      value.type = ReplyType::big_number;
      value.text = line;
      break;
    case '_':
      good = line.empty();
      break;
    default:
      return fail("unknown type");
  }
  if (!good) return fail("invalid value");
  settle(std::move(value));
}

void ReplyReader::read_bulk(std::string_view input, std::size_t& used) {
  const std::string_view rest = input.substr(used);
  const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(bulk_left_, rest.size()));
  bulk_.text.append(rest.substr(0, take));
  used += take;
  bulk_left_ -= take;
  if (bulk_left_ > 0) {
    waiting_ = true;
  } else {
    finish_bulk();
  }
}

void ReplyReader::finish_bulk() {
  if (!bulk_.text.ends_with("\r\n")) return fail("bulk without its CR LF");
  bulk_.text.resize(bulk_.text.size() - 2);
  if (bulk_.type == ReplyType::verbatim) {
    if (bulk_.text.size() < 4 || bulk_.text[3] != ':') return fail("verbatim without its format");
    bulk_.format = bulk_.text.substr(0, 3);
    bulk_.text.erase(0, 4);
  }
  settle(std::exchange(bulk_, {}));
}

// A value at the place that is read now, with the attributes that stood before it.
ReplyValue ReplyReader::new_value(ReplyType type) {
  ReplyValue value;
  value.type = type;
  value.attributes = std::exchange(open_.back().attributes, {});
  return value;
}

// Puts a finished value where it belongs, and with it every aggregate that it completes.
void ReplyReader::settle(ReplyValue value) {
  for (;;) {
    Frame& top = open_.back();
    top.value.elements.push_back(std::move(value));
    if (--top.left > 0 || open_.size() == 1) return;
    Frame done = std::move(top);
    open_.pop_back();
    if (done.is_attribute) {
      auto& to = open_.back().attributes;
      std::move(done.value.elements.begin(), done.value.elements.end(), std::back_inserter(to));
      return;
    }
    value = std::move(done.value);
  }
}

void ReplyReader::fail(std::string_view why) {
  failed_ = true;
  error_ = Error(Errc::protocol, "Protocol error: " + std::string(why));
}

}  // namespace gyre
