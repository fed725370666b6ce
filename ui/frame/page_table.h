#pragma once

#include "core/model/checkpoint.h"
#include "ui/pages/page.h"

#include <functional>
#include <span>

namespace shardlens::ui {

class Document;
class JobQueue;

// A page of a tab: its place in the rail, its key, how it is made.
struct PageEntry {
    const char* id;
    const char* title; // marked for translation
    const char* icon;
    Qt::Key key;       // with Alt
    bool inRail;
    Page* (*create)(Document* document, JobQueue* queue);
    bool (*concerns)(const Checkpoint& checkpoint) = nullptr; // which checkpoints have the page; nullptr: all of them
};

[[nodiscard]] std::span<const PageEntry> pageTable();
[[nodiscard]] QString titleOf(const PageEntry& entry);

} // namespace shardlens::ui
