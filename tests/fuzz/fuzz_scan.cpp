// Any bytes as a file that is scanned: it ends, the report is whole, and every pickle in it can be listed.
#include "tests/fuzz/input_file.h"

#include "core/analysis/pickle_listing.h"
#include "core/analysis/scan.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace shardlens;
    if (size > fuzz::kMaxInput)
        return -1;
    const fuzz::InputFile file({data, size});
    JobContext job;
    const auto report = scanPath(file.row().path, job);
    if (!report)
        std::abort(); // the file is there and nobody cancels
    for (const ScanFinding& finding : report->findings)
        if (finding.file >= report->files.size() || finding.finding.level > report->level() || finding.finding.what.empty())
            std::abort();
    for (const ScanStream& stream : report->streams) {
        if (stream.end < stream.begin || stream.level > 5)
            std::abort();
        const auto listing = PickleListing::of(*report, stream);
        for (std::size_t i = 0; listing && i < listing->lines(); ++i)
            if (listing->lineAt(listing->line(i).offset) != i)
                std::abort();
    }
    return 0;
}
