#pragma once

#include "tests/support/dcp_test_save.h"

namespace shardlens::fuzz {

// The save whose data file, or whose metadata, an input takes the place of: a tensor in two chunks, one without dimensions, an object with a tensor in it.
inline test::DcpTestSave smallSave()
{
    using test::Py;
    test::DcpTestSave save;
    save.addFloats({Py{std::string("model")}, Py{std::string("w")}}, {3, 2}, 1, {{{0, 0}, {2, 2}}, {{2, 0}, {1, 2}}});
    save.addWhole({Py{std::string("model")}, Py{std::string("s")}}, {}, 9);
    test::DcpTestEntry& entry = save.addObject({Py{std::string("optimizer")}, Py{std::string("pair")}}, Py{Py::None{}});
    entry.chunks[0].item = test::objectItem({Py::Tuple{{Py{std::int64_t{1}}, Py{Py::Tensor{"FloatStorage", 0, 2, 0, {2}, {}}}}}}, {test::bytesOfFloatsLe({3, 4})});
    return save;
}

} // namespace shardlens::fuzz
