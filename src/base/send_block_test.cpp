#include "base/send_block.hpp"

#include <gtest/gtest.h>

#include <string>

namespace riffle::base {
namespace {

std::string_view text(const SendBlock& block) { return {reinterpret_cast<const char*>(block.data), block.size}; }

// ENG-4: few bytes are copied, many are moved in.
TEST(SendBlock, CopiesFewBytesAndMovesMany) {
  const Bytes few = Bytes::copy(std::string(SendBlock::copy_up_to, 'a'));
  SendBlock* copied = SendBlock::make(few, true);
  EXPECT_NE(copied->data, few.data());
  EXPECT_EQ(copied->owner, nullptr);
  EXPECT_EQ(text(*copied), few.view());
  EXPECT_TRUE(copied->fin);
  EXPECT_TRUE(few.is_unique());
  SendBlock::destroy(copied);

  const Bytes many = Bytes::copy(std::string(SendBlock::copy_up_to + 1, 'b'));
  SendBlock* moved = SendBlock::make(many, false);
  EXPECT_EQ(moved->data, many.data());
  EXPECT_FALSE(moved->fin);
  EXPECT_FALSE(many.is_unique());
  SendBlock::destroy(moved);
  EXPECT_TRUE(many.is_unique());
}

// STR-2: gathered writes; a block takes what fits behind it, and nothing into memory that is not its own.
TEST(SendBlock, TakesMoreBytesWhileTheyFit) {
  const auto bytes = [](std::string_view from) { return std::as_bytes(std::span(from)); };
  SendBlock* block = SendBlock::make_copy(bytes("abc"), false, 4096);
  EXPECT_TRUE(block->append(bytes("def")));
  EXPECT_EQ(text(*block), "abcdef");
  const std::string large(4000, 'x');
  EXPECT_TRUE(block->append(bytes(large)));
  EXPECT_FALSE(block->append(bytes(large)));
  EXPECT_EQ(block->size, 4006u);
  SendBlock::destroy(block);
  SendBlock* moved = SendBlock::make(Bytes::copy(std::string(10'000, 'y')), false);
  EXPECT_FALSE(moved->append(bytes("z")));
  SendBlock::destroy(moved);
  SendBlock* empty = SendBlock::make({}, true);
  EXPECT_EQ(empty->size, 0u);
  SendBlock::destroy(empty);
}

// Law 6: the last reference puts it on the list; nothing of the user's runs before the loop takes it from there.
TEST(SendBlock, GoesOnItsListAtTheLastRelease) {
  int released = 0;
  const std::string memory(10'000, 'm');
  ReleasedBlocks list;
  SendBlock* block = SendBlock::make(
      Bytes::lend(
          memory.data(), memory.size(), [](void* count) noexcept { ++*static_cast<int*>(count); }, &released),
      false);
  block->released = &list;
  block->retain();
  EXPECT_EQ(block->references(), 2u);
  block->release();
  EXPECT_EQ(list.first, nullptr);
  block->release();
  EXPECT_EQ(list.first, block);
  EXPECT_EQ(released, 0);
  SendBlock::destroy(block);
  EXPECT_EQ(released, 1);
}

}  // namespace
}  // namespace riffle::base
