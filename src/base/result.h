// Failure is a value: one Error (a code from errors.def and a detail), one Result.
//
// The detail is the whole text after the RESP prefix; when empty, the code's default text stands.
// Text for clients is made at the RESP edge (resp/reply.h), which also removes CR and LF.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/assert.h"

namespace gyre {

enum class Errc : std::uint8_t {
#define GYRE_ERROR(code, prefix, text) code,
#include "base/errors.def"
#undef GYRE_ERROR
};

// The RESP prefix ("WRONGTYPE") and the default text of a code.
std::string_view error_prefix(Errc code);
std::string_view error_text(Errc code);

struct Error {
  Errc code = Errc::err;
  std::string detail;

  Error(Errc c)
      : code(c) {}  // NOLINT(google-explicit-constructor): `return Errc::syntax;` reads well
  Error(Errc c, std::string d) : code(c), detail(std::move(d)) {}

  // What a human reads: the detail, or the code's default text.
  std::string_view text() const {
    return detail.empty() ? error_text(code) : std::string_view(detail);
  }
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::move(error)) {}  // NOLINT(google-explicit-constructor)
  Result(Errc code) : state_(Error(code)) {}         // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& value() {
    GYRE_ASSERT(state_.index() == 0);
    return *std::get_if<0>(&state_);
  }
  const T& value() const {
    GYRE_ASSERT(state_.index() == 0);
    return *std::get_if<0>(&state_);
  }
  const Error& error() const {
    GYRE_ASSERT(state_.index() == 1);
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error)
      : error_(std::move(error)), failed_(true) {}    // NOLINT(google-explicit-constructor)
  Result(Errc code) : error_(code), failed_(true) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return !failed_; }
  const Error& error() const {
    GYRE_ASSERT(failed_);
    return error_;
  }

 private:
  Error error_{Errc::err};
  bool failed_ = false;
};

}  // namespace gyre
