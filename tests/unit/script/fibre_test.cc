#include "script/fibre.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace gyre;

TEST_SUITE("script/") {
  TEST_CASE("a fibre goes on where it paused, and is used again") {
    Fibre f;
    std::string told;
    for (int round = 0; round < 3; ++round) {
      CHECK(f.idle());
      f.start([&] {
        const std::string local = "b";
        told += "a";
        CHECK(f.inside());
        f.pause();
        told += local;
        f.pause();
        told += "c";
      });
      CHECK(f.paused());
      told += "-";
      f.go_on();
      told += "-";
      f.go_on();
      CHECK(f.idle());
    }
    CHECK(told == "a-b-ca-b-ca-b-c");
  }

  TEST_CASE("exceptions and deep stacks stay on the fibre") {
    Fibre f;
    int caught = 0;
    f.start([&] {
      for (int i = 0; i < 3; ++i) {
        try {
          f.pause();
          throw std::runtime_error("inside");
        } catch (const std::exception&) {
          ++caught;
        }
      }
    });
    while (f.paused()) f.go_on();
    CHECK(caught == 3);
    struct Deep {
      static int down(int n) {
        volatile char room[1024];
        room[0] = static_cast<char>(n);
        return n == 0 ? 0 : down(n - 1) + (room[0] == static_cast<char>(n));
      }
    };
    int depth = 0;
    f.start([&] { depth = Deep::down(1000); });
    CHECK(depth == 1000);
  }

  TEST_CASE("several fibres of one thread take turns") {
    std::vector<std::unique_ptr<Fibre>> all;
    std::string told;
    for (int i = 0; i < 3; ++i) {
      all.push_back(std::make_unique<Fibre>(256 << 10));
      Fibre& f = *all.back();
      f.start([&f, &told, i] {
        for (int k = 0; k < 2; ++k) {
          told += static_cast<char>('a' + i);
          f.pause();
        }
      });
    }
    for (int k = 0; k < 2; ++k) {
      for (auto& f : all) f->go_on();
    }
    CHECK(told == "abcabc");
  }
}
