#include "core/analysis/value_spans.h"

#include <gtest/gtest.h>

namespace shardlens {
namespace {

TEST(ValueSpans, CoverEverythingOnceWithoutGaps)
{
    for (const std::uint64_t cells : {std::uint64_t{1}, kSpanBytes / 3, kSpanBytes / 3 + 1, kSpanBytes, 5 * kSpanBytes + 7}) {
        std::vector<ValueSpan> spans;
        appendSpans(9, cells, 3, spans);
        std::uint64_t at = 0;
        for (const ValueSpan& span : spans) {
            EXPECT_EQ(span.item, 9u);
            EXPECT_EQ(span.begin, at);
            EXPECT_GT(span.end, span.begin);
            EXPECT_LE((span.end - span.begin) * 3, kSpanBytes);
            at = span.end;
        }
        EXPECT_EQ(at, cells);
    }
}

TEST(ValueSpans, OfNothingAreOneThatIsEmpty)
{
    std::vector<ValueSpan> spans;
    appendSpans(0, 0, 4, spans);
    ASSERT_EQ(spans.size(), 1u);
    EXPECT_EQ(spans[0].end, 0u);
}

TEST(ScratchPool, LendsWhatWasGivenBack)
{
    ScratchPool<int> pool;
    auto one = pool.take();
    *one = 7;
    const int* const place = one.get();
    pool.give(std::move(one));
    const auto again = pool.take();
    EXPECT_EQ(again.get(), place);
    EXPECT_NE(pool.take().get(), place);
}

} // namespace
} // namespace shardlens
