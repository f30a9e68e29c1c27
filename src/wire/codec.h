// Codec: a message is a struct that lists its fields once; encoding and decoding follow.
//
//     struct Fetch {
//       static constexpr Kind kind = Kind::fetch;
//       std::uint64_t id{};
//       std::string_view key;
//       template <class A> void fields(A& a) { a(id), a(key); }
//     };
//
// Integers are varints, versions 8 bytes, strings and lists carry their length. Decoding yields
// views into the input, never allocates from a declared number and fails as a whole.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "record/version.h"

namespace gyre {

class Encoder;

// Id<Tag, T> and its like: a number with a type, and not a message with a field of that name.
template <class T>
inline constexpr bool is_id = requires(T v) {
  v.value;
}
&&!requires(T v, Encoder& a) {
  v.fields(a);
};

class Encoder {
 public:
  explicit Encoder(std::string& to) : to_(to) {}

  template <class T>
  Encoder& operator()(const T& v) {
    if constexpr (std::is_same_v<T, bool>) {
      put_u8(to_, v);
    } else if constexpr (std::is_enum_v<T>) {
      put_u8(to_, static_cast<std::uint8_t>(v));
    } else if constexpr (std::is_signed_v<T>) {
      put_be64(to_, static_cast<std::uint64_t>(v));
    } else if constexpr (std::is_unsigned_v<T>) {
      put_varint(to_, v);
    } else if constexpr (std::is_same_v<T, Version>) {
      put_be64(to_, v.bits);
    } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
      put_bytes(to_, v);
    } else if constexpr (is_id<T>) {
      (*this)(v.value);
    } else if constexpr (requires { v.begin(); }) {
      put_varint(to_, v.size());
      for (const auto& item : v) (*this)(item);
    } else {
      const_cast<T&>(v).fields(*this);  // fields() only reads when the archive is an Encoder
    }
    return *this;
  }

 private:
  std::string& to_;
};

class Decoder {
 public:
  explicit Decoder(std::string_view from) : in_(from) {}
  bool finished() const { return ok_ && in_.finished(); }

  template <class T>
  Decoder& operator()(T& v) {
    if constexpr (std::is_same_v<T, bool>) {
      const std::uint8_t b = in_.u8();
      ok_ = ok_ && b <= 1;
      v = b == 1;
    } else if constexpr (std::is_enum_v<T>) {
      v = static_cast<T>(in_.u8());
    } else if constexpr (std::is_signed_v<T>) {
      v = static_cast<T>(in_.be64());
    } else if constexpr (std::is_unsigned_v<T>) {
      const std::uint64_t n = in_.varint();
      v = static_cast<T>(n);
      ok_ = ok_ && v == n;
    } else if constexpr (std::is_same_v<T, Version>) {
      v = {in_.be64()};
    } else if constexpr (std::is_same_v<T, std::string_view> || std::is_same_v<T, std::string>) {
      v = in_.bytes();
    } else if constexpr (is_id<T>) {
      (*this)(v.value);
    } else if constexpr (requires { v.begin(); }) {
      const std::uint64_t n = in_.varint();
      if (n > in_.left()) {  // every item takes a byte at least
        ok_ = false;
        return *this;
      }
      v.clear();
      for (std::uint64_t i = 0; i < n && ok_ && in_.ok(); ++i) {
        v.emplace_back();
        (*this)(v.back());
      }
    } else {
      v.fields(*this);
    }
    return *this;
  }

 private:
  Reader in_;
  bool ok_ = true;
};

}  // namespace gyre
