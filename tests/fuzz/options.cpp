// What the sanitizers are told before anything runs: readers of 64 KiB have no business with more memory in one piece.
extern "C" const char* __asan_default_options()
{
    return "max_allocation_size_mb=128:allocator_may_return_null=0";
}
